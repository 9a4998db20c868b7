"""Forms from the fields of a settings class, and settings from what was filled in."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from veridical.errors import SettingError, nearest

KINDS: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
LEFT_OUT = (
    "budget", "beside", "lesions", "mask", "geometry", "trajectory", "maps", "noise_scan", "slices",
)  # fmt: skip
"""Fields of the reader that the page decides, or that name files: for the command line."""


def schema(cls: type[Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a settings class as JSON Schema.

    Files are strings of the format `file`: in the page they are chosen among what is open.
    """
    from veridical.task import setting_docs

    docs, hints = setting_docs(cls), get_type_hints(cls)
    properties = {}
    for field in dataclasses.fields(cls):
        if field.name in without:
            continue
        default = None if field.default is dataclasses.MISSING else field.default
        said = {"description": " ".join(docs.get(field.name, "").split()), "default": default}
        properties[field.name] = {**_kind(hints[field.name]), **said}
    return {"title": cls.__name__, "type": "object", "properties": properties}


def build(cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Return settings from what was filled in.

    Raises:
        SettingError: a field that there is not, or a value of another kind.
    """
    hints = get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    for name in values:
        if name not in known:
            raise SettingError(f"There is no setting {name!r}. {nearest(name, known)}")
    return cls(**{name: converted(name, value, hints[name]) for name, value in values.items()})


def converted(name: str, value: Any, hint: Any) -> Any:
    """Return a value as its field has it.

    Raises:
        SettingError: it cannot be.
    """
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and (type(None) in options or hint is Any):
        return None
    wanted = next((one for one in options if one is not type(None)), hint)
    if get_origin(wanted) is Literal:
        if value in get_args(wanted):
            return value
        expected = ", ".join(map(str, get_args(wanted)))
    elif get_origin(wanted) is tuple:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        kind = next(iter(get_args(wanted)), str)
        if isinstance(value, list | tuple):
            return tuple(_plain(name, one, kind) for one in value)
        expected = "a list, separated by commas"
    elif wanted is Any or wanted is Path:
        if isinstance(value, str):
            return Path(value) if value else None
        expected = "one of what is open"
    else:
        return _plain(name, value, wanted)
    raise SettingError(f"{name} = {value!r}; expected {expected}.")


def _plain(name: str, value: Any, kind: Any) -> Any:
    """Return a text, number or switch."""
    try:
        if kind is bool and isinstance(value, bool):
            return value
        if kind is str and isinstance(value, str):
            return value
        if kind in (int, float) and not isinstance(value, bool) and value != "":
            number = float(value)
            if abs(number) < 1e15 and (kind is float or number == int(number)):
                return kind(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise SettingError(f"{name} = {value!r}; expected {WORDS.get(kind, 'another kind of value')}.")


WORDS = {bool: "yes or no", str: "a text", int: "a whole number", float: "a number"}


def _kind(hint: Any) -> dict[str, Any]:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    wanted = next((one for one in options if one is not type(None)), hint)
    if get_origin(wanted) is Literal:
        return {"type": "string", "enum": list(get_args(wanted))}
    if get_origin(wanted) is tuple:
        item = next(iter(get_args(wanted)), str)
        return {"type": "array", "items": {"type": KINDS.get(item, "string")}}
    if wanted is Any or wanted is Path:
        return {"type": "string", "format": "file"}
    return {"type": KINDS.get(wanted, "string")}
