"""Label phantoms of KomaMRI: `brain2D.mat`, `pelvis2D.mat` (MATLAB 5), and a simulated scan as ISMRMRD.

The maps hold grey values that stand for tissues (Castillo-Passi et al. 2023, 10.1002/mrm.29635); no spacing is stated.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from veridical.errors import FormatError
from veridical.io.guards import existing, within
from veridical.layouts.base import Entry, Layout
from veridical.layouts.heads import Head, head_of
from veridical.layouts.ismrmrd import Ismrmrd
from veridical.layouts.tree import Listing, stem_of, suffix_of
from veridical.types import Geometry, Image, Measurement

PATTERN = re.compile(r"(?:^|/)(?:brain|pelvis)[23]D\.mat$")
TISSUES = {"brain": (0, 23, 46, 70, 93, 116, 139, 162, 185, 209, 232, 255), "pelvis": (0, 51, 102, 153, 204, 255)}
"""Region -> the grey values in use."""
LARGEST = 2**28
DAMAGE = (ValueError, OSError, EOFError, TypeError, KeyError, NotImplementedError, IndexError, MemoryError)


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
                for name in _maps(listing.root / file):
                    found.append(
                        Entry(stem_of(file), f"tissue_{name}", file, (file,), kind="label", options={"variable": name})
                    )
        raw = [file for file in listing.data if suffix_of(file) == ".mrd"] if found else []
        return found + [Entry(stem_of(file), "kspace", file, (file,), kind="raw") for file in raw]

    def head(self, root: Path, entry: Entry) -> Head:
        """Return the size of a map."""
        if entry.kind == "raw":
            return Ismrmrd().head(root, entry)
        shape = _maps(root / entry.path)[entry.options["variable"]]
        return Head(Geometry.index((shape[1], shape[0], 1))) if len(shape) == 2 else head_of(root / entry.path)

    def load(self, root: Path, entry: Entry) -> Image | Measurement:
        """Return a map `(1, x, y, 1)`, or the raw data.

        Raises:
            FormatError: damaged, or not two-dimensional.
            BudgetError: it is larger than any phantom.
        """
        if entry.kind == "raw":
            return super().load(root, entry)
        from scipy.io import loadmat

        path, name = existing(root / entry.path), entry.options["variable"]
        shape = _maps(path)[name]
        within(8 * int(np.prod(shape, dtype=object)), LARGEST, path)
        try:
            values = np.asarray(loadmat(path, variable_names=[name])[name])
        except DAMAGE as error:
            raise FormatError(f"{path} is damaged ({error}). Download it again.") from error
        if values.ndim != 2 or values.dtype.kind not in "iuf":
            raise FormatError(
                f"{path}: {name!r} is {values.shape} of {values.dtype}; expected a two-dimensional map of numbers."
            )
        data = values.T[None, :, :, None]
        return Image(data, Geometry.index((data.shape[1], data.shape[2], 1)), "label", (entry.name,))


def _maps(path: Path) -> dict[str, tuple[int, ...]]:
    """Return variable -> shape, of a file that can be read; nothing of another."""
    from scipy.io import whosmat

    try:
        return {
            name: tuple(int(n) for n in shape)
            for name, shape, kind in whosmat(path)
            if kind.startswith(("int", "uint", "double"))
        }
    except DAMAGE:
        return {}
