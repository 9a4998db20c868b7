"""A head on a coarse grid of fixed size about the middle of the brain, as networks for whole heads
take it: nothing is registered, the crown of the head says where the brain is.
"""

from __future__ import annotations

import numpy as np

from veridical.errors import GeometryError, InputError
from veridical.preprocessing.tissue_level import tissue_level
from veridical.types import Array, Image

SPACING = 4.0
"""mm of the grid."""
SHAPE = (48, 56, 48)
"""Voxels along x (to the right), y (to the front), z (up)."""
BRAIN, MIDDLE = 130.0, 72.0
"""mm below the crown that count as the brain's part of a head, and at which its middle lies."""
SHOWN = 0.15
"""Share of the 99th percentile above which a voxel is head."""
BRIGHTEST = 3.0
"""Inner tissue is 1; what is brighter than this is clipped."""
SMOOTH = 0.35
"""Standard deviation of the blur before resampling, in voxels of the coarse grid."""


def middle_of(image: Image) -> Array:
    """Return the middle of the brain, `(3,)` mm, RAS: across and along, that of the upper part of
    the head; below the crown by a fixed distance.

    Raises:
        GeometryError: the size of the voxels is not known.
        InputError: the image shows nothing.
    """
    if image.geometry.frame == "index":
        raise GeometryError(
            "The image does not say how large its voxels are, and a head must be put on a grid of "
            f"{SPACING:g} mm. Give its spacing: convert it to NIfTI."
        )
    steps = [max(1, round(SPACING / size)) for size in image.geometry.spacing]
    data = np.abs(image.data[0][tuple(slice(None, None, step) for step in steps)])
    index = np.argwhere(data > SHOWN * max(float(np.percentile(data, 99)), 1e-9)) * steps
    if len(index) < 8:
        raise InputError("The image shows no head: hardly a voxel is brighter than its background.")
    at = index @ image.geometry.affine[:3, :3].T + image.geometry.affine[:3, 3]
    crown = float(np.percentile(at[:, 2], 99.5))
    low, high = np.percentile(at[at[:, 2] > crown - BRAIN], [1, 99], axis=0)
    return np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, crown - MIDDLE])


def coarse_head(image: Image, middle: Array | None = None, margin: int = 0) -> Array:
    """Return the first channel of an image on the coarse grid, inner tissue 1, `SHAPE`.

    Args:
        image: of a head, of known spacing; air about 0.
        middle: of the brain, `(3,)` mm; found in the image when None.
        margin: voxels of the grid that are added on every side.

    Raises:
        GeometryError: the size of the voxels is not known.
        InputError: the image shows nothing.
    """
    from scipy import ndimage

    middle = middle_of(image) if middle is None else middle
    data = np.asarray(image.data[0], np.float32)
    finer = [SMOOTH * SPACING / size for size in image.geometry.spacing]
    data = ndimage.gaussian_filter(data, [one if one > SMOOTH else 0.0 for one in finer])
    shape = tuple(count + 2 * margin for count in SHAPE)
    grid = np.diag([SPACING] * 3)
    corner = middle - SPACING * (np.array(shape) - 1) / 2
    inverse = np.linalg.inv(image.geometry.affine)
    found = ndimage.affine_transform(
        data, inverse[:3, :3] @ grid, inverse[:3, :3] @ corner + inverse[:3, 3], shape, order=1
    )
    level = tissue_level(found.transpose(2, 1, 0), (SPACING,) * 3)
    return np.asarray(np.clip(found / level, 0, BRIGHTEST), np.float32)
