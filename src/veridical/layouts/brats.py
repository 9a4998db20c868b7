"""BraTS, 2017 to 2025: four contrasts of a glioma on one grid, and its tumour labels.

Names of 2017 to 2021: `BraTS20_Training_001_flair.nii.gz`; since 2023:
`BraTS-GLI-00000-000-t2f.nii.gz`, the last number being the visit (Baid et al., arXiv:2107.02314).
"""

from __future__ import annotations

import re

from veridical.layouts.base import Entry, NamedFiles
from veridical.layouts.tree import Listing

CONTRASTS = ("T1w", "T1c", "T2w", "FLAIR")


class Brats(NamedFiles):
    """Four contrasts and a tumour segmentation a visit."""

    title = "BraTS"
    expected = CONTRASTS
    grid = "case"
    labels = {"tumour": (0, 1, 2, 3, 4), "void": (0, 1), "healthy": (0, 1), "unhealthy": (0, 1)}  # noqa: RUF012
    pattern = re.compile(
        r"(?:^|/)(?P<patient>BraTS(?:\d{2,4}_\w+?|-[A-Z]+-\d+))(?:-(?P<visit>\d{3}))?"
        r"[_-](?P<name>t1|t1ce|t2|flair|seg|t1n|t1c|t2w|t2f|t1n-voided|mask|mask-healthy|mask-unhealthy)\.nii(?:\.gz)?$",
        re.IGNORECASE,
    )
    names = {  # noqa: RUF012
        **{
            "t1": "T1w",
            "t1n": "T1w",
            "t1ce": "T1c",
            "t1c": "T1c",
            "t2": "T2w",
            "t2w": "T2w",
            "flair": "FLAIR",
            "t2f": "FLAIR",
        },
        **{"t1n-voided": "T1w.voided", "seg": "tumour"},
        **{"mask": "void", "mask-healthy": "healthy", "mask-unhealthy": "unhealthy"},
    }

    def dataset(self, listing: Listing, entries: list[Entry]) -> str:
        """Return BraTS with the year, or the tumour since 2023, as far as the names say."""
        first = entries[0].patient if entries else ""
        old, new = (
            re.match(r"brats(\d{2,4})_", first, re.I),
            re.match(r"brats-([a-z]+)-", first, re.I),
        )
        return (
            f"BraTS20{old[1][-2:]}" if old else f"BraTS2023-{new[1].upper()}" if new else self.title
        )

    def must_have(self, entries: list[Entry]) -> tuple[str, ...]:
        """Return the four contrasts; of the inpainting challenge the voided image and its mask
        instead.
        """
        return (
            ("T1w.voided", "void")
            if any(entry.name == "T1w.voided" for entry in entries)
            else self.expected
        )
