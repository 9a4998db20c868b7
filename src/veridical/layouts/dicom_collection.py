"""DICOM as archives give it out: patient / study / series folders (TCIA: LIDC-IDRI, TCGA, ...), or
one folder of one series.

One folder is one series; where it holds several of one patient and day, each is offered on its own.
A patient is called after his folder; the id in the header groups his folders and is shown only
where a folder is called by it. What a series shows is its modality, for MR the contrast that its
description names. A series of several slabs is offered slab by slab.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

from veridical.io.sequence import MR, WORDS, contradiction, described, words_of
from veridical.layouts.base import Entry, Layout, Match
from veridical.layouts.dicom_headers import Series, header_of, series_of
from veridical.layouts.heads import Head
from veridical.layouts.issues import Issue
from veridical.layouts.tree import Listing, split_of, suffix_of

NAMES = {"PT": "PET", "CR": "XR", "DX": "XR", "MG": "MG", "NM": "NM"}
SUFFIXES = (".dcm", ".dicom", ".ima")
TILT = 0.1
COLLECTIONS = (
    (r"LIDC-IDRI-\d{4}", "LIDC-IDRI"),
    (r"STS_\d{3}", "Soft-tissue-Sarcoma"),
    (r"TCGA-\w{2}-\w{4}", "TCGA (TCIA)"),
    (r"[LCN]\d{3}", "LDCT-and-Projection-data"),
    (r"ISPY2-\d+", "I-SPY2"),
    (r"Breast_MRI_\d{3}", "Duke Breast Cancer MRI"),
    (r"ACRIN-Contralateral-Breast-MR-\d+", "ACRIN-Contralateral-Breast-MR"),
    (r"ProstateX-\d{4}", "PROSTATEx"),
)
"""What the ids of the patients look like -> the collection."""


class DicomCollection(Layout):
    """Every series by its modality or contrast, `CT.2` for a second one of a visit; objects that
    are no images are counted.
    """

    title = "a DICOM collection"
    specific = False

    def recognise(self, listing: Listing) -> Match:
        """Say so by the share of DICOM files alone: no header is read but that of one file."""
        files = [file for file in listing.data if _is_dicom(file)]
        share = len(files) / max(len(listing.data), 1)
        first = next(
            (header for file in files[:8] if (header := header_of(listing.root / file))), None
        )
        sure = round(0.9 * share, 2) if first else 0.0
        return Match(self.name, sure, f"{len(files)} of {len(listing.data)} data files are DICOM")

    def entries(self, listing: Listing) -> list[Entry]:
        """Return a series for each folder; the header of one file of each is read, of all where
        they are few.
        """
        found: list[tuple[Entry, str]] = []
        for folder, names in listing.folders.items():
            files = tuple(file for file in names if _is_dicom(file))
            if files:
                found += _of_folder(listing, folder, files)
        return _with_names(_with_days(found), listing.root.resolve().name)

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return the collection that the patients' ids belong to, where they are of a known
        kind.
        """
        ids = {entry.patient for entry in entries}
        for pattern, title in COLLECTIONS:
            if ids and all(re.fullmatch(pattern, patient) for patient in ids):
                return title
        return self.title

    def head(self, root: Path, entry: Entry) -> Head:
        """Read the headers of all files of a series."""
        if entry.kind == "object":
            return Head(None)
        series = series_of(root, entry.files)
        patient = str(series.first.get("PatientID") or "")
        return Head(
            series.geometry,
            slices=series.images,
            patient=patient,
            issues=tuple(_issues(series, entry)),
        )

    def refine(self, root: Path, entry: Entry) -> list[Entry]:
        """Return the series of a folder, and the slabs of one whose slices are not evenly spaced,
        without single slices.
        """
        if entry.kind == "object" or "slices" in entry.options:
            return [entry]
        series = series_of(root, entry.files)
        if len(series.series) > 1:
            each = _each_series(root, entry, series)
            return [part for one in each for part in self.refine(root, one)] if each else [entry]
        slabs = [run for run in series.slabs if run[1] > run[0]]
        if len(series.slabs) < 2 or not slabs:
            return [entry]
        return [replace(entry, options={**entry.options, "slices": slab}) for slab in slabs]


