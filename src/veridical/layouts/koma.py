"""Label phantoms of KomaMRI: `brain2D.mat`, `pelvis2D.mat` (MATLAB 5), and a simulated scan as
ISMRMRD.

The maps hold grey values that stand for tissues (Castillo-Passi et al. 2023, 10.1002/mrm.29635); no
spacing is stated.
"""

from __future__ import annotations

import re
from pathlib import Path

from veridical.errors import FormatError, InputError
from veridical.io.matfile import arrays_in
from veridical.layouts.base import Entry, Layout
from veridical.layouts.heads import Head
from veridical.layouts.ismrmrd import Ismrmrd
from veridical.layouts.tree import Listing, stem_of, suffix_of
from veridical.types import Array, Geometry, Image, Measurement

PATTERN = re.compile(r"(?:^|/)(?:brain|pelvis)[23]D\.mat$")
TISSUES = {
    "brain": (0, 23, 46, 70, 93, 116, 139, 162, 185, 209, 232, 255),
    "pelvis": (0, 51, 102, 153, 204, 255),
}
"""Region -> the grey values in use."""


class Koma(Layout):
    """Tissue maps, one a plane, and the scans that lie beside them."""

    title = "KomaMRI phantoms"
    alike = False
    labels = {  # noqa: RUF012
        **{f"tissue_{plane}": TISSUES["brain"] for plane in ("axial", "coronal", "sagittal")},
        "tissue_pelvis3D_slice": TISSUES["pelvis"],
    }

    def entries(self, listing: Listing) -> list[Entry]:
        """Return every map of every phantom, and raw data where phantoms are."""
        found = []
        for file in listing.data:
            if PATTERN.search(file):
                for name in self._names(listing.root / file):
                    found.append(
                        Entry(
                            stem_of(file),
                            f"tissue_{name}",
                            file,
                            (file,),
                            kind="label",
                            options={"variable": name},
                        )
                    )
        raw = [file for file in listing.data if suffix_of(file) == ".mrd"] if found else []
        return found + [Entry(stem_of(file), "kspace", file, (file,), kind="raw") for file in raw]

    def head(self, root: Path, entry: Entry) -> Head:
        """Return the size of a map."""
        if entry.kind == "raw":
            return Ismrmrd().head(root, entry)
        values = self._map(root, entry)
        return Head(Geometry.index((values.shape[1], values.shape[0], 1)))

    def load(self, root: Path, entry: Entry) -> Image | Measurement:
        """Return a map `(1, x, y, 1)`, or the raw data.

        Raises:
            FormatError: damaged, or not a two-dimensional map.
        """
        if entry.kind == "raw":
            return super().load(root, entry)
        data = self._map(root, entry).T[None, :, :, None]
        return Image(
            data, Geometry.index((data.shape[1], data.shape[2], 1)), "label", (entry.name,)
        )

    def _map(self, root: Path, entry: Entry) -> Array:
        """Return one map, `(row, column)`."""
        values = arrays_in(root / entry.path).get(entry.options["variable"])
        if values is None or values.ndim != 2 or 0 in values.shape:
            raise FormatError(
                f"{root / entry.path} holds no two-dimensional map. Download it again."
            )
        return values

    def _names(self, path: Path) -> list[str]:
        """Return the names of the maps; of a damaged file one, so that it is not passed over."""
        try:
            return list(arrays_in(path)) or ["map"]
        except InputError:
            return ["map"]
