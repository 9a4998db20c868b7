"""IXI: healthy adults from three London scanners; T1, T2, PD, MRA and DTI, a folder each
(brain-development.org).

`IXI012-HH-1211-T1.nii.gz`: subject, hospital, number. Result files keep the name and add to it
(`_ds`, `_ds_DLMUSE`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from veridical.layouts.base import Entry, NamedFiles
from veridical.layouts.tree import Listing

FIELD = {"Guys": 1.5, "HH": 3.0, "IOP": 1.5}
"""Hospital -> tesla."""


class Ixi(NamedFiles):
    """One file a contrast; anatomical labels where they were made."""

    title = "IXI Dataset"
    labels = {"anatomy": tuple(range(256))}  # noqa: RUF012
    pattern = re.compile(
        r"(?:^|/)(?P<patient>IXI\d{3})-(?P<site>Guys|HH|IOP)-\w+-"
        r"(?P<name>T1|T2|PD|MRA|DTI)(?:-\d\d)?(?:_\w*?)??(?P<labels>_DLMUSE)?\.nii(?:\.gz)?$"
    )
    names = {"t1": "T1w", "t2": "T2w", "pd": "PD", "mra": "MRA", "dti": "DTI"}  # noqa: RUF012

    def entry(self, listing: Listing, file: str, match: re.Match[str]) -> Entry:
        """Return the entry of a file; labels are named for what they are, not for the image they
        were made from.
        """
        found = super().entry(listing, file, match)
        return (
            replace(found, name="anatomy", kind="label", grid="T1w")
            if match["labels"]
            else replace(found, grid=found.name)
        )

    def covariates(self, listing: Listing, entries: list[Entry]) -> dict[str, dict[str, Any]]:
        """Return what the tables say, and the hospital and its field strength."""
        known = super().covariates(listing, entries)
        for entry in entries:
            match = self.pattern.search(entry.path)
            site = match["site"] if match else ""
            known.setdefault(entry.patient, {}).update(site=site, field=FIELD[site])
        return known

    def row_patient(self, table: str, value: str) -> str:
        """Return `IXI012` for `IXI012-HH-1211`, and for the bare number that IXI's own table
        holds.
        """
        return f"IXI{int(value):03d}" if value.isdigit() else value.split("-")[0]
