"""Slice continuity: change from slice to slice against change within slices, as in the reference;
own definition.
"""

from __future__ import annotations

import numpy as np

from veridical.errors import InputError
from veridical.metrics.about import Facts, region
from veridical.types import Array

ABOUT = Facts(
    "slice continuity",
    "1",
    "lower",
    "feature",
    target=(
        "1: slices follow each other as in the reference; above: they jump, flicker or are out of "
        "order; below: they smear"
    ),
    ideal=1.0,
)


def slice_continuity(candidate: Array, reference: Array, *, mask: Array | None = None) -> float:
    """Return the roughness across slices of the candidate over that of the reference, the mean over
    channels.

    The roughness across slices is the mean absolute difference between neighbours along z over the
    mean of those along x and y, between voxels that both count. A factor on the intensities leaves
    it as it is, and what is the same along all axes moves it little; independent noise moves it
    towards one over the reference's own roughness.

    Args: candidate, reference: real, of one shape: `(x, y, z)` or `(channel, x, y, z)`; their units
        may differ. mask: bool, of that shape or without the channel axis; None counts all voxels.

    Returns:
        1 for equal images; 0 where all slices of the candidate are the same.

    Raises: GeometryError: shapes differ. InputError: NaN, infinity or complex values where it
        counts, an empty mask, fewer than 3 slices that hold voxels that count, no neighbours along
        an axis, a reference that is constant within all slices or across them, or a candidate that
        is constant within all slices.
    """
    counted = region(mask, candidate, reference)
    slices = int(counted.any(axis=tuple(range(counted.ndim - 1))).sum()) if counted.ndim > 2 else 1
    if slices < 3:
        raise InputError(
            f"Continuity needs 3 slices along z, {slices} hold voxels that count. Give whole "
            "volumes (x, y, z)."
        )
    shape = (-1, *counted.shape[-3:])
    values = []
    for x, y, kept in zip(
        candidate.reshape(shape), reference.reshape(shape), counted.reshape(shape), strict=True
    ):
        (within, across), (real_within, real_across) = _steps(x, kept), _steps(y, kept)
        if not (within > 0 and real_within > 0 and real_across > 0):
            raise InputError(
                f"The mean step within and across slices is {within:g} and {across:g} in the "
                f"candidate, {real_within:g} and "
                f"{real_across:g} in the reference; expected steps above 0. Leave constant images "
                "out."
            )
        values.append(across / within / (real_across / real_within))
    return float(np.mean(values))


def _steps(image: Array, counted: Array) -> tuple[float, float]:
    """Return the mean absolute difference of neighbours within slices, the mean of x and y, and
    across slices.
    """
    steps = []
    for axis in range(3):
        here, there = ((np.s_[:],) * axis + (part,) for part in (np.s_[:-1], np.s_[1:]))
        both = counted[here] & counted[there]
        if not both.any():
            raise InputError(
                f"No two voxels that count are neighbours along {'xyz'[axis]}. Give a larger mask."
            )
        steps.append(
            float(np.abs(image[there][both].astype(np.float64) - image[here][both]).mean())
        )
    return (steps[0] + steps[1]) / 2, steps[2]
