"""Scales of images without absolute units: the intensity of a body's inner tissue, that of what is
bright, and that of air.

The foreground's percentiles differ twofold between a whole head and the same head without its
skull, since bright scalp fat belongs to one of them only. What lies deep inside is tissue of the
organ in both.
"""

from __future__ import annotations

import numpy as np

from veridical.errors import InputError
from veridical.types import Array

FOREGROUND = 0.1
"""Share of the 99th percentile above which a voxel shows something."""
DEPTH = 0.5
"""Share of the greatest depth below the surface from which voxels count as inner tissue: of a head
40 mm, of a brain without its skull 30 mm. Deeper there is little but ventricles where they are
wide: over 24 painted heads without their skull the level of T2w, relative to the mean of grey and
white matter, spread by 60 % at 0.7, and by 12 % at 0.5 (T1w 17 and 7 %). Whole heads and brains
differ by 8 % in T1w.
"""
COARSE = 48
"""Voxels along the longest axis at which depths are measured; finer ones change the level by less
than 1 %.
"""
LEAST = 8
"""Slices from which a stack has a depth along its own axis; below, depths are measured in each
slice.
"""

SHIFTED, DARK, BINS = 0.03, 0.33, 50
"""An image is taken to be shifted if the most frequent value of the darkest third of its range,
told from a histogram, lies below zero by this share of the range; noise about zero keeps it at
zero.
"""
MASKED = 0.2
"""Share of voxels that are exactly zero from which a mask outside of the object is suspected."""


def tissue_level(image: Array, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> float:
    """Return the median intensity of the inner tissue of a magnitude image.

    Args:
        image: `(z, y, x)` or `(y, x)`, real; air about 0.
        spacing: of `(z, y, x)`, mm.

    Raises:
        InputError: the image shows nothing above zero.
    """
    from scipy import ndimage

    volume = np.asarray(image if image.ndim == 3 else image[None], np.float32)
    every = [max(1, round(n / COARSE)) for n in volume.shape]
    flat = volume.shape[0] < LEAST
    every[0] = 1 if flat else every[0]
    small = volume[tuple(slice(step // 2, None, step) for step in every)]
    top = float(np.percentile(small, 99)) or float(small.max())
    if not top > 0:
        raise InputError(
            "The image shows nothing above zero, so it has no scale. Leave it out, or crop it to "
            "what it shows."
        )
    shown = _filled(small > FOREGROUND * top, flat)
    size = [s * step for s, step in zip(spacing, every, strict=True)]
    depth = (
        _slicewise(shown, size)
        if flat
        else ndimage.distance_transform_edt(_padded(shown), size)[1:-1, 1:-1, 1:-1]
    )
    inner = small[(depth >= DEPTH * depth.max()) & (small > FOREGROUND * top)]
    return float(np.median(inner if len(inner) else small[small > FOREGROUND * top]))


def bright_level(image: Array) -> float:
    """Return the 99th percentile of what lies above a tenth of the image's own 99th percentile: a
    scale for signals that are sparse, such as uptake, absorbers and echoes, whose inner tissue may
    be dark.

    Raises:
        InputError: the image shows nothing above zero.
    """
    flat = np.asarray(image, np.float32).reshape(-1)
    flat = flat[:: max(1, len(flat) // 10**6)]
    top = float(np.percentile(flat, 99)) or float(np.max(image))
    if not top > 0:
        raise InputError(
            "The image shows nothing above zero, so it has no scale. Leave it out, or crop it to "
            "what it shows."
        )
    bright = flat[flat > FOREGROUND * top]
    return float(np.percentile(bright, 99)) if len(bright) else top


def air_level(image: Array) -> float:
    """Return what an image in arbitrary units shows where nothing is: 0, or its low end where it
    was shifted below zero.

    Standardized images (mean 0, deviation 1) have air below zero; networks and priors take air to
    be 0.

    Raises: InputError: it was standardized within a mask, so that what is outside lies in the
        middle of its range.
    """
    flat = np.asarray(image, np.float32).reshape(-1)
    flat = flat[:: max(1, len(flat) // 10**6)]
    low, high = (float(v) for v in np.percentile(flat, (0.1, 99.9)))
    if not low < -SHIFTED * (high - low):
        return 0.0
    counts, edges = np.histogram(flat[flat < low + DARK * (high - low)], BINS)
    most = float(edges[:2].mean() + np.argmax(counts) * np.diff(edges)[0])
    if not most < -SHIFTED * (high - low):
        return 0.0
    if np.mean(flat == 0) > MASKED:
        raise InputError(
            f"The image is exactly 0 in {np.mean(flat == 0):.0%} of its voxels and goes down to "
            f"{low:.3g}: it was standardized "
            "within a mask. Expected air as the darkest value. Give the image before that, or what "
            "is outside its lowest value."
        )
    return most


def _filled(shown: Array, flat: bool) -> Array:
    """Return the foreground with what it encloses in any slice; in three dimensions the neck opens
    dark skull and fluid to the outside.
    """
    from scipy import ndimage

    found = np.zeros_like(shown)
    cross = ndimage.generate_binary_structure(2, 1)[None]
    within = np.concatenate([0 * cross, cross, 0 * cross])  # slices touch nothing of each other
    for axis in (0,) if flat else (0, 1, 2):
        slices = np.pad(np.moveaxis(shown, axis, 0), ((0, 0), (1, 1), (1, 1)))
        dark, _ = ndimage.label(~slices, within)  # all slices at once
        enclosed = dark[:, 1:-1, 1:-1] != dark[:, :1, :1]
        found |= np.moveaxis(enclosed, 0, axis)
    return found


def _slicewise(shown: Array, size: list[float]) -> Array:
    from scipy import ndimage

    return np.stack(
        [ndimage.distance_transform_edt(np.pad(one, 1), size[1:])[1:-1, 1:-1] for one in shown]
    )


def _padded(shown: Array) -> Array:
    """Return the foreground with air beside it in plane; along z the body goes on where the image
    ends.
    """
    return np.pad(np.pad(shown, ((0, 0), (1, 1), (1, 1))), ((1, 1), (0, 0), (0, 0)), mode="edge")
