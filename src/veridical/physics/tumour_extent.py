"""What images show of a tumour: volumes above densities, and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veridical.compiled import njit

Floats = NDArray[np.float32]

NECROSIS = 0.80
ENHANCING, VISIBLE = (0.45, 0.60), (0.15, 0.35)
"""Densities from which on tissue is necrotic, and the ranges over patients of those from which on
it takes up contrast agent and is bright on FLAIR (GliODIL: Balcerak et al., Nat Commun 2025,
10.1038/s41467-025-60366-4).
"""


@dataclass(frozen=True)
class Extent:
    """A tumour as far as it is seen.

    Args:
        enhancing: volume that takes up contrast agent, necrosis included, ml.
        visible: volume of all that is seen on FLAIR, ml.
        centre: `(3,)` mm, of what is visible; NaN where nothing is.
    """

    enhancing: float
    visible: float
    centre: tuple[float, float, float]

    def __str__(self) -> str:
        return f"{self.enhancing:.1f} ml enhancing, {self.visible:.1f} ml visible"


def extent(
    seen: Floats, spacing: float, enhancing: float, visible: float, origin: Sequence[float] | Floats
) -> Extent:
    """Return the extent of a density.

    Args:
        seen: `(x, y, z)` density of cells; 0 in the outermost voxels.
        spacing: mm.
        enhancing, visible: densities from which on it is seen.
        origin: `(3,)` mm of the first voxel.
    """
    voxel = spacing**3 / 1000
    sums = _sums(np.ascontiguousarray(seen, np.float32), np.array([enhancing, visible]))
    centre = np.full(3, np.nan)
    if sums[1] > 0:
        centre = np.asarray(origin, float) + spacing * sums[2:] / sums[1]
    return Extent(
        float(sums[0]) * voxel,
        float(sums[1]) * voxel,
        (float(centre[0]), float(centre[1]), float(centre[2])),
    )


@njit(nogil=True, error_model="numpy")
def _sums(seen, levels):  # type: ignore[no-untyped-def]
    """Return the voxels above each level, and the sums of the places of those above the second. A
    voxel on a border counts by its share, from density and slope.
    """
    out = np.zeros(5)
    nx, ny, nz = seen.shape
    for i in range(1, nx - 1):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                here = seen[i, j, k]
                a = seen[i + 1, j, k] - seen[i - 1, j, k]
                b = seen[i, j + 1, k] - seen[i, j - 1, k]
                c = seen[i, j, k + 1] - seen[i, j, k - 1]
                slope = max(np.sqrt(a * a + b * b + c * c) / 2, 1e-3)
                for n in range(2):
                    share = min(max(0.5 + (here - levels[n]) / slope, 0.0), 1.0)
                    out[n] += share
                    if n == 1 and share > 0:
                        out[2] += share * i
                        out[3] += share * j
                        out[4] += share * k
    return out
