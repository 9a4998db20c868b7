"""Which image is taken where a visit has several of one contrast; the choice is always reported.

The rule, in this order; what is left of each step goes on to the next:

1. no localizer, scout or survey (by the words of file, folder or series description);
2. no file whose header cannot be read;
3. what covers at least half the volume of the one that covers most: no slab of a part;
4. the first echo, or the image without an `echo-` entity (the combined one);
5. the smallest voxels, up to 5 %;
6. no `rec-` entity: the plain reconstruction of the scanner;
7. the last run (`run-`, in DICOM the series number): a scan is repeated because the first one
   failed, and HeuDiConv, too, keeps the last of several (ReproIn);
8. the first by name.

Runs are not averaged: their noise and their motion differ, and a denoiser needs to know both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from veridical.errors import VeridicalError
from veridical.layouts.tree import stem_of

if TYPE_CHECKING:
    from pathlib import Path

    from veridical.layouts.base import Entry, Layout

LOCALIZER = re.compile(
    r"locali[sz]er|scout|survey|surview|topogram|scanogram|smartbrain|3-?plane|(?<![a-z])loc(?![a-z])",
    re.I,
)
"""How scans to plan others on are called by the vendors."""
SLAB, ALIKE = 0.5, 1.05
"""Share of the largest volume below which an image is a slab; ratio of voxel volumes up to which
they count as equal.
"""


@dataclass(frozen=True)
class Candidate:
    """One image with what the rule needs to know; voxel and volume in mm3, None where the header
    states no size.
    """

    entry: Entry
    readable: bool
    voxel: float | None
    volume: float | None

    @property
    def stem(self) -> str:
        """The name of file or folder."""
        return stem_of(self.entry.path)


def chosen(layout: Layout, root: Path, entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """Return the images of one contrast of a visit, best first, and for each but the first why the
    first was taken before it.

    Args:
        layout: reads their headers.
        root: of the data set.
        entries: two or more.
    """
    left = [_candidate(layout, root, entry) for entry in entries]
    first, why = _best(left)
    ordered = [first]
    while left := [one for one in left if one is not ordered[-1]]:
        ordered.append(_best(left)[0])
    return [one.entry for one in ordered], [why.get(id(one.entry), "") for one in ordered]


def is_localizer(entry: Entry) -> bool:
    """Say whether an image is a localizer, by its own name, that of its folder, or its series
    description.
    """
    path = PurePosixPath(entry.path)
    return any(
        LOCALIZER.search(text) is not None
        for text in (path.name, path.parent.name, entry.description)
    )


def _best(those: Sequence[Candidate]) -> tuple[Candidate, dict[int, str]]:
    """Return the first of some by the rule, and for the others (by `id` of the entry) why they were
    not taken.
    """
    left, why = list(those), dict[int, str]()
    most = max((one.volume or 0 for one in those), default=0)
    steps: tuple[tuple[str, Callable[[Candidate], float]], ...] = (
        ("a localizer", lambda one: is_localizer(one.entry)),
        ("its header cannot be read", lambda one: not one.readable),
        ("covers less", lambda one: one.volume is not None and one.volume < SLAB * most),
        ("a later echo", lambda one: _entity(one.stem, "echo")),
        ("coarser voxels", lambda one: one.voxel is not None and one.voxel > ALIKE * _finest(left)),
        ("another reconstruction", lambda one: re.search(r"_rec-", one.stem) is not None),
        ("an earlier run", lambda one: -one.entry.run),
    )
    for reason, cost in steps:
        costs = [cost(one) for one in left]
        why |= {
            id(one.entry): reason
            for one, each in zip(left, costs, strict=True)
            if each > min(costs)
        }
        left = [one for one, each in zip(left, costs, strict=True) if each == min(costs)]
    why |= {id(one.entry): "equal by the rule; the first by name was taken" for one in left[1:]}
    return left[0], why


def _finest(those: Sequence[Candidate]) -> float:
    return min((one.voxel for one in those if one.voxel is not None), default=np.inf)


def _entity(stem: str, name: str) -> int:
    """Return the number of a BIDS entity, 0 where it is not there."""
    found = re.search(rf"(?:^|_){name}-(\d+)", stem)
    return int(found[1]) if found else 0


def _candidate(layout: Layout, root: Path, entry: Entry) -> Candidate:
    try:
        geometry = layout.head(root, entry).geometry
    except (VeridicalError, OSError):
        return Candidate(entry, False, None, None)
    if geometry is None or geometry.frame == "index":
        return Candidate(entry, True, None, None)
    voxel = float(np.prod(geometry.spacing))
    return Candidate(entry, True, voxel, voxel * float(np.prod(geometry.shape)))
