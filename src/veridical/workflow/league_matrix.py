"""The groups of a review of generative methods, and for each family that it lists there an entry
that runs, or the reason why there is none.

The table is `recipes/league/matrix.toml`. Families that are not installed are looked up when it is
read, so that a new file in `generative` or `nets` fills its cells.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from veridical import registry
from veridical.errors import SettingError, nearest
from veridical.workflow.league_protocol import (
    Entrant,
    LeagueBudget,
    LeaguePatients,
    LeagueProtocol,
)
from veridical.workflow.league_reading import FOLDERS, MATRIX, read, shipped, table

BASELINES = {"restore": ("input",), "synthesize": ("constant",)}
"""Job -> classical methods that take part in a row; of other jobs the intensity map."""
SAMPLING = "rectified-flow"
"""Family that carries a backbone where nothing is given: a regressor would make one image for all.
"""
NOT_LISTED = "·"


@dataclass(frozen=True)
class MatrixGroup:
    """One row: a group of the review and the job that stands for it."""

    name: str = ""
    title: str = ""
    """Of the league."""
    stage: str = ""
    """Stage of the imaging pathway, as the review calls it."""
    group: str = ""
    """Group within the stage, as the review calls it; empty where it has none."""
    of: tuple[str, ...] = ()
    """Applications of the review's methods that count here; all of the group when empty."""
    methods: Mapping[str, Any] = field(default_factory=dict)
    """Family -> how many methods the review lists."""
    job: str = "complete"
    """As in a protocol, as are the next three."""
    made: str = "FLAIR"
    given: tuple[str, ...] = ()
    degradation: str = ""
    scene: str = "head"
    """What the digital patients show."""
    note: str = ""
    """What it runs on, and what it does not cover."""


@dataclass(frozen=True)
class MatrixCell:
    """A group and a family: an entry that runs, or why there is none."""

    methods: int
    entry: Entrant | None
    reason: str = ""


@dataclass(frozen=True)
class Matrix:
    """The whole table.

    Args:
        families: of the review -> entries that may stand for them, in the order of preference.
        groups: rows by name.
        left_out: applications that no row covers -> why.
    """

    families: Mapping[str, tuple[Mapping[str, str], ...]]
    groups: Mapping[str, MatrixGroup]
    left_out: Mapping[str, str]

    def entrant(self, family: str, job: str = "") -> tuple[Entrant | None, str]:
        """Return the entry that stands for a family of the review, or why there is none."""
        missing = []
        for option in self.families[family]:
            backbone, name = option.get("backbone", "unet"), option["family"]
            if job == "synthesize" and name == "regression":
                name = SAMPLING
            wanted = {"family": name, "backbone": backbone}
            lacking = [f"{k} {v}" for k, v in wanted.items() if v not in registry.entries(k)]
            if not lacking:
                called = name + (f"-{backbone}" if backbone != "unet" else "")
                return Entrant(called, name, backbone), ""
            missing += lacking
        return None, f"{family}: not installed: {', '.join(dict.fromkeys(missing))}."

    def cell(self, group: str, family: str) -> MatrixCell:
        """Return a cell that the review lists.

        Raises:
            SettingError: no such group, or the review lists no method of that family there.
        """
        row = self.row(group)
        if family not in row.methods:
            raise SettingError(f"{group} lists no {family}. {nearest(family, row.methods)}")
        return MatrixCell(int(row.methods[family]), *self.entrant(family, row.job))

    def row(self, group: str) -> MatrixGroup:
        """Return a group by its name."""
        if group not in self.groups:
            raise SettingError(f"No group is called {group!r}. {nearest(group, self.groups)}")
        return self.groups[group]

    def protocol(
        self, group: str, data: Mapping[str, Any] | None = None, seconds: float = 60.0
    ) -> LeagueProtocol:
        """Return the league of a row: the entries of its cells and a classical method.

        Args:
            group: its name.
            data: settings of the patients that differ from the usual.
            seconds: budget of each entry.
        """
        row = self.row(group)
        found = [self.cell(group, family).entry for family in row.methods]
        entries = {entry.name: entry for entry in found if entry is not None}
        for name in BASELINES.get(row.job, ("intensity-map",)):
            entries[name] = Entrant(name, classical=name)
        return LeagueProtocol(
            row.title,
            row.job,
            row.made,
            row.given,
            row.degradation,
            data=LeaguePatients(**{"scene": row.scene, **(data or {})}),
            budget=LeagueBudget(seconds),
            entries=tuple(entries.values()),
        )


@cache
def matrix() -> Matrix:
    """Read the table that comes with the package."""
    file = next(folder / f"{MATRIX}.toml" for folder in FOLDERS if folder.is_dir())
    said = tomllib.loads(file.read_text(encoding="utf-8"))
    groups = {
        name: table(MatrixGroup, values, f"[groups.{name}]", name=name)
        for name, values in said["groups"].items()
    }
    families = {name: tuple(options) for name, options in said["families"].items()}
    return Matrix(families, groups, said["left_out"])


def named(name_or_path: str | Path) -> LeagueProtocol:
    """Return a protocol by path, by the name of a shipped one, or by the name of a group of the
    matrix.

    Raises:
        SettingError: nothing has that name, or the protocol is wrong.
        FormatError: the file cannot be read.
    """
    name = str(name_or_path)
    if Path(name).suffix == ".toml" or name in shipped():
        return read(name)
    if name in matrix().groups:
        return matrix().protocol(name)
    known = (*shipped(), *matrix().groups)
    raise SettingError(f"No protocol is called {name!r}. {nearest(name, known)}")


def markdown() -> str:
    """Return the matrix as Markdown: how many methods the review lists, and which entry stands for
    them; below it the reasons of empty cells, and what the rows run on.
    """
    known, reasons = matrix(), dict[str, int]()
    lines = [f"| group | {' | '.join(known.families)} |", f"|---|{'---|' * len(known.families)}"]
    for name, row in known.groups.items():
        cells = []
        for family in known.families:
            if family not in row.methods:
                cells.append(NOT_LISTED)
                continue
            cell = known.cell(name, family)
            if cell.entry is None:
                number = reasons.setdefault(cell.reason, len(reasons) + 1)
                cells.append(f"{cell.methods}: none ({number})")
            else:
                cells.append(f"{cell.methods}: {cell.entry.name}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        f"{NOT_LISTED} the review lists no method there. Run a row: veridical league GROUP.",
    ]
    lines += [f"({number}) {reason}" for reason, number in reasons.items()]
    lines += ["", *(f"- {name}: {row.title}. {row.note}" for name, row in known.groups.items())]
    lines += [f"- left out: {what}. {why}" for what, why in known.left_out.items()]
    return "\n".join(lines)
