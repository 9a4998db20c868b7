"""Haar wavelet scattering to second order in three dimensions (Bruna and Mallat, IEEE TPAMI 2013,
10.1109/TPAMI.2012.230).

No weights and no seed: how much contrast there is at each scale in each direction, and how it is
spread over larger scales.
"""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from veridical.errors import InputError
from veridical.features.about import Extractor
from veridical.features.region import windowed
from veridical.types import Array

SCALES = 4
"""Wavelets are 2, 4, 8 and 16 voxels wide."""
AXES = ("x", "y", "z")
BANDS = tuple("".join(axes) for axes in product(*(("", axis) for axis in AXES)) if any(axes))
"""Axes along which a wavelet takes differences; along the others it takes means. Second-order
wavelets have one.
"""
FLOOR = 1e-3
"""Added to every contrast, in shares of the window: less than a step of an 8-bit display, and a
flat image has a logarithm.
"""
NAMES = (
    "mean",
    *(f"scale{j}_{band}" for j in range(SCALES) for band in BANDS),
    *(
        f"scale{j}_{band}_scale{k}_{axis}"
        for j in range(SCALES)
        for band in BANDS
        for k in range(j + 1, SCALES)
        for axis in AXES
    ),
)
ABOUT = Extractor(
    "Haar wavelet scattering",
    len(NAMES),
    "Bruna J, Mallat S. Invariant scattering convolution networks. IEEE Trans Pattern Anal Mach "
    "Intell 2013;35:1872-1886",
)


def wavelet_pyramid(
    image: Array,
    *,
    mask: Array | None,
    spacing: tuple[float, float, float],
    window: tuple[float, float],
) -> Array:
    """Return one row: the mean intensity, and logarithms of contrasts of first and second order.

    A contrast is the mean of `|difference| / 2` between the halves of a Haar wavelet over the
    voxels that count. Those of the second order are wavelet contrasts of the map of a first-order
    contrast, in shares of it. Values outside of the mask enter nowhere: wavelets lie inside, and
    means over 2 x 2 x 2 voxels are over those that count.

    Args: image: real, `(x, y, z)`. An axis along which a scale has one voxel counts as constant
        there, so z may be 1. mask: bool, `(x, y, z)`, the voxels that count; None for all. spacing:
        not used: scales are voxels, so images of one comparison need one spacing. window: lowest
        and highest intensity, one for all images of a comparison.

    Returns:
        `(1, 155)` float64, in the order of `NAMES`; no number has a unit.

    Raises: GeometryError: not three axes, or a mask of another shape. InputError: complex values,
        NaN or infinity where it counts, or a mask with no room for a wavelet at some scale.
        UnitsError: the window is not low < high.
    """
    data, counted = windowed(image, mask, window)
    with torch.inference_mode():
        row = _scattered(torch.from_numpy(data), torch.from_numpy(counted.astype(np.float32)))
    return row[None].numpy().astype(np.float64)


def _scattered(image: Tensor, weight: Tensor) -> Tensor:
    mean = _mean(image, weight)
    first: list[Tensor] = []
    second: list[Tensor] = []
    for scale in range(SCALES):
        weights = [_inside(weight)]
        while scale + len(weights) < SCALES:
            weights.append(_halved(weights[-1]))
        parts = _haar(image)
        for band in BANDS:
            contrast = parts[band].abs()
            average = _mean(contrast, weights[0]) + FLOOR
            first.append(average.log())
            for fine, coarse in pairwise(weights):
                contrast = _pooled(contrast, fine, coarse)
                within, spread = _inside(coarse), _haar(contrast)
                second += [
                    ((_mean(spread[axis].abs(), within) + FLOOR) / average).log() for axis in AXES
                ]
        coarse = _halved(weight)
        image, weight = _pooled(image, weight, coarse), coarse
    return torch.stack([mean, *first, *second])


def _haar(image: Tensor) -> dict[str, Tensor]:
    """Return, by the axes of differences, half differences and means of all neighbours: 8 parts,
    one voxel less an axis.
    """
    parts = {"": image}
    for dim, axis in enumerate(AXES):
        grown = {}
        for name, part in parts.items():
            size = part.shape[dim] - 1
            low, high = (part.narrow(dim, i, size) for i in (0, 1)) if size else (part, part)
            grown[name], grown[name + axis] = (low + high) / 2, (high - low) / 2
        parts = grown
    return parts


def _inside(weight: Tensor) -> Tensor:
    """Return the smallest weight of the voxels below each wavelet."""
    for dim in range(3):
        if size := weight.shape[dim] - 1:
            weight = torch.minimum(weight.narrow(dim, 0, size), weight.narrow(dim, 1, size))
    return weight


def _halved(image: Tensor) -> Tensor:
    """Return means over 2 x 2 x 2 voxels; odd sizes end in zeros."""
    x, y, z = image.shape
    return functional.avg_pool3d(functional.pad(image[None], (0, z % 2, 0, y % 2, 0, x % 2)), 2)[0]


def _pooled(image: Tensor, weight: Tensor, halved: Tensor) -> Tensor:
    """Return means over 2 x 2 x 2 voxels by their weights, whose own means are `halved`; 0 where
    none has any.
    """
    return torch.where(halved > 0, _halved(image * weight) / halved, 0.0)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    total = weight.sum()
    if not total > 0:
        raise InputError(
            f"The mask has no room for a wavelet of {2**SCALES} voxels or of a smaller scale. Give "
            "a mask that is less thin or "
            "less scattered, or the whole image."
        )
    return (values * weight).sum() / total
