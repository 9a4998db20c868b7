"""Normalized mean squared error: squared error over the energy of the reference."""

from __future__ import annotations

import numpy as np

from veridical.errors import InputError
from veridical.metrics.about import Facts, region
from veridical.types import Array

ABOUT = Facts("NMSE", "1", "lower", "pixel")


def nmse(candidate: Array, reference: Array, *, mask: Array | None = None) -> float:
    """Return `||candidate - reference||^2 / ||reference||^2`, as fastMRI does (arXiv 1811.08839,
    section 5.2).

    Args: candidate, reference: real, of one shape and unit; the zero of the unit must mean no
        signal (not HU). mask: bool, of that shape or without the channel axis; None counts all
        voxels.

    Raises: GeometryError: shapes differ. InputError: NaN, infinity or complex values, an empty
        mask, or a reference that is zero where it counts.
    """
    counted = region(mask, candidate, reference)
    truth = reference[counted].astype(np.float64)
    energy = float(np.sum(truth**2))
    if energy == 0:
        raise InputError(
            "The reference is zero in every voxel that counts, so the error cannot be set against "
            "it."
        )
    return float(np.sum((candidate[counted] - truth) ** 2) / energy)
