"""Surface Dice at a tolerance, also called normalized surface distance (Nikolov et al. 2018,
10.48550/arXiv.1809.04430).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.errors import SettingError
from veridical.metrics.about import Facts
from veridical.metrics.surfaces import check_structures, surface_distances
from veridical.types import Array

ABOUT = Facts(
    "surface Dice",
    "1",
    "higher",
    "task",
    worst=0.0,
    cites="Nikolov S, Blackwell S, Zverovitch A, et al. Clinically applicable segmentation of head "
    "and neck anatomy for "
    "radiotherapy. J Med Internet Res 2021;23:e26151.",
)


def surface_dice(
    candidate_structure: Array,
    reference_structure: Array,
    spacing: Sequence[float],
    *,
    tolerance: float = 2.0,
) -> float:
    """Return the share of both surfaces that lies within `tolerance` of the other surface.

    Surfaces are voxels, each counted once, as in MONAI and Metrics Reloaded (DeepMind's weighs them
    by area).

    Args:
        candidate_structure, reference_structure: bool `(x, y, z)`.
        spacing: voxel size in mm.
        tolerance: in mm; what two experts would differ by.

    Returns:
        In [0, 1]. Both empty: 1. One empty: 0.

    Raises:
        GeometryError: shapes differ.
        InputError: a structure that is not bool.
        UnitsError: spacing is not three numbers above 0.
        SettingError: a tolerance below 0.
    """
    check_structures(candidate_structure, reference_structure, spacing)
    if not tolerance >= 0:
        raise SettingError(
            f"A tolerance of {tolerance} was given; expected millimetres, 0 or more."
        )
    if not (candidate_structure.any() and reference_structure.any()):
        return float(candidate_structure.any() == reference_structure.any())
    return float(
        np.mean(
            np.concatenate(surface_distances(candidate_structure, reference_structure, spacing))
            <= tolerance
        )
    )
