"""OASIS-1, -2 and -3: brains of adults, with and without dementia (Marcus et al. 2007,
10.1162/jocn.2007.19.9.1498).

OASIS-1 and -2 are pairs of `.hdr` and `.img`: `OAS1_0001_MR1/RAW/..._mpr-1_anon.img`,
`PROCESSED/MPRAGE/SUBJ_111`, `T88_111`, `FSL_SEG`; `OAS2_0001_MR1/RAW/mpr-1.nifti.img`. OASIS-3 has
BIDS names in folders of its own, whose number counts days.
"""

from __future__ import annotations

import re
from dataclasses import replace

from veridical.io.contrast import contrast_of
from veridical.layouts.base import Entry, Layout, with_partner
from veridical.layouts.tree import Listing, stem_of, suffix_of

OLD = re.compile(
    r"(?:^|/)(?P<patient>OAS[12]_\d{4})_MR(?P<visit>\d)/(?P<rest>.+)\.(?:img|nii|nii\.gz)$"
)
NEW = re.compile(
    r"(?:^|/)(?P<patient>OAS3\d{4})_(?:MR|PET|CT)\w*_d(?P<visit>\d+)/(?P<rest>.+)\.(?:nii|nii\.gz)$"
)
PROCESSED = (
    ("_fseg", "tissue"),
    ("_masked_gfc", "T1w.t88-masked"),
    ("_t88_gfc", "T1w.t88"),
    ("_sbj_", "T1w"),
)
"""End of the name in OASIS-1 -> name of the image."""


class Oasis(Layout):
    """T1 of each visit, averaged where OASIS averaged it, with its tissue labels; in OASIS-3 all
    contrasts.
    """

    title = "OASIS"
    labels = {"tissue": (0, 1, 2, 3)}  # noqa: RUF012

    def entries(self, listing: Listing) -> list[Entry]:
        """Return the images of the three sets."""
        found = []
        for file in listing.data:
            match = OLD.search(file) or NEW.search(file)
            if match is None or suffix_of(file) not in (".img", ".nii"):
                continue
            name = (
                _old_name(match["rest"])
                if file.find("OAS3") < 0
                else contrast_of(listing.root / file) or _suffix(file)
            )
            entry = Entry(
                match["patient"],
                name,
                file,
                with_partner(listing, file),
                float(match["visit"]),
                grid=_grid(name),
            )
            found.append(replace(entry, kind="label") if name in self.labels else entry)
        return _from_first(found)

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return OASIS-1, OASIS-2 or OASIS-3."""
        return f"OASIS-{entries[0].patient[3]}" if entries else self.title

    def must_have(self, entries: list[Entry]) -> tuple[str, ...]:
        """Return the T1; without the processed one, a raw one will do."""
        return (
            ()
            if any(entry.contrast == "T1w" for entry in entries) or entries[0].patient[3] == "3"
            else ("T1w",)
        )

    def row_patient(self, table: str, value: str) -> str:
        """Return `OAS1_0001` for `OAS1_0001_MR1`."""
        return re.sub(r"_MR\d$", "", value)


def _old_name(rest: str) -> str:
    raw = re.search(r"mpr-(\d)", rest)
    if raw:
        return f"T1w.raw-{raw[1]}"
    return next((name for end, name in PROCESSED if end in rest), "T1w")


def _suffix(file: str) -> str:
    return stem_of(file).rsplit("_", 1)[-1]


def _grid(name: str) -> str:
    return "t88" if name in ("tissue", "T1w.t88", "T1w.t88-masked") else ""


def _from_first(entries: list[Entry]) -> list[Entry]:
    """Count the visits from the first of each patient; OASIS-3 counts days from entry into the
    study.
    """
    first: dict[str, float] = {}
    for entry in entries:
        first[entry.patient] = min(entry.visit, first.get(entry.patient, entry.visit))
    return [replace(entry, visit=entry.visit - first[entry.patient]) for entry in entries]
