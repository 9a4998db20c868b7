"""Bias: the signed mean difference, in the unit of the images (Bland and Altman 1986)."""

from __future__ import annotations

import numpy as np

from veridical.metrics.about import Facts, region
from veridical.types import Array

ABOUT = Facts(
    "bias",
    "unit of the images",
    "lower",
    "pixel",
    target="0: neither too bright nor too dark",
    ideal=0.0,
    cites="Bland JM, Altman DG. Statistical methods for assessing agreement between two methods of "
    "clinical measurement. "
    "Lancet 1986;327:307-310",
)


def bias(candidate: Array, reference: Array, *, mask: Array | None = None) -> float:
    """Return the mean of `candidate - reference`.

    Args:
        candidate, reference: real, of one shape and unit.
        mask: bool, of that shape or without the channel axis; None counts all voxels.

    Returns:
        In the unit of the images (HU for CT); above 0 the candidate is too bright.

    Raises:
        GeometryError: shapes differ.
        InputError: NaN, infinity or complex values, or an empty mask.
    """
    counted = region(mask, candidate, reference)
    return float(np.mean(candidate[counted].astype(np.float64) - reference[counted]))
