"""What every layout of a data set offers: is it this one, which files make which case, and the
patients, one at a time.

Nothing is loaded to list a set. A patient's images are read when they are asked for and not kept,
so that memory holds no more than what the caller holds.
"""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from veridical.io.bids import SUFFIX
from veridical.io.contrast import stated
from veridical.io.files import read
from veridical.layouts.candidates import chosen, is_localizer
from veridical.layouts.heads import Head, head_of
from veridical.layouts.issues import Issue
from veridical.layouts.tables import Index, tables_of
from veridical.layouts.tree import Listing, split_of, suffix_of
from veridical.types import Image, Measurement, Study

Kind = Literal["image", "label", "raw", "object"]
"""What an entry is. `object` is counted and never read as an image: structures, plans, stacks of
many patients.
"""
PARTNERS = {".img": (".hdr",), ".mhd": (".raw", ".zraw"), ".cfl": (".hdr",)}
GENERIC = 0.55
"""Sureness that a layout without names of its own does not pass."""


@dataclass(frozen=True)
class Entry:
    """One image, label map or scan of a case.

    Args: patient: id. name: of the image in the visit: a contrast (`T1w`, `CT`), `CT.2` for a
        second one, or what a label map shows. path: file, or folder of one DICOM series, below the
        root. files: all files it is made of. visit: days since the first visit; the order (0, 1,
        ...) where days are not known. kind: see `Kind`. units: given to the reader; empty where
        file or contrast say them. split: `train`, `val`, `test` or empty. grid: entries of a visit
        with the same word here must lie on one grid; empty: on their own. options: further options
        of the reader. count: number of cases in it, for stacks. run: number of the scan among those
        of its kind: `run-` of BIDS, the series number of DICOM. description: what the header says
        that it shows, in the words of who made it.
    """

    patient: str
    name: str
    path: str
    files: tuple[str, ...]
    visit: float = 0.0
    kind: Kind = "image"
    units: str = ""
    split: str = ""
    grid: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    count: int = 1
    run: int = 0
    description: str = ""

    @property
    def contrast(self) -> str:
        """The contrast alone: `T1w` of `T1w.2`."""
        return self.name.split(".")[0]


@dataclass(frozen=True)
class Match:
    """How sure it is, in [0, 1], that a folder has a layout, and why."""

    layout: str
    sure: float
    reason: str


