"""Difference of the volumes of two structures, ml."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.metrics.about import Facts
from veridical.metrics.surfaces import check_structures
from veridical.types import Array

ABOUT = Facts(
    "volume difference",
    "ml",
    "lower",
    "task",
    target="0: neither too large nor too small",
    ideal=0.0,
    cites="Bland JM, Altman DG. Statistical methods for assessing agreement between two methods of "
    "clinical measurement. "
    "Lancet 1986;327:307-310.",
)


def volume_difference(
    candidate_structure: Array, reference_structure: Array, spacing: Sequence[float]
) -> float:
    """Return the candidate's volume minus the reference's.

    Args:
        candidate_structure, reference_structure: bool `(x, y, z)`.
        spacing: voxel size in mm.

    Returns: ml (1000 mm3); above 0 where the candidate is the larger. A missed structure: minus its
        volume.

    Raises:
        GeometryError: shapes differ.
        InputError: a structure that is not bool.
        UnitsError: spacing is not three numbers above 0.
    """
    check_structures(candidate_structure, reference_structure, spacing)
    more = int(np.count_nonzero(candidate_structure)) - int(np.count_nonzero(reference_structure))
    return more * float(np.prod(spacing)) / 1000
