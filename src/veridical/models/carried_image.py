"""Images carried through time: several visits brought to the anatomy of the last one and averaged
as far as nothing changed, then moved by a deformation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.types import Array, Geometry, Image

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]

SLAB = 24
"""Planes that are moved at a time, which bounds memory."""
LOCAL = 1.5
"""Standard deviation in voxels of the Gaussian over which change between visits is averaged."""
SHADING = 0.03
"""Share of the intensity by which shading differs between visits (assumed)."""
SHORTEST = 0.1
"""Years that two visits count as apart at least, where change a year is told from them."""


@dataclass(frozen=True, eq=False)
class Carried:
    """A contrast on the day of the last visit, in its anatomy.

    Args:
        data: `(x, y, z)`, its estimate.
        variance: `(x, y, z)` of the estimate.
        noise: variance of a scan.
        wander: `(x, y, z)` variance that a year of change beyond the deformation adds.
        visits: how many went in.
    """

    data: Floats
    variance: Floats
    noise: float
    wander: Floats
    visits: int

    def spread(self, years: float, moved: Floats) -> Floats:
        """Return the standard deviation `(x, y, z)` of a scan made some years later about the
        estimate, noise and shading included.

        Args:
            years: later.
            moved: `(x, y, z)` variance that the uncertain deformation adds.
        """
        shade = np.square(np.float32(SHADING) * self.data)
        total = self.noise + self.variance + self.wander * np.float32(years) + shade + moved
        return np.asarray(np.sqrt(total), np.float32)


def sampled(
    image: Image,
    target: Geometry,
    matrix: Array | None = None,
    displacement: Floats | None = None,
    grid: Geometry | None = None,
) -> Floats:
    """Return an image `(x, y, z)` at `matrix (x + displacement(x))` for each voxel of a grid, by
    cubic splines.

    Args:
        image: its first channel.
        target: the grid.
        matrix: `(4, 4)`: mm of the grid to mm of the image; None: the same.
        displacement: `(x, y, z, 3)` mm, on `grid`; None: none.
        grid: of the displacement.
    """
    back = np.linalg.inv(image.geometry.affine) @ (np.eye(4) if matrix is None else matrix)
    data = np.asarray(image.data[0], np.float32)
    still = displacement is None or not displacement.any()
    same = target.shape == data.shape and np.allclose(back @ target.affine, np.eye(4), atol=1e-6)
    if still and same:
        return data.copy()
    thin = min(data.shape) < 4
    filtered = data if thin else ndimage.spline_filter(data, 3, output=np.float32, mode="nearest")
    out = np.empty(target.shape, np.float32)
    for start in range(0, target.shape[0], SLAB):
        rows = slice(start, min(start + SLAB, target.shape[0]))
        at = _places(target, rows)
        if displacement is not None and grid is not None:
            at = at + _at(displacement, grid, at)
        voxel = np.einsum("ij,j...->i...", back[:3, :3], at) + back[:3, 3].reshape(3, 1, 1, 1)
        ndimage.map_coordinates(
            filtered,
            voxel,
            output=out[rows],
            order=1 if thin else 3,
            mode="nearest",
            prefilter=False,
        )
    low, high = float(data.min()), float(data.max())
    return np.clip(out, low, high)


def fused(values: Sequence[Floats], years: Sequence[float]) -> Carried:
    """Return the estimate of a contrast at the last visit.

    A voxel that did not change is the mean over visits. Where it changed beyond noise, earlier
    visits count less: a random walk whose variance a year is that of the changes around it.

    Args:
        values: `(x, y, z)` of each visit in the anatomy of the last, the newest first.
        years: of each before the last visit, 0 or negative.
    """
    first = values[0]
    noise = noise_variance(first)
    if len(values) == 1:
        nothing = np.zeros_like(first)
        return Carried(first, np.full_like(first, noise), noise, nothing, 1)
    gaps = [max(years[0] - year, 0.0) for year in years]
    own = [noise_variance(one) for one in values]
    changed = [
        ndimage.gaussian_filter(np.square(one - first), LOCAL) - variance - noise
        for one, variance in zip(values[1:], own[1:], strict=True)
    ]
    wander = np.mean(
        [
            np.maximum(one, 0) / max(gap, SHORTEST)
            for one, gap in zip(changed, gaps[1:], strict=True)
        ],
        0,
    ).astype(np.float32)
    weights = [
        1 / (np.float32(variance) + wander * np.float32(gap))
        for variance, gap in zip(own, gaps, strict=True)
    ]
    total = np.sum(weights, 0)
    mean = np.sum([w * one for w, one in zip(weights, values, strict=True)], 0) / total
    return Carried(
        np.asarray(mean, np.float32), np.asarray(1 / total, np.float32), noise, wander, len(values)
    )


def noise_variance(image: Floats) -> float:
    """Return the variance of the noise of an image `(x, y, z)`: from the finest diagonal detail of
    its bright half, where anatomy has least (Donoho, IEEE Trans Inf Theory 1995,
    10.1109/18.382009).
    """
    even = image[tuple(slice(0, n - n % 2 if n > 1 else 1) for n in image.shape)]
    detail: Array = even
    level: Array = even
    for axis in (axis for axis in range(3) if image.shape[axis] > 1):
        a, b = (np.moveaxis(detail, axis, 0)[k::2] for k in (0, 1))
        c, d = (np.moveaxis(level, axis, 0)[k::2] for k in (0, 1))
        detail = np.moveaxis((a - b) / np.sqrt(2), 0, axis)
        level = np.moveaxis((c + d) / 2, 0, axis)
    bright = detail[level > np.percentile(level, 60)]
    spread = 1.4826 * float(np.median(np.abs(bright))) if bright.size else 0.0
    return max(spread**2, 1e-8 * float(np.square(image).max()) + 1e-12)


def _places(target: Geometry, rows: slice) -> Reals:
    """Return mm `(3, x, y, z)` of some planes of a grid."""
    axes = [np.arange(rows.start, rows.stop), *(np.arange(n) for n in target.shape[1:])]
    index = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float64)
    moved = np.einsum("ij,j...->i...", target.affine[:3, :3], index)
    return np.asarray(moved + target.affine[:3, 3].reshape(3, 1, 1, 1))


def _at(displacement: Floats, grid: Geometry, at: Reals) -> Reals:
    """Return a displacement `(3, x, y, z)` mm at places in mm, linearly; 0 beyond its grid."""
    inverse = np.linalg.inv(grid.affine)
    voxel = np.einsum("ij,j...->i...", inverse[:3, :3], at) + inverse[:3, 3].reshape(3, 1, 1, 1)
    parts = [
        ndimage.map_coordinates(displacement[..., d], voxel, order=1, mode="constant")
        for d in range(3)
    ]
    return np.asarray(parts)
