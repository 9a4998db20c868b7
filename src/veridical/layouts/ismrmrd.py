"""ISMRMRD: one HDF5 file a scan, `dataset/data` and `dataset/xml` in it (Inati et al. 2017,
10.1002/mrm.26089).
"""

from __future__ import annotations

from pathlib import Path

from veridical.io.hdf5 import dataset, has, opened
from veridical.layouts.base import Entry, Layout, Match
from veridical.layouts.heads import Head
from veridical.layouts.tree import Listing, split_of, stem_of, suffix_of

SUFFIXES = (".h5", ".hdf5", ".mrd")


class Ismrmrd(Layout):
    """Raw acquisitions, `kspace` in each visit; the file name is the patient."""

    title = "ISMRMRD raw data"

    def recognise(self, listing: Listing) -> Match:
        """Say so by what is in the first files."""
        files = [file for file in listing.data if suffix_of(file) in SUFFIXES]
        looked = files[:4]
        inside = sum(has(listing.root / file, "dataset/data", "dataset/xml") for file in looked)
        share = len(files) / max(len(listing.data), 1)
        sure = 0.95 * share * inside / len(looked) if looked else 0.0
        return Match(
            self.name,
            round(sure, 2),
            f"{inside} of the {len(looked)} HDF5 files looked into hold acquisitions",
        )

    def entries(self, listing: Listing) -> list[Entry]:
        """Return every HDF5 file as a scan."""
        return [
            Entry(stem_of(file), "kspace", file, (file,), kind="raw", split=split_of(file))
            for file in listing.data
            if suffix_of(file) in SUFFIXES
        ]

    def head(self, root: Path, entry: Entry) -> Head:
        """Open the file and see that acquisitions and header are there."""
        path = root / entry.path
        with opened(path) as handle:
            dataset(handle, "dataset/xml", path)
            dataset(handle, "dataset/data", path)
        return Head(None)
