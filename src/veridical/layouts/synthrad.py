"""SynthRAD2023 and SynthRAD2025: MR or cone-beam CT to CT for radiotherapy (Thummerer et al. 2023,
10.1002/mp.16529).

`Task1/brain/1BA001/{mr,ct,mask}.nii.gz`, `Task2/pelvis/2PB007/{cbct,ct,mask}.nii.gz`; 2025 the same
with `.mha` and the regions AB, HN and TH. Test and validation cases come without CT.
"""

from __future__ import annotations

import re
from dataclasses import replace

from veridical.layouts.base import Entry, NamedFiles
from veridical.layouts.tree import Listing

REGIONS = {"B": "brain", "P": "pelvis", "AB": "abdomen", "HN": "head and neck", "TH": "thorax"}


class Synthrad(NamedFiles):
    """MR or CBCT, CT and the outline of the body, on one grid."""

    title = "SynthRAD2023"
    alike = False
    labels = {"body": (0, 1)}  # noqa: RUF012
    grid = "case"
    pattern = re.compile(
        r"(?:^|/)(?P<patient>(?P<task>[12])(?P<region>AB|HN|TH|B|P)(?P<site>[A-E])\d{2,4}"
        r")/(?P<name>mr|ct|cbct|mask)\.(?:nii\.gz|nii|mha)$",
        re.IGNORECASE,
    )
    names = {"mr": "MR", "ct": "CT", "cbct": "CBCT", "mask": "body"}  # noqa: RUF012

    def entry(self, listing: Listing, file: str, match: re.Match[str]) -> Entry:
        """Return the entry of one file; CT and cone-beam CT are in Hounsfield units."""
        found = super().entry(listing, file, match)
        return replace(found, units="HU") if found.name in ("CT", "CBCT") else found

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return the year: 2025 has `.mha` and other regions."""
        return (
            "SynthRAD2025"
            if any(entry.path.lower().endswith(".mha") for entry in entries)
            else self.title
        )

    def must_have(self, entries: list[Entry]) -> tuple[str, ...]:
        """Return the source of the task and the outline, and the CT unless the case is of a
        held-out split.
        """
        source = "MR" if entries[0].patient[0] == "1" else "CBCT"
        return (source, "body") if entries[0].split in ("val", "test") else (source, "CT", "body")
