"""Reading the protocol of a league from TOML: strictly, with the nearest known name for what is not
known.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from veridical.errors import FormatError, SettingError, nearest
from veridical.layouts.pool import SETS
from veridical.training.league_course import PHANTOMS
from veridical.workflow.league_protocol import (
    NAME,
    Entrant,
    Every,
    LeagueBudget,
    LeagueJudging,
    LeaguePatients,
    LeagueProtocol,
)

FOLDERS = (
    Path(__file__).parents[1] / "recipes" / "league",
    Path(__file__).parents[3] / "recipes" / "league",
)
"""Where protocols lie that are called by name: in the installed package, and in a checkout."""
MATRIX = "matrix"
"""The table of the review's groups, which is no protocol."""
PARTS = {"data": LeaguePatients, "budget": LeagueBudget, "judging": LeagueJudging}
"""Table -> its settings."""
T = TypeVar("T")


def find(name_or_path: str | Path) -> Path:
    """Return the file of a protocol given by path, or by name when it is a shipped one.

    Raises:
        SettingError: no shipped protocol has that name.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return path
    known = shipped()
    if str(name_or_path) not in known:
        raise SettingError(
            f"No protocol is called {str(name_or_path)!r}. {nearest(str(name_or_path), known)}"
        )
    return known[str(name_or_path)]


def shipped() -> dict[str, Path]:
    """Return the protocols that come with the package, by name."""
    found = {file.stem: file for folder in FOLDERS for file in sorted(folder.glob("*.toml"))}
    found.pop(MATRIX, None)
    return found


def read(path: str | Path) -> LeagueProtocol:
    """Read a protocol; unknown tables and keys, and values of another type, are refused.

    Args: path: of the file, or the name of a shipped one.

    Raises:
        FormatError: the file cannot be read.
        SettingError: a table, key or value is wrong.
    """
    file = find(path)
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"The protocol {path} cannot be read: {error}.") from error
    return of_tables(tables, file.parent)


def of_tables(tables: Mapping[str, Any], beside: Path) -> LeagueProtocol:
    """Return the protocol that TOML tables describe; folders of patients are `beside`."""
    left = dict(tables)
    entries = left.pop("entries", {})
    listed = table(Every, left.pop("every"), "[every]").entrants() if "every" in left else []
    taken = {entry.name for entry in listed}
    for name, values in entries.items():
        if name in taken or not NAME.fullmatch(name):
            raise SettingError(
                f"[entries.{name}]: expected a name of letters, digits, '-', '_' and '.' that no "
                "other entry has."
            )
        listed.append(table(Entrant, values, f"[entries.{name}]", name=name))
    parts: dict[str, Any] = {
        key: table(kind, left.pop(key), f"[{key}]") for key, kind in PARTS.items() if key in left
    }
    if "data" in parts:
        sources = _located(parts["data"].sources, beside)
        parts["data"] = replace(parts["data"], sources=sources)
    found = table(LeagueProtocol, left, "top", entries=tuple(listed))
    return replace(found, **parts)


def table(cls: type[T], values: Any, where: str, **known: Any) -> T:
    """Return a settings class from a TOML table.

    Args:
        cls: a frozen dataclass whose fields have defaults.
        values: the table.
        where: it stands, for messages.
        known: fields that are given already.

    Raises:
        SettingError: it is no table, a key is unknown, or a value has another type.
    """
    if not isinstance(values, Mapping):
        raise SettingError(f"The protocol's {where} is {values!r}; expected a table.")
    usual = {f.name: _usual(f) for f in fields(cls) if f.name not in known}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in usual or key in PARTS:
            names = [*usual, *(("entries", "every") if where == "top" else ())]
            raise SettingError(f"The protocol's {where} has no key {key!r}. {nearest(key, names)}")
        given[key] = tuple(value) if isinstance(value, list) else value
        kind = type(usual[key])
        if type(given[key]) is not kind and not (kind is float and type(value) is int):
            wanted = {"tuple": "list", "dict": "table"}.get(kind.__name__, kind.__name__)
            example = list(usual[key]) if kind is tuple else usual[key]
            raise SettingError(
                f"The protocol's {where} {key} = {value!r}; expected {wanted}, such as {example!r}."
            )
    return cls(**given, **known)


def _usual(of: Field[Any]) -> Any:
    if of.default is not MISSING:
        return of.default
    return of.default_factory() if of.default_factory is not MISSING else None


def _located(sources: Mapping[str, float], beside: Path) -> dict[str, float]:
    """Return sources with folders as absolute paths.

    Raises:
        SettingError: a source is neither known nor a folder.
    """
    found: dict[str, float] = {}
    for name, weight in sources.items():
        known = name == PHANTOMS or name in SETS
        path = beside / name
        if not known and not path.exists():
            raise SettingError(
                f"The protocol's sources name {name!r}. {nearest(name, (PHANTOMS, *SETS))} Or give "
                "a folder, relative to the protocol."
            )
        found[name if known else str(path.resolve())] = weight
    return found
