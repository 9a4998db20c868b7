"""The cases of a folder: every visit of every patient that a layout knows, its images read when a task asks for them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from veridical.errors import InputError, ProvenanceError
from veridical.io.assemble import stacked
from veridical.io.bids import SUFFIX
from veridical.layouts import discovery as layouts
from veridical.layouts.base import Entry, Layout
from veridical.types import Image, Measurement

LESION = re.compile(r"(?:lesions?|tumou?rs?)(?![a-z])", re.I)
"""How label maps of lesions are called."""


@dataclass(frozen=True, eq=False)
class Case:
    """One visit of one patient.

    Args:
        name: `sub-01_ses-1`: BIDS entities, made from the id where the set is not BIDS.
        root: folder of the set.
        layout: of it.
        patient, visit: id, and day as the layout says.
        entries: what the layout found of the visit.
        known: what the tables say of the patient.
    """

    name: str
    root: Path
    layout: Layout
    patient: str
    visit: float
    entries: tuple[Entry, ...]
    known: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def found(self) -> dict[str, Entry]:
        """Name -> entry, once the headers were looked at; a second T1w is `T1w.2`."""
        from veridical.layouts.base import numbered

        named: dict[str, Entry] = {}
        for entry in (fine for one in self.entries for fine in self.layout.refine(self.root, one)):
            named[numbered(entry.name, named)] = entry
        return named

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of its images, raw scans or labels: for images those whose contrast is known, else all."""
        every = tuple(name for name, entry in self.found.items() if entry.kind == kind)
        known = tuple(name for name in every if name in SUFFIX)
        return known if known and kind == "image" else every

    @property
    def lesions(self) -> str:
        """Name of the label map of lesions; empty where there is none."""
        return next((name for name in self.names("label") if LESION.search(name)), "")

    def read(self, names: Sequence[str], lesions: str = "") -> Image | Measurement:
        """Read images of the visit as channels of one image, or one raw scan.

        Returns:
            what `header["source"]` makes again through `from_record`.

        Raises:
            InputError: one cannot be read, or they do not go together.
        """
        subjects = [self.layout.load(self.root, self.found[name]) for name in names]
        mask = self.layout.load(self.root, self.found[lesions]) if lesions else None
        images = [one for one in subjects if isinstance(one, Image)]
        subject = subjects[0]
        if len(names) > 1 or mask is not None:
            if len(images) < len(subjects) or isinstance(mask, Measurement):
                raise InputError(
                    f"{self.name} holds raw data among {', '.join(names)}; only images can stand beside each other."
                )
            subject = stacked(images, mask)
        strength = self.known.get("field")
        header = dict(subject.header) | ({"field": float(strength)} if isinstance(strength, int | float) else {})
        files = tuple(self.found[name].path for name in (*names, *([lesions] if lesions else [])))
        header["source"] = {
            "path": str(self.root.resolve()), "layout": self.layout.name, "patient": self.patient, "visit": self.visit,
            "images": tuple(names), "lesions": lesions, "files": files,
        }  # fmt: skip
        return replace(subject, header=header)


def cases(root: str | Path, layout: str = "") -> list[Case]:
    """Return the visits of a folder in the order of their names.

    Args:
        root: folder of a data set.
        layout: its name, when it is known; otherwise it is recognised.

    Raises:
        InputError: nothing that a layout knows, or several sets.
    """
    sets = layouts.find(root, layout)
    if len(sets) > 1:
        listed = ", ".join(f"{one.listing.root.name} ({one.layout.name})" for one in sets)
        raise InputError(f"{root} holds {len(sets)} data sets: {listed}. Give one of these folders.")
    listing, kind = sets[0].listing, sets[0].layout
    entries = [entry for entry in kind.entries(listing) if entry.kind != "object"]
    known = kind.covariates(listing, entries)
    entries.sort(key=lambda entry: (entry.patient, entry.visit))
    found: dict[str, Case] = {}
    for patient, own in itertools.groupby(entries, key=lambda entry: entry.patient):
        visits = [(day, tuple(group)) for day, group in itertools.groupby(own, key=lambda entry: entry.visit)]
        for day, group in visits:
            name = _free(_named(patient, day, group, len(visits) > 1), found)
            found[name] = Case(name, listing.root, kind, patient, day, group, known.get(patient, {}))
    return list(found.values())


def from_record(record: Mapping[str, Any]) -> Image | Measurement:
    """Read a case again from what `Case.read` noted.

    Raises:
        ProvenanceError: it is not there any more.
        InputError: it cannot be read.
    """
    for case in cases(record["path"], record["layout"]):
        if (case.patient, case.visit) == (record["patient"], record["visit"]):
            wanted = [*record["images"], *([record["lesions"]] if record["lesions"] else [])]
            if missing := [name for name in wanted if name not in case.found]:
                raise ProvenanceError(
                    f"{case.name} in {record['path']} has no {', '.join(missing)} any more. Restore the files."
                )
            return case.read(record["images"], record["lesions"])
    raise ProvenanceError(f"{record['path']} holds no visit {record['visit']:g} of {record['patient']} any more. Restore it.")


def _named(patient: str, day: float, entries: Sequence[Entry], several: bool) -> str:
    subject = patient if re.fullmatch(r"sub-[A-Za-z0-9]+", patient) else f"sub-{re.sub(r'[^A-Za-z0-9]', '', patient) or 'x'}"
    session = next((match[0] for entry in entries if (match := re.search(r"ses-[A-Za-z0-9]+", entry.path))), "")
    session = session or (f"ses-{day:g}".replace(".", "p") if several else "")
    return f"{subject}_{session}" if session else subject


def _free(name: str, taken: Mapping[str, object]) -> str:
    subject, _, session = name.partition("_")
    names: Iterator[str] = (f"{subject}x{n}{_}{session}" for n in itertools.count(2))
    return next(one for one in itertools.chain((name,), names) if one not in taken)
