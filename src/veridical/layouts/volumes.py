"""Folders of NIfTI, MetaImage or Analyze files with no layout of a known set: contrast and case
from the words of the names.

A folder whose files each say another contrast is a case; elsewhere the case is the name without the
contrast.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath

from veridical.io.sequence import LABELS, WORDS, contrast_in, label_in, words_of
from veridical.layouts.base import GENERIC, Entry, Layout, Match, with_partner
from veridical.layouts.tree import Listing, split_of, stem_of, suffix_of

KINDS = (".nii", ".mha", ".mhd", ".img")
TCGA = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}")


class Volumes(Layout):
    """Any volumes; a name that says no contrast gives an image called `image`."""

    title = "a folder of volumes"
    specific = False

    def recognise(self, listing: Listing) -> Match:
        """Say so by the suffixes alone."""
        count = sum(suffix_of(file) in KINDS for file in listing.data)
        share = count / max(len(listing.data), 1)
        return Match(
            self.name,
            round(GENERIC * share, 2),
            f"{count} of {len(listing.data)} data files are volumes",
        )

    def entries(self, listing: Listing) -> list[Entry]:
        """Return all volumes."""
        found = []
        for folder, files in listing.folders.items():
            volumes = [file for file in files if suffix_of(file) in KINDS]
            names = {file: _name(file) for file in volumes}
            case = len(volumes) > 1 and max(Counter(names.values()).values(), default=0) == 1
            for file in volumes:
                tcga = TCGA.search(file)
                patient = (
                    tcga[0] if tcga else _folder_name(listing, folder) if case else _bare(file)
                )
                kind = "label" if label_in(stem_of(file)) else "image"
                found.append(
                    Entry(
                        patient,
                        names[file],
                        file,
                        with_partner(listing, file),
                        kind=kind,  # type: ignore[arg-type]
                        split=split_of(file),
                    )
                )
        return found

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return TCGA where the ids are of it."""
        return (
            "TCGA (TCIA)"
            if entries and all(TCGA.match(entry.patient) for entry in entries)
            else self.title
        )


def _name(file: str) -> str:
    stem = stem_of(file)
    label = label_in(stem)
    return label or contrast_in(stem) or "image"


def _bare(file: str) -> str:
    """Return the name without the words of contrast and label."""
    words = set(words_of(stem_of(file))) & (set(WORDS) | LABELS)
    kept = [part for part in re.split(r"[^A-Za-z0-9]+", stem_of(file)) if part.lower() not in words]
    return "_".join(kept) or stem_of(file)


def _folder_name(listing: Listing, folder: str) -> str:
    parts = [
        part
        for part in PurePosixPath(folder).parts
        if part not in ("nifti", "raw", "images", "anat", ".")
    ]
    return parts[-1] if parts else listing.root.resolve().name
