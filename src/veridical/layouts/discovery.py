"""The one door to the data sets on disk: which layout a folder has, and its patients as studies,
one at a time.

Tasks over a folder, training, calibration and evaluation all come in here, so that a folder means
the same to each.

A layout is a file of `veridical/layouts`; the registry finds it, and third parties add theirs by
the entry point `veridical.layout`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from veridical.errors import InputError, SettingError, nearest
from veridical.layouts.base import Entry, Layout, Match
from veridical.layouts.tree import Listing
from veridical.registry import entries, get
from veridical.types import Study

ENOUGH = 0.3
"""Sureness below which a folder is said to have no known layout."""
CERTAIN, DEEPEST, MOST_SETS = 0.95, 2, 64
"""Where it is not looked for sets within a folder: in one that has a layout for certain, so deep,
or of so many folders.
"""
SURE = 0.6
"""Sureness from which a folder inside another counts as a set of its own."""


@dataclass(frozen=True, eq=False)
class Found:
    """A data set on disk: its files, its layout, and the next best guess where there is one."""

    listing: Listing
    layout: Layout
    match: Match
    runner_up: Match | None

    def studies(self) -> Iterator[Study]:
        """Yield its patients in the order of their ids, one in memory at a time."""
        return self.layout.studies(self.listing)


def recognise(listing: Listing) -> list[Match]:
    """Return all layouts by how sure they are, the surest first; of equals the one whose names are
    its own.
    """
    layouts = [get("layout", name)() for name in entries("layout")]
    matches = [(layout.recognise(listing), layout.specific) for layout in layouts]
    matches.sort(key=lambda one: (-one[0].sure, not one[1], one[0].layout))
    return [match for match, _ in matches if match.sure > 0]


def find(path: str | Path, layout: str = "") -> list[Found]:
    """Return the data sets in a folder: one, or several when its folders hold sets of different
    layouts.

    Args:
        path: a folder, or one file (`.npz`, `.csv`).
        layout: its name, when it is known; then the folder is taken as one set.

    Raises:
        InputError: no such path, nothing in it, or nothing that a layout knows.
        SettingError: no layout has that name.
    """
    listing = Listing.of(path)
    if layout:
        if layout not in entries("layout"):
            raise SettingError(
                f"No layout is called {layout!r}. {nearest(layout, entries('layout'))}"
            )
        chosen = get("layout", layout)()
        others = [match for match in recognise(listing) if match.layout != layout]
        return [
            Found(listing, chosen, Match(layout, 1.0, "you said so"), others[0] if others else None)
        ]
    found = _split(listing)
    if not found:
        raise InputError(
            f"{listing.root} has no layout that is known: it holds {listing.held}. Known: "
            f"{', '.join(entries('layout'))}. "
            "Bring it into BIDS, or say which it is: veridical datasets check FOLDER --layout NAME."
        )
    return found


def entries_of(listing: Listing) -> list[Entry]:
    """Return the images, scans and label maps that layouts know in a listing of one data set or
    several; or none.
    """
    sets = [
        (found, found.listing.root.relative_to(listing.root).as_posix())
        for found in _split(listing)
    ]
    return [
        replace(entry, path=str(PurePosixPath(below, entry.path)))
        for found, below in sets
        for entry in found.layout.entries(found.listing)
    ]


def one(path: str | Path, layout: str = "") -> Found:
    """Return the data set in a folder.

    Raises:
        InputError: nothing that a layout knows, or several sets.
        SettingError: no layout has that name.
    """
    found = find(path, layout)
    if len(found) > 1:
        listed = ", ".join(f"{each.listing.root.name} ({each.layout.name})" for each in found)
        raise InputError(
            f"{path} holds {len(found)} data sets: {listed}. Give one of these folders."
        )
    return found[0]


def studies(path: str | Path, layout: str = "") -> Iterator[Study]:
    """Yield the patients of a data set on disk, in the order of their ids, one in memory at a time.

    The images of a patient are read when they are asked for (`study.visits[0.0]["T1w"]`) and not
    kept. What was chosen among several images of one contrast, and what was left out, stands in
    `study.notes`; what is no input in `Listing.left_out`.

    Args:
        path: folder or file of one data set.
        layout: its name, when it is known; otherwise it is recognised.

    Raises:
        InputError: nothing that a layout knows, or several sets.
        SettingError: no layout has that name.
    """
    return one(path, layout).studies()


def _split(listing: Listing, depth: int = 0) -> list[Found]:
    """Return the set that the folder is, or the sets that its folders are."""
    whole = _best(listing)
    known = whole is not None and whole.layout.specific and whole.match.sure >= CERTAIN
    if whole is not None and (known or depth == DEEPEST or len(listing.children) > MOST_SETS):
        return [whole]
    below = listing.children if depth < DEEPEST and len(listing.children) <= MOST_SETS else ()
    children = [one for child in below for one in _split(listing.below(child), depth + 1)]
    kinds = {one.layout.name for one in children if one.match.sure >= SURE}
    own = [one for one in children if one.layout.specific and one.match.sure >= SURE]
    apart = len(kinds) > 1 or (own and whole is not None and not whole.layout.specific)
    if whole is None or whole.match.sure < ENOUGH:
        return children
    return children if apart else [whole]


def _best(listing: Listing) -> Found | None:
    matches = recognise(listing)
    if not matches or matches[0].sure < ENOUGH:
        return None
    return Found(
        listing,
        get("layout", matches[0].layout)(),
        matches[0],
        matches[1] if len(matches) > 1 else None,
    )
