"""Settings from the tables of a TOML file, read strictly: an unknown key names the nearest one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from veridical.errors import SettingError, nearest

T = TypeVar("T")


def from_table(where: str, cls: type[T], values: Mapping[str, Any]) -> T:
    """Build a dataclass of settings, all of which have defaults, from a table; lists become tuples.

    Args:
        where: the table, for messages: `The recipe's [training] table`.
        cls: the dataclass.
        values: of the table.

    Raises:
        SettingError: an unknown key, or a value of another type than the default's.
    """
    usual = cls()
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    given = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    for key, value in given.items():
        if key not in known:
            raise SettingError(f"{where} has no key {key!r}. {nearest(key, known)}")
        kind = type(getattr(usual, key))
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise SettingError(
                f"{where}: {key} = {value!r}; expected {kind.__name__}, such as "
                f"{getattr(usual, key)!r}."
            )
    return cls(**given)