def _is_dicom(file: str) -> bool:
    suffix = suffix_of(file)
    return suffix in SUFFIXES or not suffix or suffix[1:].isdigit()


def _of_folder(listing: Listing, folder: str, files: tuple[str, ...]) -> list[tuple[Entry, str]]:
    """Return the image series of a folder and the objects in it, each with its study date."""
    found: list[tuple[Entry, str]] = []
    few = len(files) <= 8
    image: dict[str, Any] | None = None
    for file in files:
        header = header_of(listing.root / file)
        if header is None:
            continue
        if not header["Rows"]:
            patient, name = _patient(listing, folder, header), str(header["Modality"] or "object")
            found.append(
                (
                    Entry(patient, name, file, (file,), kind="object", split=split_of(file)),
                    _date(header),
                )
            )
        elif image is None:
            image = header
        if image is not None and not few:
            break
    if image is not None or not found:
        said = image or dict.fromkeys(("PatientID", "Modality", "SeriesDescription", "StudyDate"))
        objects = {entry.path for entry, _ in found}
        rest = tuple(file for file in files if file not in objects)
        entry = Entry(
            _patient(listing, folder, said),
            _name(said),
            folder,
            rest,
            split=split_of(f"{folder}/x"),
            options={"contrast": _name(said)},
            **_told(said),
        )
        found.append((entry, _date(said)))
    return found


def _each_series(root: Path, entry: Entry, series: Series) -> list[Entry]:
    """Return an entry for each series of a folder; none where they are of several patients or
    days.
    """
    first = {uid: header_of(root / files[0]) or {} for uid, files in series.series.items()}
    if len({(header.get("PatientID"), header.get("StudyDate")) for header in first.values()}) > 1:
        return []
    return [
        replace(
            entry,
            name=_name(header),
            files=series.series[uid],
            options={"contrast": _name(header), "series": uid},
            **_told(header),
        )
        for uid, header in first.items()
    ]


def _told(header: dict[str, Any]) -> dict[str, Any]:
    """Return the number of a series and its description."""
    number = str(header.get("SeriesNumber") or "")
    return {
        "run": int(number) if number.isdigit() else 0,
        "description": str(header.get("SeriesDescription") or "").strip(),
    }


def _name(header: dict[str, Any]) -> str:
    modality = str(header["Modality"] or "image")
    if modality != "MR":
        return NAMES.get(modality, modality)
    known = described(str(header.get("SeriesDescription") or "")) or described(
        str(header.get("ProtocolName") or "")
    )
    return known if known in MR else "MR"


def _patient(listing: Listing, folder: str, header: dict[str, Any]) -> str:
    """Return the id in the header; where it is empty or says only that it was removed, the first
    folder.
    """
    said = str(header["PatientID"] or "").strip()
    if said and not re.match(r"anon|removed|unknown|none", said, re.I):
        return said
    parts = PurePosixPath(folder).parts
    return parts[0] if parts and parts[0] != "." else listing.root.resolve().name


def _with_names(entries: list[Entry], root: str) -> list[Entry]:
    """Name the patients after the folders in which they are alone, the nearest to the top."""
    folders: dict[str, set[tuple[str, ...]]] = {}
    for entry in entries:
        path = PurePosixPath(entry.path)
        folders.setdefault(entry.patient, set()).add(
            path.parts if entry.path not in entry.files else path.parent.parts
        )
    deepest = min(len(parts) for paths in folders.values() for parts in paths) if folders else 0
    names: dict[str, str] = {}
    for depth in range(1, deepest + 1):
        starts = {
            patient: sorted({parts[:depth] for parts in paths})
            for patient, paths in folders.items()
        }
        alone = Counter(start for several in starts.values() for start in several)
        if max(alone.values()) == 1:
            names = {patient: several[0][-1] for patient, several in starts.items()}
            break
    if len(set(names.values())) < len(folders):
        names = (
            {patient: f"{root}_{number:03d}" for number, patient in enumerate(folders, 1)}
            if len(folders) > 1
            else {}
        )
    seen = {part for paths in folders.values() for parts in paths for part in (root, *parts)}
    return [
        replace(
            entry,
            patient=entry.patient if entry.patient in seen else names.get(entry.patient, root),
        )
        for entry in entries
    ]


