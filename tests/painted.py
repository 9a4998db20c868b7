"""Label maps of small heads, ellipsoids in ellipsoids, for tests of what is painted from them."""

from __future__ import annotations

import atexit
import tempfile
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np

from veridical.phantoms.label_maps import LabelMap, label_map
from veridical.types import Array

SIDE = 64
PARTS = (
    ((0, 0, 0), (30, 31, 30), 48),
    ((0, 0, 0), (25, 26, 25), 51),
    ((0, 0, 0), (22, 23, 22), 16),
    ((0, 0, 0), (20, 21, 20), 2),
    ((0, 0, 0), (17, 18, 17), 1),
    ((0, 2, 4), (4, 8, 4), 3),
    ((-8, 0, -4), (4, 5, 4), 7),
    ((8, 0, -4), (4, 5, 4), 27),
    ((0, -9, -8), (4, 4, 4), 10),
    ((0, 10, -8), (3, 3, 3), 17),
)
"""Centre and half axes in mm, and the rank inside: fat, compact bone, fluid, cortex, white matter,
a ventricle, both halves of the thalamus, a pallidum and a lesion.
"""


def ranks(number: int = 1) -> Array:
    """A head of 64 mm `(x, y, z)` in ranks; heads of other numbers are a little larger or
    smaller.
    """
    axes = np.stack(np.meshgrid(*[np.arange(SIDE) - (SIDE - 1) / 2] * 3, indexing="ij"))
    found = np.zeros((SIDE,) * 3, np.uint8)
    size = 1 + 0.01 * (number % 5 - 2)
    for centre, half, rank in PARTS:
        middle, radii = (np.reshape(v, (3, 1, 1, 1)) for v in (centre, half))
        found[(((axes - middle) / (size * radii)) ** 2).sum(0) < 1] = rank
    return found


def write(path: Path, values: Array, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> None:
    """Write a map as the public ones are stored."""
    nib.save(nib.Nifti1Image(values, np.diag([*spacing, 1.0])), path)


@cache
def maps(count: int = 2) -> tuple[LabelMap, ...]:
    """Maps of small heads, `head01`, `head02`, ..."""
    return tuple(label_map(ranks(n), f"head{n:02}") for n in range(1, count + 1))


@cache
def data_root(count: int = 3) -> Path:
    """A folder for `VERIDICAL_DATA` beside which label maps of heads lie, as on disk."""
    folder = tempfile.TemporaryDirectory(prefix="veridical-painted-")
    atexit.register(folder.cleanup)
    place = Path(folder.name) / "training_data" / "synthseg_labels"
    place.mkdir(parents=True)
    for number in range(1, count + 1):
        write(place / f"head{number:02}.nii.gz", ranks(number))
    return Path(folder.name) / "data"
