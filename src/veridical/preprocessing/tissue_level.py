"""Scales of images without absolute units: the intensity of a body's inner tissue, and that of what is bright.

The foreground's percentiles differ twofold between a whole head and the same head without its skull, since bright scalp fat
belongs to one of them only. What lies deep inside is tissue of the organ in both.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from veridical.errors import InputError
from veridical.types import Array

FOREGROUND = 0.1
"""Share of the 99th percentile above which a voxel shows something."""
DEPTH = 0.7
"""Share of the greatest depth below the surface from which voxels count as inner tissue: of a head 55 mm, of a brain
without its skull 45 mm, so that both are white matter, deep grey matter and ventricles. At 0.4 the two differ by 12 %, at
0.7 by 3 %, over ten healthy heads."""
COARSE = 48
"""Voxels along the longest axis at which depths are measured; finer ones change the level by less than 1 %."""
LEAST = 8
"""Slices from which a stack has a depth along its own axis; below, depths are measured in each slice."""


def tissue_level(image: Array, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> float:
    """Return the median intensity of the inner tissue of a magnitude image.

    Args:
        image: `(z, y, x)` or `(y, x)`, real; air about 0.
        spacing: of `(z, y, x)`, mm.

    Raises:
        InputError: the image shows nothing above zero.
    """
    volume = np.asarray(image if image.ndim == 3 else image[None], np.float32)
    every = [max(1, round(n / COARSE)) for n in volume.shape]
    flat = volume.shape[0] < LEAST
    every[0] = 1 if flat else every[0]
    small = volume[tuple(slice(step // 2, None, step) for step in every)]
    top = float(np.percentile(small, 99)) or float(small.max())
    if not top > 0:
        raise InputError("The image shows nothing above zero, so it has no scale. Leave it out, or crop it to what it shows.")
    shown = ndimage.binary_fill_holes(small > FOREGROUND * top)
    size = [s * step for s, step in zip(spacing, every, strict=True)]
    depth = _slicewise(shown, size) if flat else ndimage.distance_transform_edt(_padded(shown), size)[1:-1, 1:-1, 1:-1]
    inner = small[(depth >= DEPTH * depth.max()) & (small > FOREGROUND * top)]
    return float(np.median(inner if len(inner) else small[small > FOREGROUND * top]))


def bright_level(image: Array) -> float:
    """Return the 99th percentile of what lies above a tenth of the image's own 99th percentile: a scale for signals that are
    sparse, such as uptake, absorbers and echoes, whose inner tissue may be dark.

    Raises:
        InputError: the image shows nothing above zero.
    """
    flat = np.asarray(image, np.float32).reshape(-1)
    flat = flat[:: max(1, len(flat) // 10**6)]
    top = float(np.percentile(flat, 99)) or float(np.max(image))
    if not top > 0:
        raise InputError("The image shows nothing above zero, so it has no scale. Leave it out, or crop it to what it shows.")
    bright = flat[flat > FOREGROUND * top]
    return float(np.percentile(bright, 99)) if len(bright) else top


def _slicewise(shown: Array, size: list[float]) -> Array:
    return np.stack([ndimage.distance_transform_edt(np.pad(one, 1), size[1:])[1:-1, 1:-1] for one in shown])


def _padded(shown: Array) -> Array:
    """Return the foreground with air beside it in plane; along z the body goes on where the image ends."""
    return np.pad(np.pad(shown, ((0, 0), (1, 1), (1, 1))), ((1, 1), (0, 0), (0, 0)), mode="edge")
