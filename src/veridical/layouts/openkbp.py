"""OpenKBP: radiotherapy plans of the head and neck, one `pt_N.npz` or folder `pt_N` a patient.

Which split a patient belongs to is said by a folder: `train`, `validation`, `test`, or
`train-pats` and so on of the challenge (Babier et al., Medical Physics 2021, 10.1002/mp.14845).
"""

from __future__ import annotations

import re
from pathlib import Path

from veridical.io.files import read
from veridical.layouts.base import Entry, Layout, Match
from veridical.layouts.tree import Listing, split_of
from veridical.types import Image, Measurement

ARCHIVE = re.compile(r"(?:^|/)(?P<patient>pt_\d+)\.npz$")
TABLES = ("ct.csv", "voxel_dimensions.csv")
"""What the folder of a patient holds at least."""


class Openkbp(Layout):
    """CT, structures and planned dose of a patient together."""

    title = "OpenKBP"
    expected = ("plan",)

    def entries(self, listing: Listing) -> list[Entry]:
        """Return one entry a patient, named `plan`, which holds all volumes."""
        found = [
            Entry(match["patient"], "plan", file, (file,), split=split_of(file))
            for file in listing.files
            if (match := ARCHIVE.search(file))
        ]
        folders: dict[str, list[str]] = {}
        for file in listing.files:
            folders.setdefault(file.rpartition("/")[0], []).append(file)
        for folder, files in folders.items():
            if {file.rpartition("/")[2] for file in files}.issuperset(TABLES):
                patient = folder.rpartition("/")[2] or listing.root.name
                split = split_of(f"{folder}/ct.csv")
                found.append(Entry(patient, "plan", folder or ".", tuple(files), split=split))
        return found

    def recognise(self, listing: Listing) -> Match:
        """Say how sure it is by the share of all files, since tables count as data here."""
        claimed = {file for entry in self.entries(listing) for file in entry.files}
        share = len(claimed) / max(len(listing.files), 1)
        return Match(
            self.name,
            round(0.5 + 0.49 * share, 2) if claimed else 0.0,
            f"{len(claimed)} of {len(listing.files)} files are of patients with plans",
        )

    def load(self, root: Path, entry: Entry) -> Image | Measurement:
        """Read all volumes of a patient as the channels of one image."""
        return read(root / entry.path)