class Visit(Mapping[str, Image | Measurement]):
    """The images of a visit by name, each read when asked for and not kept.

    Of several images of one contrast the one that the rule of `layouts.candidates` takes has its
    name, `T1w`; the others are there as `T1w.2`, `T1w.3`.

    Args: layout, root: of the data set. entries: name -> what is read. notes: name -> what was
        chosen for it among what, in a sentence; under no name what was left out.
    """

    def __init__(
        self, layout: Layout, root: Path, entries: Mapping[str, Entry], notes: Mapping[str, str]
    ) -> None:
        self.layout, self.root, self.entries, self.notes = layout, root, entries, notes

    def __getitem__(self, name: str) -> Image | Measurement:
        return self.layout.load(self.root, self.entries[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Return the names of its images, raw scans or label maps.

        Of images one for each known contrast, or where none is known all that are no localizers.
        """
        every = tuple(name for name, entry in self.entries.items() if entry.kind == kind)
        if kind != "image":
            return every
        known = tuple(name for name in every if name in SUFFIX)
        return known or tuple(name for name in every if not is_localizer(self.entries[name]))

    def only(self, names: Iterable[str]) -> Visit:
        """Return the visit with these images alone."""
        wanted = set(names)
        return Visit(
            self.layout,
            self.root,
            {k: e for k, e in self.entries.items() if k in wanted},
            self.notes,
        )


class Layout(ABC):
    """A layout. A subclass says what its files are called; all else follows."""

    title: ClassVar[str]
    """The data set it is mostly used for."""
    specific: ClassVar[bool] = True
    """Do its names belong to it alone? Then it goes before the generic ones."""
    expected: ClassVar[tuple[str, ...]] = ()
    """Names that every visit must have."""
    labels: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    """Name of a label map -> all values it may hold."""
    alike: ClassVar[bool] = True
    """Do visits have the same names as a rule, so that one without what the others have lacks it?
    """

    @property
    def name(self) -> str:
        """The registry name."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__).lower()

    @abstractmethod
    def entries(self, listing: Listing) -> list[Entry]:
        """Return all images, labels and scans that this layout knows in a folder."""

    def recognise(self, listing: Listing) -> Match:
        """Say how sure it is that the folder has this layout: by the share of its data files that
        the layout knows.
        """
        claimed = {file for entry in self.entries(listing) for file in entry.files} & set(
            listing.data
        )
        share = len(claimed) / max(len(listing.data), 1)
        sure = (0.5 + 0.49 * share if self.specific else GENERIC * share) if claimed else 0.0
        return Match(
            self.name,
            round(sure, 2),
            f"{len(claimed)} of {len(listing.data)} data files have its names",
        )

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return the name of the data set, as far as the files say."""
        return self.title

    def must_have(self, entries: list[Entry]) -> tuple[str, ...]:
        """Return the names that this visit, of which these entries are there, must have."""
        return self.expected

    def remarks(self, listing: Listing, entries: list[Entry]) -> Iterator[Issue]:
        """Yield what only this layout can find. By default nothing."""
        return iter(())

    def head(self, root: Path, entry: Entry) -> Head:
        """Return what the headers of an entry say.

        Raises:
            InputError: they cannot be read.
        """
        return head_of(root / entry.path)

    def refine(self, root: Path, entry: Entry) -> list[Entry]:
        """Return what an entry turns out to be when its headers are read; itself by default."""
        return [entry]

    def row_patient(self, table: str, value: str) -> str:
        """Return the patient id that a table's row means with `value`."""
        return value

    def covers(self, table: str, patient: str) -> bool:
        """Say whether a table is to have a row for this patient."""
        return True

    def tables(self, listing: Listing, entries: list[Entry]) -> list[Index]:
        """Return the tables whose rows are about these patients."""
        return tables_of(listing, {entry.patient for entry in entries}, self.row_patient)

    def covariates(self, listing: Listing, entries: list[Entry]) -> dict[str, dict[str, Any]]:
        """Return patient -> what the tables say of him; a patient with several rows has the
        first.
        """
        found: dict[str, dict[str, Any]] = {}
        for table in self.tables(listing, entries):
            for patient, row in table.rows.items():
                found.setdefault(patient, {}).update(row)
        return found

    def load(self, root: Path, entry: Entry) -> Image | Measurement:
        """Read one entry.

        Raises:
            InputError: it cannot be read; which kind, the reader says.
        """
        options: dict[str, Any] = dict(entry.options)
        if entry.kind != "raw" and "contrast" not in options:
            options["contrast"] = self._channels(root, entry)
        if entry.kind == "image":
            names = options["contrast"]
            options["contrast"] = ",".join(
                stated(name) for name in ([names] if isinstance(names, str) else names)
            )
        units = "label" if entry.kind == "label" else entry.units
        return read(root / entry.path, **options | ({"units": units} if units else {}))

    def studies(self, listing: Listing) -> Iterator[Study]:
        """Yield the patients of a set in the order of their ids; images are read when asked for."""
        entries = [entry for entry in self.entries(listing) if entry.kind != "object"]
        known = self.covariates(listing, entries)
        entries.sort(key=lambda entry: (entry.patient, entry.visit))
        for patient, group in itertools.groupby(entries, key=lambda entry: entry.patient):
            yield self.study(listing, patient, list(group), known.get(patient, {}))

    def study(
        self, listing: Listing, patient: str, entries: list[Entry], known: Mapping[str, Any]
    ) -> Study:
        """Put one patient together. Files without content are left out; of several images of one
        contrast one is chosen.
        """
        visits = {
            day: self._visit(listing, list(own))
            for day, own in itertools.groupby(entries, key=lambda one: one.visit)
        }
        splits = {entry.split for entry in entries if entry.split}
        said = {**known, **({"split": splits.pop()} if len(splits) == 1 else {})}
        source = {"path": str(listing.root.resolve()), "layout": self.name, "patient": patient}
        notes = tuple(
            dict.fromkeys(note for visit in visits.values() for note in visit.notes.values())
        )
        return Study(patient, visits, said, notes=notes, source=source)

    def _visit(self, listing: Listing, entries: list[Entry]) -> Visit:
        """Return one visit: the images that are there by name, and what was chosen or left out."""
        alone = [entry.path for entry in entries if entry.path in entry.files]
        absent = {path: why for path in alone if (why := listing.absent(path))}
        there = [entry for entry in entries if entry.path not in absent]
        groups: dict[str, list[Entry]] = {}
        for entry in (fine for one in there for fine in self.refine(listing.root, one)):
            groups.setdefault(entry.name, []).append(entry)
        ranked, notes = dict(groups), dict[str, str]()
        for name, several in groups.items():
            if len(several) > 1 and several[0].kind == "image":
                ranked[name], reasons = chosen(self, listing.root, several)
                notes[name] = _choice(name, ranked[name], reasons)
        named = {name: several[0] for name, several in ranked.items()}
        for name, several in ranked.items():
            for entry in several[1:]:
                named[numbered(name, named)] = entry
        if left_out := _left_out(named, absent):
            notes[""] = left_out
        return Visit(self, listing.root, named, notes)

    def _channels(self, root: Path, entry: Entry) -> str | list[str]:
        """Return the contrast for each channel of a file: its name, numbered where there are
        several.
        """
        count = 1 if (root / entry.path).is_dir() else self.head(root, entry).channels
        return (
            entry.contrast
            if count == 1
            else [f"{entry.contrast}.{index}" for index in range(count)]
        )


class NamedFiles(Layout):
    """A layout in which the name of a file says all.

    `pattern` is searched in the path below the root; its groups are `patient`, `name` and, where
    there is one, `visit`.
    """

    pattern: ClassVar[re.Pattern[str]]
    names: ClassVar[Mapping[str, str]]
    """The group `name` in small letters -> name of the image; a name that `labels` holds is a label
    map.
    """
    grid: ClassVar[str] = ""

    def entries(self, listing: Listing) -> list[Entry]:
        """Return an entry for every data file that the pattern finds."""
        found = ((name, self.pattern.search(name)) for name in listing.data)
        return [
            self.entry(listing, name, match)
            for name, match in found
            if match and match["name"].lower() in self.names
        ]

    def entry(self, listing: Listing, file: str, match: re.Match[str]) -> Entry:
        """Return the entry of one file."""
        name = self.names[match["name"].lower()]
        visit = match.groupdict().get("visit")
        return Entry(
            patient=match["patient"],
            name=name,
            path=file,
            files=with_partner(listing, file),
            visit=float(visit or 0),
            kind="label" if name in self.labels else "image",
            split=split_of(file),
            grid=self.grid,
        )


def _left_out(named: Mapping[str, Entry], absent: Mapping[str, str]) -> str:
    """Return in words which files have no content, and which images beside others are localizers of
    no known contrast.
    """
    other = [
        entry for entry in named.values() if entry.kind == "image" and entry.contrast not in SUFFIX
    ]
    localizers = (
        [entry for entry in other if is_localizer(entry)] if len(other) < len(named) else []
    )
    words = [f"{path} is {why}" for path, why in absent.items()]
    words += [f"{_shown(entry)} is a localizer" for entry in localizers]
    return f"Left out: {'; '.join(words)}." if words else ""


def _choice(name: str, ordered: Sequence[Entry], why: Sequence[str]) -> str:
    """Return in words which image was taken among which."""
    others = "; ".join(
        f"{_shown(entry)} ({reason})" for entry, reason in zip(ordered[1:], why[1:], strict=True)
    )
    return f"{name} is {_shown(ordered[0])}, chosen among {len(ordered)}; not {others}."


def _shown(entry: Entry) -> str:
    """Return the path of an entry, and which slices of it where it is a part."""
    slices = entry.options.get("slices")
    place = entry.path if entry.path != "." else "the series"
    words = f" {entry.description!r}" if entry.description else ""
    return f"{place}{words}" + (f", slices {slices[0]} to {slices[1]}" if slices else "")


def numbered(name: str, taken: Mapping[str, object]) -> str:
    """Return the name, or with the first free number from `.2` on."""
    later = (f"{name}.{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain((name,), later) if one not in taken)


def with_partner(listing: Listing, file: str) -> tuple[str, ...]:
    """Return a file and what belongs beside it: the header of an `.img`, the voxels of an
    `.mhd`.
    """
    base = str(PurePosixPath(file).with_suffix(""))
    beside = [base + suffix for suffix in PARTNERS.get(suffix_of(file), ())]
    return (file, *(name for name in beside if name in listing.files))
