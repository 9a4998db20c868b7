"""Structural similarity of Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 2004 (10.1109/TIP.2003.819861)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from scipy import ndimage

from veridical.errors import GeometryError, InputError, SettingError
from veridical.metrics.about import Facts, checked_range, region
from veridical.types import Array

ABOUT = Facts("SSIM", "1", "higher", "pixel")

Window = Literal["uniform", "gaussian"]
RADIUS = {"uniform": 3, "gaussian": 5}
SIGMA = 1.5
K1, K2 = 0.01, 0.03


def ssim(
    candidate: Array,
    reference: Array,
    *,
    data_range: float,
    mask: Array | None = None,
    window: Window = "uniform",
    dimensions: Literal[2, 3] = 2,
) -> float:
    """Return the mean of `ssim_map` over the voxels that count and whose window lies inside the image.

    Args:
        candidate, reference: real, of one unit and shape: `(x, y)`, `(x, y, z)` or `(channel, x, y, z)`.
        data_range: peak to peak of the signal, in that unit.
        mask: bool, of that shape or without the channel axis; None counts all voxels.
        window: `uniform`, 7 wide with sample covariance (scikit-image's default), or `gaussian`, sigma 1.5 voxels, 11 wide,
            with population covariance (the paper's).
        dimensions: 2: windows lie in the x-y plane, slice by slice, as fastMRI does; 3: windows are cubes.

    Raises:
        GeometryError: shapes differ, or the image is smaller than the window.
        InputError: NaN, infinity or complex values, or a mask without a voxel whose window lies inside the image.
        UnitsError: the data range is not above 0.
        SettingError: an unknown window, or other dimensions than the image has.
    """
    counted = region(mask, candidate, reference)
    found = ssim_map(candidate, reference, data_range=data_range, window=window, dimensions=dimensions)
    inside = np.zeros(found.shape, dtype=bool)
    inside[tuple(slice(r, n - r) for r, n in zip(_radii(found, window, dimensions), found.shape, strict=True))] = True
    kept = counted & inside
    if not kept.any():
        raise InputError(
            f"No voxel of the mask is {RADIUS[window]} voxels away from the border of the image, as the window needs. "
            "Give a larger mask or image."
        )
    return float(found[kept].mean())


def ssim_map(
    candidate: Array, reference: Array, *, data_range: float, window: Window = "uniform", dimensions: Literal[2, 3] = 2
) -> Array:
    """Return the similarity of every voxel's surroundings, float64 of the images' shape, in [-1, 1].

    Arguments and errors as in `ssim`. The image is mirrored at its borders.
    """
    region(None, candidate, reference)
    peak = checked_range(data_range)
    x, y = candidate.astype(np.float64), reference.astype(np.float64)
    radii = _radii(x, window, dimensions)
    smooth: Callable[[Array], Array]
    if window == "uniform":
        smooth = partial(ndimage.uniform_filter, size=[2 * r + 1 for r in radii])
        voxels = (2 * RADIUS[window] + 1) ** dimensions
        unbiased = voxels / (voxels - 1)
    else:
        smooth = partial(ndimage.gaussian_filter, sigma=[SIGMA if r else 0.0 for r in radii], radius=radii)
        unbiased = 1.0
    mean_x, mean_y = smooth(x), smooth(y)
    variances = unbiased * (smooth(x * x) + smooth(y * y) - mean_x**2 - mean_y**2)
    covariance = unbiased * (smooth(x * y) - mean_x * mean_y)
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    return np.asarray(above / below)


def _radii(image: Array, window: Window, dimensions: int) -> list[int]:
    """Return how far the window reaches along each axis."""
    if window not in RADIUS:
        raise SettingError(f"No SSIM window is called {window!r}. Known: {', '.join(RADIUS)}.")
    spatial = min(image.ndim, 3)
    if image.ndim not in (2, 3, 4) or dimensions not in (2, 3) or dimensions > spatial:
        raise SettingError(
            f"Windows of {dimensions} dimensions were asked for on an array with {image.ndim} axes; expected 2 or 3 of the "
            "spatial axes of (x, y), (x, y, z) or (channel, x, y, z)."
        )
    radius = RADIUS[window]
    radii = [0] * (image.ndim - spatial) + [radius] * dimensions + [0] * (spatial - dimensions)
    if any(r and n < 2 * r + 1 for r, n in zip(radii, image.shape, strict=True)):
        raise GeometryError(
            f"An image of shape {image.shape} was given; the {window} window is {2 * radius + 1} wide along each of "
            f"{dimensions} axes. Give a larger image, or dimensions=2."
        )
    return radii
