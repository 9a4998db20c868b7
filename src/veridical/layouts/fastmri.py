"""fastMRI: one HDF5 file a scan in `multicoil_train`, `multicoil_val`, ... (Zbontar et al.,
arXiv:1811.08839).

Brain scans say their contrast in the name (`file_brain_AXFLAIR_200_6002425.h5`), knee scans only
inside. A scan is a patient of its own, but for the `patient_id` that files hold, which tells
whether two splits share a person.
"""

from __future__ import annotations

import re
from pathlib import Path

from veridical.errors import FormatError
from veridical.io.fastmri import CONTRASTS
from veridical.io.hdf5 import attribute, dataset, has, opened
from veridical.layouts.base import Entry, Layout, Match
from veridical.layouts.heads import Head
from veridical.layouts.issues import Issue
from veridical.layouts.tree import Listing, split_of, stem_of, suffix_of

NAME = re.compile(
    r"(?:^|/)(?:file\d+|file_(?:brain|knee|prostate)_(?P<kind>[A-Z0-9_]+?)_\d+_\d+)\.h5$"
)


class Fastmri(Layout):
    """Raw k-space, `kspace` in each visit, with its contrast in the header."""

    title = "fastMRI"

    def recognise(self, listing: Listing) -> Match:
        """Say so by names, and where these differ by what is in the first files."""
        files = [file for file in listing.data if suffix_of(file) in (".h5", ".hdf5")]
        named = [file for file in files if NAME.search(file)]
        looked = files[:4]
        inside = sum(has(listing.root / file, "kspace") for file in looked)
        share = len(files) / max(len(listing.data), 1)
        if not looked or not (inside or named):
            return Match(self.name, 0.0, "no HDF5 file holds kspace")
        sure = share * (0.5 * len(named) / len(files) + 0.49 * inside / len(looked))
        reason = (
            f"{len(named)} of {len(files)} HDF5 files have its names, {inside} of the "
            f"{len(looked)} looked into hold kspace"
        )
        return Match(self.name, round(sure, 2), reason)

    def entries(self, listing: Listing) -> list[Entry]:
        """Return every HDF5 file as a scan."""
        return [
            Entry(stem_of(file), "kspace", file, (file,), kind="raw", split=split_of(file))
            for file in listing.data
            if suffix_of(file) in (".h5", ".hdf5")
        ]

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return the body region, as far as the names say."""
        first = entries[0].path if entries else ""
        region = re.search(r"brain|knee|prostate|breast", first)
        if region:
            return f"fastMRI_{region[0]}"
        return "fastMRI_knee" if re.search(r"(?:^|/)file\d+\.h5$", first) else self.title

    def head(self, root: Path, entry: Entry) -> Head:
        """Open the file: is k-space there, of whom, and of the contrast that the name says?"""
        match, path = NAME.search(entry.path), root / entry.path
        with opened(path) as handle:
            stored = dataset(handle, "kspace", path)
            if stored.ndim not in (3, 4) or stored.dtype.kind != "c":
                raise FormatError(
                    f"{path}: 'kspace' is {stored.shape} of {stored.dtype}; expected complex "
                    "(slice, coil, y, x)."
                )
            patient, said = attribute(handle, "patient_id"), attribute(handle, "acquisition")
            slices = int(stored.shape[0])
        named = match["kind"] if match and match["kind"] else ""
        issues: tuple[Issue, ...] = ()
        if named and said and CONTRASTS.get(named, named) != CONTRASTS.get(said, said):
            issues = (
                Issue(
                    "mislabelled",
                    "error",
                    entry.path,
                    "The name and the attribute 'acquisition' differ",
                    said,
                    named,
                    "Find out which is right, and rename the file or leave it out.",
                ),
            )
        return Head(None, slices=slices, patient=patient, issues=issues)
