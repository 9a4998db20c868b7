"""Multi-scale structural similarity of Wang, Simoncelli and Bovik, Asilomar 2003
(10.1109/ACSSC.2003.1292216).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from veridical.errors import GeometryError, InputError, SettingError
from veridical.metrics.about import Facts, checked_range, region
from veridical.metrics.windows import Kernel, kernel, similarity, stacked
from veridical.types import Array

ABOUT = Facts(
    "MS-SSIM",
    "1",
    "higher",
    "pixel",
    worst=0.0,
    cites="Wang Z, Simoncelli EP, Bovik AC. Multiscale structural similarity for image quality "
    "assessment. "
    "Asilomar Conf Signals Syst Comput 2003;2:1398-1402",
)

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents from the finest to the coarsest scale, as published."""


def ms_ssim(
    candidate: Array,
    reference: Array,
    *,
    data_range: float,
    mask: Array | None = None,
    dimensions: Literal[2, 3] = 2,
    scales: int = 5,
) -> float:
    """Return the product over scales of the mean contrast-structure similarity, at the coarsest
    times luminance.

    Each scale halves the one before by means of 2 x 2 pixels (2 x 2 x 2 voxels). Windows are those
    of `ssim` with `window="gaussian"` and count where they lie inside the image. Means are over all
    voxels that count, slices and channels together. For one slice, and in three dimensions, this is
    what MONAI's MultiScaleSSIMMetric computes (in float32). torchmetrics' keeps, at the coarsest
    scale, windows that reach over the border; and both take the mean over slices of products where
    slices are given as a batch.

    Args: candidate, reference: real, of one unit and shape: `(x, y)`, `(x, y, z)` or `(channel, x,
        y, z)`. data_range: peak to peak of the signal, in that unit. mask: bool, of that shape or
        without the channel axis; None counts all voxels. At a coarser scale a voxel counts when at
        least half of what it covers does. dimensions: 2: windows and halving in the x-y plane; 3:
        in the volume. scales: 1 to 5, how many; fewer than 5 take the first of the published
        exponents, made to sum to 1 again. Values with different numbers of scales cannot be
        compared.

    Returns:
        In [0, 1]; a negative mean at some scale counts as 0.

    Raises: GeometryError: shapes differ, or an axis has too few voxels for the scales: 11 times
        2^(scales - 1), 176 for 5. InputError: NaN, infinity or complex values where a voxel counts
        or a window reaches, or at some scale no voxel counts whose window lies inside the image.
        UnitsError: the data range is not above 0. SettingError: scales or dimensions out of their
        range.
    """
    counted, peak = region(mask, candidate, reference), checked_range(data_range)
    window = kernel("gaussian", dimensions, candidate.ndim)
    _check_scales(scales, stacked(counted).shape[1:], window)
    sums, voxels = np.zeros((scales, 2)), np.zeros(scales)
    for x, y, mine in zip(stacked(candidate), stacked(reference), stacked(counted), strict=True):
        share = mine
        for scale in range(scales):
            if scale:
                x, y, share = (_halved(array, window) for array in (x, y, share))
            kept = (
                share[
                    tuple(slice(r, n - r) for r, n in zip(window.radii, share.shape, strict=True))
                ]
                >= 0.5
            )
            if n := int(np.count_nonzero(kept)):
                sums[scale] += similarity(x, y, kept, window, peak)
                voxels[scale] += n
    if not voxels.all():
        raise InputError(
            f"At scale {int(np.argmin(voxels)) + 1} of {scales}, no voxel of the mask has its "
            "window inside the image. Give a "
            "larger mask or image, or fewer scales."
        )
    if not np.isfinite(sums).all():
        region(None, candidate, reference)
    weights = (
        np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
        if scales < len(WEIGHTS)
        else np.array(WEIGHTS)
    )
    means = np.append(sums[:-1, 1] / voxels[:-1], sums[-1, 0] / voxels[-1])
    return float(np.prod(np.maximum(means, 0) ** weights))


def _check_scales(scales: int, shape: tuple[int, ...], window: Kernel) -> None:
    """Refuse a number of scales out of range, and an image that is too small for it."""
    if scales not in range(1, len(WEIGHTS) + 1):
        raise SettingError(
            f"{scales} scales were asked for; expected 1 to {len(WEIGHTS)}, as many as have "
            "published weights."
        )
    narrow = min(
        n // taps.size for n, taps in zip(shape, window.taps, strict=True) if taps.size > 1
    )
    fitting = min(narrow.bit_length(), len(WEIGHTS))
    if fitting < scales:
        widest = max(taps.size for taps in window.taps)
        hint = f"Set scales={fitting} in all comparisons" if fitting else "Give a larger image"
        raise GeometryError(
            f"An image of shape {tuple(shape)} was given; {scales} scales need "
            f"{widest * 2 ** (scales - 1)} voxels along each "
            f"axis of the window. {hint}, or dimensions=2."
        )


def _halved(array: Array, window: Kernel) -> Array:
    """Return means of two along every axis of the window, float64; an odd last voxel is left
    out.
    """
    for axis, taps in enumerate(window.taps):
        if taps.size > 1:
            even = array.shape[axis] // 2 * 2
            first, second = (
                array[(slice(None),) * axis + (slice(start, even, 2),)] for start in (0, 1)
            )
            array = np.add(first, second, dtype=np.float64)
            array *= 0.5
    return array
