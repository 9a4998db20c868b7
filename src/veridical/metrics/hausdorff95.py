"""Hausdorff distance at the 95th percentile, mm (Huttenlocher et al. 1993, 10.1109/34.232073;
Maier-Hein et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.metrics.about import Facts
from veridical.metrics.surfaces import check_structures, diagonal, surface_distances
from veridical.types import Array

ABOUT = Facts(
    "HD95",
    "mm",
    "lower",
    "task",
    cites="Maier-Hein L, Reinke A, Godau P, et al. Metrics reloaded: recommendations for image "
    "analysis validation. "
    "Nat Methods 2024;21:195-212.",
)


def hausdorff95(
    candidate_structure: Array, reference_structure: Array, spacing: Sequence[float]
) -> float:
    """Return the larger of the 95th percentiles of the surface distances in the two directions, as
    MONAI does.

    Args:
        candidate_structure, reference_structure: bool `(x, y, z)`.
        spacing: voxel size in mm.

    Returns:
        mm. Both empty: 0. One empty: the diagonal of the image, the worst there is; never NaN.

    Raises:
        GeometryError: shapes differ.
        InputError: a structure that is not bool.
        UnitsError: spacing is not three numbers above 0.
    """
    check_structures(candidate_structure, reference_structure, spacing)
    if not (candidate_structure.any() and reference_structure.any()):
        same = candidate_structure.any() == reference_structure.any()
        return 0.0 if same else diagonal(candidate_structure.shape, spacing)
    return max(
        float(np.percentile(d, 95))
        for d in surface_distances(candidate_structure, reference_structure, spacing)
    )
