"""Lower-grade glioma of TCGA as packed arrays: `TCGA_CS_4941_19960909.npz` with T1, FLAIR, contrast
T1 and the lesion.

`image` is `(slice, 3, y, x)` uint8, `mask` `(slice, y, x)`; `index.csv` says which contrasts are
real; in place of one that was not measured the set repeats FLAIR (Buda et al. 2019,
10.1016/j.compbiomed.2019.05.002). No spacing is stated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from veridical.errors import FormatError
from veridical.layouts.archives import array_of, shapes_of
from veridical.layouts.base import Entry, Layout
from veridical.layouts.heads import Head
from veridical.layouts.issues import Issue
from veridical.layouts.tables import rows_of
from veridical.layouts.tree import Listing, split_of
from veridical.types import Array, Geometry, Image

PATTERN = re.compile(r"(?:^|/)(?P<patient>TCGA_(?:CS|DU|EZ|FG|HT)_\w{4})_(?P<date>\d{8})\.npz$")
CHANNELS = ("T1w", "FLAIR", "T1c")
REAL = {"T1w": "has_t1pre", "FLAIR": "has_flair", "T1c": "has_t1post"}
"""Contrast -> column of `index.csv`."""


class LggTcga(Layout):
    """The measured contrasts and the lesion of each patient, slice upon slice."""

    title = "TCGA-LGG"
    alike = False
    labels = {"lesion": (0, 1)}  # noqa: RUF012

    def entries(self, listing: Listing) -> list[Entry]:
        """Return four images a file; a contrast that `index.csv` says was not measured is none."""
        index = _index(listing)
        found = []
        for file in listing.data:
            match = PATTERN.search(file)
            if match is None:
                continue
            said = index.get(f"{match['patient']}_{match['date']}", {})
            for name in (*CHANNELS, "lesion"):
                if said.get(REAL.get(name, ""), "1") != "0":
                    kind = "label" if name == "lesion" else "image"
                    found.append(
                        Entry(
                            match["patient"],
                            name,
                            file,
                            (file,),
                            kind=kind,  # type: ignore[arg-type]
                            split=split_of(file),
                            grid="slices",
                        )
                    )
        return found

    def head(self, root: Path, entry: Entry) -> Head:
        """Return size and number of slices.

        Raises:
            FormatError: the arrays are not those of this set.
        """
        shapes = {name: shape for name, (shape, _) in shapes_of(root / entry.path).items()}
        image, mask = shapes.get("image", ()), shapes.get("mask", ())
        if len(image) != 4 or image[1] != 3 or mask != (image[0], *image[2:]):
            raise FormatError(
                f"{root / entry.path}: image {image} and mask {mask}; expected (slice, 3, y, x) "
                "and (slice, y, x). "
                "Pack it again."
            )
        return Head(Geometry.index((image[3], image[2], image[0])))

    def remarks(self, listing: Listing, entries: list[Entry]) -> Iterator[Issue]:
        """Yield the lack of the index: without it a repeated FLAIR passes for a contrast."""
        lacking = [
            patient for patient in self._patients(entries) if len(patient[1]) < len(CHANNELS)
        ]
        if lacking:
            said = "; ".join(
                f"{patient} has only {', '.join(names)}" for patient, names in lacking[:4]
            )
            yield Issue(
                "not_measured",
                "note",
                "index.csv",
                f"{len(lacking)} patients lack a contrast that was not measured",
                said,
                next="Its channel holds a copy of FLAIR and is left out.",
            )
        if not listing.named(r"(?:^|/)index\.csv$"):
            yield Issue(
                "missing", "warn", "index.csv", "Nothing says which contrasts were measured",
                next="Fetch it; where it says 0, the channel is a copy of FLAIR.",
            )  # fmt: skip

    def _patients(self, entries: list[Entry]) -> list[tuple[str, list[str]]]:
        """Return the patients and their measured contrasts."""
        found: dict[str, list[str]] = {}
        for entry in entries:
            if entry.kind == "image":
                found.setdefault(entry.patient, []).append(entry.name)
        return list(found.items())

    def row_patient(self, table: str, value: str) -> str:
        """Return `TCGA_CS_4941` for `TCGA_CS_4941_19960909`."""
        return re.sub(r"_\d{8}$", "", value)

    def load(self, root: Path, entry: Entry) -> Image:
        """Return one contrast or the lesion, `(1, x, y, slice)`, on a grid of unknown spacing."""
        self.head(root, entry)
        image, mask = _arrays(root / entry.path, (root / entry.path).stat().st_mtime_ns)
        label = entry.name == "lesion"
        stored = (
            mask.astype(np.uint8)
            if label
            else image[:, CHANNELS.index(entry.contrast)].astype(np.float32)
        )
        data = stored.transpose(2, 1, 0)[None]
        header = {
            "contrast_source": "layout",
            "affine_source": "none; spacing not stated",
            "file": str(root / entry.path),
        }
        units = "label" if label else "a.u."
        return Image(
            data,
            Geometry.index((data.shape[1], data.shape[2], data.shape[3])),
            units,
            (entry.contrast,),
            header,
        )


@lru_cache(maxsize=1)
def _arrays(path: Path, _changed: int) -> tuple[Array, Array]:
    """Return the two arrays of the file read last, so that its contrasts are unpacked once."""
    return array_of(path, "image"), array_of(path, "mask")


def _index(listing: Listing) -> dict[str, dict[str, str]]:
    for file in listing.named(r"(?:^|/)index\.csv$"):
        rows = rows_of((listing.root / file).read_bytes(), file)
        return {row.get("case", ""): row for row in rows}
    return {}
