"""What extractors that look at voxels share: the part of an image that counts, cut to the window
and scaled to [0, 1].
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from veridical.errors import GeometryError, InputError, UnitsError
from veridical.types import Array


def checked(image: Array, mask: Array | None, window: tuple[float, float]) -> Array:
    """Return the voxels that count, bool `(x, y, z)`, once image, mask and window are such as an
    extractor takes.

    Raises: GeometryError: not three axes, or a mask of another shape. InputError: complex values,
        NaN or infinity where it counts, an empty mask, or one that is not bool. UnitsError: the
        window is not low < high.
    """
    if image.ndim != 3 or (mask is not None and mask.shape != image.shape):
        raise GeometryError(
            f"An image of shape {image.shape} with a mask of shape "
            f"{None if mask is None else mask.shape} was given; expected "
            "(x, y, z) for both. Take one channel: image[0]."
        )
    if mask is not None and mask.dtype != np.bool_:
        raise InputError(
            f"A mask of type {mask.dtype} was given; expected bool. Pick one label: labels == 2."
        )
    values = image.ravel() if mask is None else image[mask]
    if not values.size:
        raise InputError(
            "No voxel counts: the mask (or the image) is empty. Give a mask with at least one "
            "voxel."
        )
    if np.iscomplexobj(image) or not np.isfinite(values).all():
        raise InputError(
            f"A {image.dtype} image was given, in which voxels that count may be NaN or infinite; "
            "expected real and finite "
            "values there. Take the magnitude, mend NaN, or give another mask."
        )
    if not (np.isfinite(window).all() and window[0] < window[1]):
        raise UnitsError(
            f"A window of {tuple(window)} was given; expected (low, high) in the image's unit, one "
            "for all images compared: "
            "percentiles 0.5 and 99.5 of the reference images."
        )
    return np.ones(image.shape, dtype=bool) if mask is None else mask


def windowed(image: Array, mask: Array | None, window: tuple[float, float]) -> tuple[Array, Array]:
    """Return the box around the voxels that count, scaled, and which of its voxels count.

    Args: image: real, `(x, y, z)`. mask: bool, of that shape; None counts all. window: intensities
        that become 0 and 1; what lies outside of it becomes 0 or 1, and voxels that do not count 0.

    Returns: float32 in [0, 1] and bool, both of the shape of the smallest box that holds the voxels
        that count.

    Raises:
        As `checked`.
    """
    counted = checked(image, mask, window)
    low, high = window
    box = ndimage.find_objects(counted.view(np.uint8))[0]
    image, counted = image[box], counted[box]
    scaled = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    return np.where(counted, scaled, 0).astype(np.float32), counted
