"""Dice's coefficient: the overlap of two structures (Dice, Ecology 1945, 10.2307/1932409)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.metrics.about import Facts
from veridical.metrics.surfaces import check_structures
from veridical.types import Array

ABOUT = Facts(
    "Dice",
    "1",
    "higher",
    "task",
    worst=0.0,
    cites=(
        "Dice LR. Measures of the amount of ecologic association between species. Ecology "
        "1945;26:297-302."
    ),
)


def dice(candidate_structure: Array, reference_structure: Array, spacing: Sequence[float]) -> float:
    """Return `2 |A and B| / (|A| + |B|)`.

    Args:
        candidate_structure, reference_structure: bool `(x, y, z)`.
        spacing: voxel size in mm; it cancels out.

    Returns:
        In [0, 1]. Both empty: 1. One empty: 0.

    Raises:
        GeometryError: shapes differ.
        InputError: a structure that is not bool.
        UnitsError: spacing is not three numbers above 0.
    """
    check_structures(candidate_structure, reference_structure, spacing)
    total = np.count_nonzero(candidate_structure) + np.count_nonzero(reference_structure)
    return (
        2.0 * np.count_nonzero(candidate_structure & reference_structure) / total if total else 1.0
    )
