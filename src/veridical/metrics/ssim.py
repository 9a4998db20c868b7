"""Structural similarity of Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 2004
(10.1109/TIP.2003.819861).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from veridical.errors import InputError
from veridical.metrics.about import Facts, checked_range, region
from veridical.metrics.windows import (
    RADIUS,
    Window,
    kernel,
    similarity,
    similarity_map,
    stacked,
    valid,
)
from veridical.types import Array

ABOUT = Facts(
    "SSIM",
    "1",
    "higher",
    "pixel",
    worst=0.0,
    cites="Wang Z, Bovik AC, Sheikh HR, Simoncelli EP. Image quality assessment: from error "
    "visibility to structural "
    "similarity. IEEE Trans Image Process 2004;13:600-612",
)


def ssim(
    candidate: Array,
    reference: Array,
    *,
    data_range: float,
    mask: Array | None = None,
    window: Window = "uniform",
    dimensions: Literal[2, 3] = 2,
) -> float:
    """Return the mean of `ssim_map` over the voxels that count and whose window lies inside the
    image.

    Args: candidate, reference: real, of one unit and shape: `(x, y)`, `(x, y, z)` or `(channel, x,
        y, z)`. data_range: peak to peak of the signal, in that unit. mask: bool, of that shape or
        without the channel axis; None counts all voxels. window: `uniform`, 7 wide with sample
        covariance (scikit-image's default), or `gaussian`, sigma 1.5 voxels, 11 wide, with
        population covariance (the paper's). dimensions: 2: windows lie in the x-y plane, slice by
        slice, as fastMRI does; 3: windows are cubes.

    Raises: GeometryError: shapes differ, or the image is smaller than the window. InputError: NaN,
        infinity or complex values where a voxel counts or a window reaches, or a mask without a
        voxel whose window lies inside the image. UnitsError: the data range is not above 0.
        SettingError: an unknown window, or other dimensions than the image has.
    """
    counted, peak = region(mask, candidate, reference), checked_range(data_range)
    windows = kernel(window, dimensions, candidate.ndim)
    inside = tuple(
        slice(r, r + n)
        for r, n in zip(windows.radii, valid(stacked(counted).shape[1:], windows), strict=True)
    )
    total, voxels = 0.0, 0
    for x, y, kept in zip(stacked(candidate), stacked(reference), stacked(counted), strict=True):
        if n := int(np.count_nonzero(kept[inside])):
            total += similarity(x, y, kept[inside], windows, peak)[0]
            voxels += n
    if not voxels:
        raise InputError(
            f"No voxel of the mask is {RADIUS[window]} voxels away from the border of the image, "
            "as the window needs. "
            "Give a larger mask or image."
        )
    if not np.isfinite(total):
        region(None, candidate, reference)
    return total / voxels


def ssim_map(
    candidate: Array,
    reference: Array,
    *,
    data_range: float,
    window: Window = "uniform",
    dimensions: Literal[2, 3] = 2,
) -> Array:
    """Return the similarity of every voxel's surroundings, float64 of the images' shape, in [-1,
    1].

    Arguments and errors as in `ssim`. The image is mirrored at its borders.
    """
    region(None, candidate, reference)
    peak, windows = checked_range(data_range), kernel(window, dimensions, candidate.ndim)
    valid(stacked(candidate).shape[1:], windows)
    border = [(r, r) for r in windows.radii]
    channels = [
        similarity_map(
            np.pad(x, border, "symmetric"), np.pad(y, border, "symmetric"), windows, peak
        )
        for x, y in zip(stacked(candidate), stacked(reference), strict=True)
    ]
    return np.stack(channels).reshape(candidate.shape)
