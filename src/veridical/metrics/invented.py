"""Invented structures: the candidate shows one that no voxel of the reference supports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from veridical.metrics import surfaces
from veridical.metrics.about import Facts
from veridical.types import Array

ABOUT = Facts(
    "invented",
    "1",
    "lower",
    "task",
    target="0; the mean over cases is the rate of hallucinated findings",
    worst=1.0,
    cites="Cohen, Luck and Honari, MICCAI 2018",
)

SMALLEST = 10.0
"""mm^3."""


def invented(
    candidate_structure: Array, reference_structure: Array, spacing: Sequence[float]
) -> float:
    """Return 1 where the candidate has a connected component that the reference does not touch,
    else 0.

    Args:
        candidate_structure, reference_structure: bool `(x, y, z)`, of one shape.
        spacing: voxel size in mm. Components below 10 mm^3 do not count.

    Raises:
        GeometryError, InputError, UnitsError: as `surfaces.check_structures`.
    """
    surfaces.check_structures(candidate_structure, reference_structure, spacing)
    labels, count = ndimage.label(candidate_structure, np.ones((3, 3, 3)))
    if count == 0:
        return 0.0
    size = np.bincount(labels.ravel(), minlength=count + 1) * float(np.prod(spacing))
    supported = np.bincount(labels[reference_structure].ravel(), minlength=count + 1) > 0
    return float((~supported[1:] & (size[1:] >= SMALLEST)).any())
