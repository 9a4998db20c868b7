"""Soft-tissue sarcoma as the benchmark of IBSI gives it out: CT, T1 and FDG-PET with the tumour
contour on each.

`STS_002/CT_image.nii.gz`, `CT_mask.nii.gz`, ...; beside it the same as DICOM,
`STS_002/CT/image/*.dcm` (Vallieres et al. 2015, TCIA Soft-tissue-Sarcoma).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from veridical.layouts.base import Entry, NamedFiles
from veridical.layouts.tree import Listing, suffix_of

NAMES = {"ct": "CT", "mr_t1": "T1w", "pet": "PET"}
SERIES = re.compile(r"(?:^|/)(?P<patient>STS_\d{3})/(?P<name>CT|MR_T1|PET)/(?P<what>image|mask)$")


class Sarcoma(NamedFiles):
    """Three modalities, each on its own grid in one frame, with the tumour on each."""

    title = "Soft-tissue-Sarcoma"
    expected = ("CT", "T1w", "PET", "CT_tumour", "T1w_tumour", "PET_tumour")
    labels = {f"{name}_tumour": (0, 1) for name in NAMES.values()}  # noqa: RUF012
    pattern = re.compile(
        r"(?:^|/)(?P<patient>STS_\d{3})/(?P<name>CT|MR_T1|PET)_(?P<what>image|mask)\.nii(?:\.gz)?$"
    )
    names = NAMES

    def entries(self, listing: Listing) -> list[Entry]:
        """Return the NIfTI images, and the series in DICOM: under the same name, or as `CT.dicom`
        where NIfTI is there.
        """
        found = super().entries(listing)
        there = {(entry.patient, entry.name) for entry in found}
        for folder, files in listing.folders.items():
            match = SERIES.search(folder)
            if match is None or not all(suffix_of(file) == ".dcm" for file in files):
                continue
            name = NAMES[match["name"].lower()]
            if match["what"] == "mask":
                found.append(
                    Entry(match["patient"], f"{name}_structures", folder, files, kind="object")
                )
            else:
                name = f"{name}.dicom" if (match["patient"], name) in there else name
                found.append(
                    Entry(
                        match["patient"],
                        name,
                        folder,
                        files,
                        options={"contrast": name.split(".")[0]},
                    )
                )
        return found

    def entry(self, listing: Listing, file: str, match: re.Match[str]) -> Entry:
        """Return the entry of one NIfTI file; PET is in standardized uptake values."""
        contrast = NAMES[match["name"].lower()]
        mask = match["what"] == "mask"
        units = "SUV" if contrast == "PET" else ""
        name = f"{contrast}_tumour" if mask else contrast
        kind, units = ("label", "label") if mask else ("image", units)
        return Entry(match["patient"], name, file, (file,), kind=kind, units=units, grid=contrast)  # type: ignore[arg-type]

    def must_have(self, entries: list[Entry]) -> tuple[str, ...]:
        """Return all six; of a patient who is there in DICOM alone the three series."""
        alone = all(PurePosixPath(entry.path).suffix == "" for entry in entries)
        return tuple(NAMES.values()) if alone else self.expected