def _date(header: dict[str, Any]) -> str:
    return str(header.get("StudyDate") or "")


def _with_days(found: list[tuple[Entry, str]]) -> list[Entry]:
    """Turn study dates into days since the first study of each patient; the dates themselves are
    dropped.
    """
    days: dict[str, int] = {}
    for _, text in found:
        if re.fullmatch(r"\d{8}", text):
            try:
                days[text] = date(int(text[:4]), int(text[4:6]), int(text[6:])).toordinal()
            except ValueError:
                continue
    first: dict[str, int] = {}
    for entry, text in found:
        if text in days:
            first[entry.patient] = min(days[text], first.get(entry.patient, days[text]))
    return [
        replace(entry, visit=float(days[text] - first[entry.patient])) if text in days else entry
        for entry, text in found
    ]


def _issues(series: Series, entry: Entry) -> list[Issue]:
    """Say what is wrong with the headers of a series."""
    found = [
        Issue(
            "unreadable",
            "error",
            file,
            "This is no DICOM file, or is damaged",
            next="Copy or download it again.",
        )
        for file in series.broken
    ]

    def add(
        code: str, level: Any, what: str, got: str = "", expected: str = "", then: str = ""
    ) -> None:
        found.append(Issue(code, level, entry.path, what, got, expected, then))

    if len(series.series) > 1:
        add(
            "several_series",
            "warn",
            "The folder holds several series",
            f"{len(series.series)}",
            "one",
            "Each is read on its own where all are of one patient and day; else put each into a "
            "folder.",
        )
        return found
    if series.repeated:
        add(
            "duplicate",
            "error",
            "Images of the series are there twice",
            f"{series.repeated} repeated instance UIDs",
            "none",
            "Remove the copies.",
        )
    if series.sizes > 1:
        add(
            "grid",
            "error",
            "The images have several sizes",
            f"{series.sizes}",
            "one",
            "Move the odd ones away.",
        )
    if series.images and series.geometry is None:
        add("grid", "error", "The images have no place, several orientations, or no distance", "",
            "positions along one axis", "A localizer may be among them; move it away.")  # fmt: skip
    if len(series.slabs) > 1:
        add(
            "uneven",
            "warn",
            "The slices are not evenly spaced",
            _in_words(series),
            "one distance",
            "A slice is missing, or the series is made of slabs; each slab is read on its own.",
        )
    if series.tilt > TILT:
        add(
            "tilt",
            "note",
            "The gantry was tilted",
            f"{series.tilt:.1f} degrees",
            "",
            "It is resampled onto a straight grid as it is read.",
        )
    said = {
        **series.first,
        **{tag: _seconds(series.first.get(tag)) for tag in ("EchoTime", "InversionTime")},
    }
    against = contradiction(entry.contrast, said) or contradiction(_called(entry.path), said)
    if against:
        add(
            "mislabelled",
            "error",
            "What the folder is called and the header contradict each other",
            against,
            "",
            "Look at the images; rename the folder, or leave the series out.",
        )
    return found


def _seconds(milliseconds: Any) -> float | None:
    try:
        return float(milliseconds) / 1000
    except (TypeError, ValueError):
        return None


def _called(path: str) -> str:
    """Return the contrast that the folder nearest to the images is called after; nothing where it
    is called after several.
    """
    for part in reversed(PurePosixPath(path).parts):
        found = {WORDS[word] for word in words_of(part) if word in WORDS}
        if found:
            return (
                "MR"
                if found == {"MR"}
                else described(part) or ""
                if not {"CT", "MR"} <= found
                else ""
            )
    return ""


def _in_words(series: Series) -> str:
    """Return `slices 1-14 every 4.00 mm, 15-28 every 7.00 mm`."""
    said = []
    for first, last in series.slabs[:4]:
        said.append(
            f"{first}-{last} every {series.gaps[first - 1]:.2f} mm"
            if last > first
            else f"{first} alone"
        )
    more = len(series.slabs) - 4
    counts = Counter(round(float(gap), 2) for gap in series.gaps)
    odd = f"; {len(counts)} different distances" if more > 0 else ""
    return "slices " + ", ".join(said) + (f" and {more} more runs" if more > 0 else "") + odd
