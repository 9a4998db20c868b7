"""Check a data set on disk: which layout it has, what is in it, and what is missing, damaged, there
twice or misnamed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from veridical.errors import BudgetError, GeometryError, VeridicalError
from veridical.layouts import check_files, check_voxels
from veridical.layouts.base import Entry, Kind
from veridical.layouts.check_report import Grids, Report
from veridical.layouts.discovery import Found, find
from veridical.layouts.heads import Head
from veridical.layouts.issues import Issue
from veridical.task import Progress, silent

SMALL = 2**29
"""Bytes of files up to which the voxels of all are read; of larger sets a sample of patients of
that size.
"""
LEAST = 3
"""Patients that are read at the least."""
LEVELS = ("error", "warn", "note")


def check(
    path: str | Path, *, layout: str = "", everything: bool = False, progress: Progress = silent
) -> Report:
    """Check a folder or a file of a data set, or a folder of several sets.

    The headers of all files are read; the voxels of all where the set is small, else those of
    patients spread evenly over it, and the report says of how many. `everything` reads all.

    Args:
        path: folder or file.
        layout: its name, when it is known; otherwise it is recognised.
        everything: read the voxels of all images, however long it takes.
        progress: called as work goes on.

    Raises:
        InputError: no such path, nothing in it, or nothing that a layout knows.
        SettingError: no layout has that name.
    """
    reports = [_one(found, everything, progress) for found in find(path, layout)]
    return reports[0] if len(reports) == 1 else Report(Path(path), None, sets=tuple(reports))


def _one(found: Found, everything: bool, progress: Progress) -> Report:
    layout, listing = found.layout, found.listing
    entries = layout.entries(listing)
    visits = check_files.visits_of(entries)
    heads, issues = _headers(found, entries, progress)
    issues += check_files.missing(layout, visits)
    issues += check_files.left_over(listing, entries)
    issues += check_files.rows(layout, listing, entries)
    issues += check_files.leaks(entries, heads)
    issues += check_files.copies(listing, entries)
    issues += check_voxels.grids(visits, heads)
    issues += layout.remarks(listing, entries)
    read, more = _voxels(
        found, [entry for entry in entries if id(entry) in heads], everything, progress
    )
    issues += more
    return Report(
        path=found.listing.root
        if len(listing.files) > 1
        else listing.root / next(iter(listing.files)),
        match=found.match,
        runner_up=found.runner_up,
        dataset=layout.dataset(listing, entries),
        patients=_patients(entries),
        visits=len(visits),
        slices=sum(
            _slices(heads[id(entry)])
            for entry in entries
            if entry.kind != "label" and id(entry) in heads
        ),
        images=_counts(entries, "image"),
        labels=_counts(entries, "label"),
        scans=_counts(entries, "raw"),
        objects=_counts(entries, "object"),
        grids=_grids(entries, heads),
        findings=_sorted(issues),
        read=f"Headers of {len(heads)} of {len(entries)} entries read; {read}",
    )


def _headers(
    found: Found, entries: Sequence[Entry], progress: Progress
) -> tuple[dict[int, Head], list[Issue]]:
    """Read the headers of all entries; those that cannot be read have none."""
    heads: dict[int, Head] = {}
    issues: list[Issue] = []
    for number, entry in enumerate(entries):
        progress("reading headers", number, len(entries))
        try:
            head = found.layout.head(found.listing.root, entry)
        except VeridicalError as error:
            issues.append(_unreadable(found, entry, error))
            continue
        heads[id(entry)] = head
        issues += head.issues
        issues += check_voxels.spacing(entry, head)
    progress("reading headers", len(entries), len(entries))
    return heads, issues


def _voxels(
    found: Found, entries: Sequence[Entry], everything: bool, progress: Progress
) -> tuple[str, list[Issue]]:
    """Read the voxels of all or of some patients; return what was read, in words, and what was
    found.
    """
    usable = [entry for entry in entries if entry.kind != "object"]
    chosen = usable if everything else _sample(found, usable)
    issues: list[Issue] = []
    seen: dict[str, list[Entry]] = defaultdict(list)
    for number, entry in enumerate(chosen):
        progress("reading voxels", number, len(chosen))
        for part in found.layout.refine(found.listing.root, entry):
            try:
                subject = found.layout.load(found.listing.root, part)
            except VeridicalError as error:
                issues.append(_unreadable(found, part, error))
                continue
            issues += check_voxels.content(found.layout, part, subject)
            if digest := check_voxels.digest_of(subject):
                seen[digest].append(part)
    progress("reading voxels", len(chosen), len(chosen))
    issues += _same(seen)
    patients, all_patients = len({e.patient for e in chosen}), len({e.patient for e in usable})
    if not usable:
        return "no voxels to read.", issues
    if len(chosen) == len(usable):
        return f"voxels of all {len(usable)} read.", issues
    words = (
        f"voxels of {patients} of {all_patients} patients ({len(chosen)} of {len(usable)} "
        "entries); --all reads all."
    )
    return words, issues


def _sample(found: Found, entries: Sequence[Entry]) -> list[Entry]:
    """Return all entries of a small set, else those of patients spread evenly over it, as many as
    make a small set.
    """
    weight: Counter[str] = Counter()
    for path, patient in {(file, entry.patient) for entry in entries for file in entry.files}:
        weight[patient] += max(found.listing.files.get(path, 0), 0)
    total = sum(weight.values())
    if total <= SMALL:
        return list(entries)
    names = sorted(weight)
    count = min(max(LEAST, int(len(names) * SMALL / total)), len(names))
    kept = {names[int(index * len(names) / count)] for index in range(count)}
    return [entry for entry in entries if entry.patient in kept]


def _same(seen: dict[str, list[Entry]]) -> Iterator[Issue]:
    """Yield images that hold the same numbers though their files may differ; one scan in two
    formats is no copy.
    """
    for entries in seen.values():
        same = list({(e.patient, e.visit, e.contrast): e for e in reversed(entries)}.values())[::-1]
        labels = [entry for entry in same if entry.kind == "label"]
        if len(same) > 1 and not labels:
            yield check_files.copied(same)
        elif len({entry.patient for entry in labels}) > 1:
            one, other = labels[0], labels[1]
            yield Issue(
                "duplicate",
                "warn",
                other.path,
                "Two patients have the same label map",
                f"{one.path}, {other.path}",
                "label maps of their own",
                "Find out whose it is.",
            )


def _unreadable(found: Found, entry: Entry, error: VeridicalError) -> Issue:
    """Return the finding for an entry that a reader refused, in the reader's words."""
    words = (
        str(error)
        .replace(f"{found.listing.root}/", "")
        .removeprefix(entry.path)
        .lstrip(": ")
        .rstrip(".")
    )
    if isinstance(error, BudgetError):
        return Issue("too_large", "note", entry.path, f"{entry.name} was not read: {words}")
    code = "spacing" if isinstance(error, GeometryError) else "unreadable"
    return Issue(code, "error", entry.path, f"{entry.name} cannot be read: {words}")


