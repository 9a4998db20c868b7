"""What a check of a data set on disk found, ready to print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from veridical.layouts.base import Match
from veridical.layouts.issues import Issue

SHOWN = 8
"""Findings of one kind that are printed; the rest are counted."""
WORDS = {"error": "error", "warn": "warning", "note": "note"}


@dataclass(frozen=True)
class Grids:
    """Images of one name on one size and spacing: `shape` in voxels, `spacing` in mm or None where
    none is stated.
    """

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] | None
    count: int


@dataclass(frozen=True)
class Report:
    """What lies in a folder and what is wrong with it.

    Args: path: the folder or file. match: its layout, how sure that is and why; None for a folder
        of several sets. runner_up: the next best guess, or None. dataset: the data set, as far as
        names and headers say; a name or alias of the catalog where it knows the set. patients,
        visits, slices: counted; slices over images and scans, not labels. images, labels, scans,
        objects: name -> number: images by contrast or modality, label maps by what they show, raw
        scans, and what is counted but not read as an image (RTSTRUCT, tables, stacks). grids: sizes
        and spacings, the most frequent first. findings: all of them, errors first. read: what was
        read of headers and of voxels, in words. sets: the sets of a folder that holds several.
    """

    path: Path
    match: Match | None
    runner_up: Match | None = None
    dataset: str = ""
    patients: int = 0
    visits: int = 0
    slices: int = 0
    images: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    scans: Mapping[str, int] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)
    grids: tuple[Grids, ...] = ()
    findings: tuple[Issue, ...] = ()
    read: str = ""
    sets: tuple[Report, ...] = ()

    @property
    def sound(self) -> bool:
        """Is there no error, here or in any of the sets?"""
        return all(one.level != "error" for one in self.findings) and all(
            one.sound for one in self.sets
        )

    def lines(self) -> list[str]:
        """Return the report as lines of plain text; of many findings of one kind the first few."""
        if self.sets:
            head = f"{self.path}: {len(self.sets)} data sets"
            return [head, *(line for one in self.sets for line in ("", *one.lines()))]
        sure = (
            f"layout {self.match.layout}, sure {self.match.sure:.2f}: {self.match.reason}"
            if self.match
            else ""
        )
        other = (
            f"; next best {self.runner_up.layout}, {self.runner_up.sure:.2f}"
            if self.runner_up
            else ""
        )
        found = [f"{self.path}: {self.dataset} ({sure}{other})"]
        found.append(
            f"  {_count(self.patients, 'patient')}, {_count(self.visits, 'visit')}, "
            f"{_count(self.slices, 'slice')}"
        )
        for what in ("images", "labels", "scans", "objects"):
            counted: Mapping[str, int] = getattr(self, what)
            if counted:
                found.append(
                    f"  {what}: {', '.join(f'{name} {count}' for name, count in counted.items())}"
                )
        found += [f"  {line}" for line in _sizes(self.grids)]
        found.append(f"  {self.read}")
        return found + self._findings() + [f"  {self.verdict}"]

    @property
    def verdict(self) -> str:
        """In one sentence: sound or not, and how many findings."""
        counts = Counter(str(one.level) for one in self.findings)
        said = ", ".join(_count(counts[level], word) for level, word in WORDS.items())
        return f"{'Sound' if self.sound else 'Not sound'}: {said}."

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it, and `sound`."""
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        for one in ("match", "runner_up"):
            plain[one] = asdict(plain[one]) if plain[one] else None
        plain |= {what: dict(plain[what]) for what in ("images", "labels", "scans", "objects")}
        plain |= {what: [asdict(one) for one in plain[what]] for what in ("grids", "findings")}
        return plain | {
            "path": str(self.path),
            "sound": self.sound,
            "sets": [one.to_dict() for one in self.sets],
        }

    def _findings(self) -> list[str]:
        found = []
        kinds = Counter((one.level, one.code) for one in self.findings)
        shown: Counter[tuple[str, str]] = Counter()
        for one in self.findings:
            kind = (one.level, one.code)
            shown[kind] += 1
            if shown[kind] <= SHOWN:
                found.append(f"  {one.level} {one.code}: {one}")
            elif shown[kind] == SHOWN + 1:
                found.append(
                    f"  {one.level} {one.code}: and {kinds[kind] - SHOWN} more of this kind"
                )
        return found


def _sizes(grids: Sequence[Grids]) -> list[str]:
    """Return a line a name: the one size and spacing, or from the least to the greatest along each
    axis.
    """
    found = []
    for name in dict.fromkeys(grid.name for grid in grids):
        own = [grid for grid in grids if grid.name == name]
        sizes = [_range([grid.shape[axis] for grid in own]) for axis in range(3)]
        placed = [grid.spacing for grid in own if grid.spacing is not None]
        steps = (
            [_range([spacing[axis] for spacing in placed]) for axis in range(3)] if placed else []
        )
        mm = f"voxels of {' x '.join(steps)} mm" if steps else "no spacing stated"
        found.append(
            f"{name}: {' x '.join(sizes)}, {mm}"
            + (f" ({len(own)} different grids)" if len(own) > 1 else "")
        )
    return found


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low}-{high}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
