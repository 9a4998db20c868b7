"""Checks that need names, tables and bytes, but no image: what is missing, left over, there twice,
or in two splits.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from veridical.layouts.base import Entry, Layout
from veridical.layouts.heads import Head
from veridical.layouts.issues import Issue
from veridical.layouts.tree import Listing, suffix_of

BESIDE = frozenset(
    {
        "",
        ".csv",
        ".tsv",
        ".json",
        ".txt",
        ".md",
        ".cfg",
        ".xml",
        ".bval",
        ".bvec",
        ".pdf",
        ".html",
        ".xls",
        ".xlsx",
        ".rst",
    }
    | {".cff", ".yml", ".yaml", ".toml", ".py", ".log"}
)
"""Suffixes of what people put beside images; it is no finding that no reader takes them."""
PIECE = 2**16
"""Bytes from the middle of a file that are compared before whole files are."""

Visits = Mapping[tuple[str, float], Sequence[Entry]]


def visits_of(entries: Sequence[Entry]) -> dict[tuple[str, float], list[Entry]]:
    """Return (patient, visit) -> entries, what is only counted left out."""
    found: dict[tuple[str, float], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.kind != "object":
            found[entry.patient, entry.visit].append(entry)
    return dict(sorted(found.items()))


def missing(layout: Layout, visits: Visits) -> Iterator[Issue]:
    """Yield images that the layout asks for (errors), and those that most visits have and this one
    has not (warnings).
    """
    names = {key: {entry.name for entry in entries} for key, entries in visits.items()}
    order = _order(visits)
    common = Counter(name for have in names.values() for name in have if "." not in name)
    enough = layout.alike and len(visits) >= 3
    usual = (
        {name for name, count in common.items() if 2 * count >= len(visits)} if enough else set()
    )
    for key, entries in visits.items():
        must = layout.must_have(list(entries))
        for name in (*must, *sorted(usual - set(must))):
            if name not in names[key]:
                folder = str(PurePosixPath(entries[0].path).parent)
                often = f"it, as in {common[name]} of {len(visits)} visits"
                why = f"a part of every case of {layout.title}" if name in must else often
                yield Issue(
                    "missing",
                    "error" if name in must else "warn",
                    "" if folder == "." else folder,
                    f"{name} of {key[0]}{f', visit {key[1]:g},' if order[key][1] > 1 else ''} is "
                    "not there",
                    expected=_like(name, key, visits, order) or why,
                    next="Fetch it, or leave this visit out.",
                )


def _order(visits: Visits) -> dict[tuple[str, float], tuple[int, int]]:
    """Return which of how many visits of the patient each is."""
    days: dict[str, list[float]] = defaultdict(list)
    for patient, day in visits:
        days[patient].append(day)
    return {
        (patient, day): (sorted(days[patient]).index(day), len(days[patient]))
        for patient, day in visits
    }


def _like(
    name: str,
    key: tuple[str, float],
    visits: Visits,
    order: Mapping[tuple[str, float], tuple[int, int]],
) -> str:
    """Return what the missing file is called, after that of the same visit of another patient."""
    folder = PurePosixPath(visits[key][0].path).parent
    for (patient, day), others in visits.items():
        for other in others:
            if other.name == name and patient != key[0] and order[patient, day][0] == order[key][0]:
                path = PurePosixPath(other.path)
                if folder in (path.parent, path.parent.parent / folder.name):
                    return str(folder / path.name.replace(patient, key[0]))
    return ""


def left_over(listing: Listing, entries: Sequence[Entry]) -> Iterator[Issue]:
    """Yield files that hold images and that this layout does not take, other unknown files, and
    empty ones.
    """
    claimed = {file for entry in entries for file in entry.files}
    strange = [file for file in listing.data if file not in claimed]
    for folder, files in itertools.groupby(
        strange, key=lambda file: str(PurePosixPath(file).parent)
    ):
        names = [PurePosixPath(file).name for file in files]
        yield Issue(
            "unread",
            "warn",
            "" if folder == "." else folder,
            f"{len(names)} image files have no name of this layout",
            _some(names),
            next="Rename them, or move them away: nothing reads them.",
        )
    reasons: dict[str, list[str]] = defaultdict(list)
    for path, why in listing.left_out.items():
        reasons[why].append(path)
    for why, paths in reasons.items():
        said = f"{len(paths)} files or folders are no inputs: {why}"
        yield Issue(
            "left_out",
            "note",
            "",
            said,
            _some(paths),
            next="Tasks, training and evaluation skip them.",
        )
    known = claimed | set(strange)
    others = [file for file in listing.files if file not in known and suffix_of(file) not in BESIDE]
    if others:
        kinds = Counter(suffix_of(file) for file in others)
        said = ", ".join(f"{count} {suffix}" for suffix, count in kinds.most_common(5))
        yield Issue(
            "unread", "note", "", "Files of other kinds lie here", said, next="Nothing reads them."
        )
    for file, size in listing.files.items():
        if (
            size == 0
            and file not in claimed
            and suffix_of(file) in (".csv", ".tsv", ".json", ".cfg")
        ):
            yield Issue(
                "empty", "warn", file, "The file is empty", "0 bytes", next="Copy it again."
            )


def rows(layout: Layout, listing: Listing, entries: Sequence[Entry]) -> Iterator[Issue]:
    """Yield rows of tables without files, and patients without a row."""
    patients = {entry.patient for entry in entries}
    for table in layout.tables(listing, list(entries)):
        lost = sorted(set(table.rows) - patients)
        if lost:
            part = 2 * len(lost) > len(table.rows)
            yield Issue(
                "row_without_files",
                "note" if part else "warn",
                table.path,
                f"{len(lost)} of {len(table.rows)} patients in column {table.column!r} have no "
                "files",
                _some(lost),
                "files",
                "This folder holds a part of the set."
                if part
                else "Fetch them, or take the rows out.",
            )
        lacking = sorted(
            patient for patient in patients - set(table.rows) if layout.covers(table.path, patient)
        )
        if lacking:
            yield Issue(
                "file_without_row",
                "warn",
                table.path,
                f"{len(lacking)} patients here have no row in it",
                _some(lacking),
                "a row each",
                "Complete the table; until then nothing is known of their covariates.",
            )


def leaks(entries: Sequence[Entry], heads: Mapping[int, Head]) -> Iterator[Issue]:
    """Yield patients who stand in two splits, by what the file says of the patient where it does,
    else by their ids.
    """
    where: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in entries:
        if entry.split:
            head = heads.get(id(entry))
            where[(head.patient if head else "") or entry.patient].setdefault(
                entry.split, entry.path
            )
    for splits in where.values():
        if len(splits) > 1:
            yield Issue(
                "split_leak",
                "error",
                min(splits.values()),
                f"A patient stands in {' and '.join(sorted(splits))}",
                _some(sorted(splits.values())),
                "every patient in one split",
                "Take him out of the training split; a test on him shows nothing.",
            )


def copies(listing: Listing, entries: Sequence[Entry]) -> Iterator[Issue]:
    """Yield images and scans whose files are the same bytes: of two patients, two visits, or under
    two names.
    """
    unique = {entry.path: entry for entry in entries if entry.kind in ("image", "raw")}
    sizes: dict[tuple[int, ...], list[Entry]] = defaultdict(list)
    for entry in unique.values():
        held = tuple(
            listing.files.get(file, -1) for file in entry.files if suffix_of(file) != ".json"
        )
        if min(held, default=0) > 0:
            sizes[held].append(entry)
    for alike in sizes.values():
        for suspects in _by(alike, lambda entry: _piece(listing.root, entry)):
            for same in _by(suspects, lambda entry: _whole(listing.root, entry)):
                yield copied(same)


def copied(same: Sequence[Entry]) -> Issue:
    """Return the finding for entries that hold the same image."""
    one, other = same[0], same[1]
    listed = _some([entry.path for entry in same])
    if len({entry.patient for entry in same}) > 1:
        code, what, then = (
            "duplicate",
            "Two patients have the same image",
            "Find out whose it is, and remove the copy.",
        )
    elif len({entry.visit for entry in same}) > 1:
        code, what, then = (
            "duplicate",
            "Two visits have the same image",
            "Find out which visit it is of, and fetch the other.",
        )
    elif other.contrast != one.contrast:
        code, then = "mislabelled", "One of them is misnamed; fetch it again."
        what = f"{other.name} holds the same image as {one.name}"
    else:
        code, what, then = (
            "duplicate",
            f"{one.contrast} of one visit is there twice",
            "Remove one of them.",
        )
    return Issue(code, "error", other.path, what, listed, "images of their own", then)


def _by(entries: Sequence[Entry], key: Mapping[str, str] | object) -> Iterator[list[Entry]]:
    """Yield groups of two and more entries that have the same key."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    if len(entries) > 1:
        for entry in entries:
            groups[key(entry)].append(entry)  # type: ignore[operator]
    yield from (group for group in groups.values() if len(group) > 1)


def _piece(root: Path, entry: Entry) -> str:
    file = root / entry.files[len(entry.files) // 2]
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size // 2 - PIECE // 2))
            return hashlib.blake2b(stream.read(PIECE), digest_size=16).hexdigest()
    except OSError:
        return entry.path


def _whole(root: Path, entry: Entry) -> str:
    found = hashlib.blake2b(digest_size=16)
    for file in entry.files:
        if suffix_of(file) != ".json":
            with (root / file).open("rb") as stream:
                while block := stream.read(2**20):
                    found.update(block)
    return found.hexdigest()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