def _counts(entries: Sequence[Entry], kind: Kind) -> dict[str, int]:
    found: Counter[str] = Counter()
    for entry in entries:
        if entry.kind == kind:
            found[entry.name] += entry.count
    return dict(found)


def _patients(entries: Sequence[Entry]) -> int:
    """Count the patients: those of images and scans by id, those of stacks and tables by number."""
    alone = {entry.patient for entry in entries if entry.kind != "object"}
    return len(alone) + sum(entry.count for entry in entries if entry.count != 1)


def _slices(head: Head) -> int:
    return head.slices or (head.geometry.shape[2] if head.geometry else 0)


def _grids(entries: Sequence[Entry], heads: dict[int, Head]) -> tuple[Grids, ...]:
    counts: Counter[tuple[str, tuple[int, int, int], tuple[float, float, float] | None]] = Counter()
    for entry in entries:
        head = heads.get(id(entry))
        if head is not None and head.geometry is not None and entry.kind != "label":
            place = head.geometry
            x, y, z = (float(f"{size:.4g}") for size in place.spacing)
            counts[entry.contrast, place.shape, None if place.frame == "index" else (x, y, z)] += 1
    return tuple(Grids(*key, count) for key, count in counts.most_common())


def _sorted(issues: Sequence[Issue]) -> tuple[Issue, ...]:
    """Return each finding once, errors first, then by kind and path."""
    unique = dict.fromkeys(issues)
    return tuple(sorted(unique, key=lambda one: (LEVELS.index(one.level), one.code, one.path)))
