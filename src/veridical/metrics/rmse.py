"""Root mean squared error, in the unit of the images."""

from __future__ import annotations

import numpy as np

from veridical.metrics.about import Facts, region
from veridical.types import Array

ABOUT = Facts(
    "RMSE",
    "unit of the images",
    "lower",
    "pixel",
    cites=(
        "Wang Z, Bovik AC. Mean squared error: love it or leave it? IEEE Signal Process Mag "
        "2009;26:98-117"
    ),
)


def rmse(candidate: Array, reference: Array, *, mask: Array | None = None) -> float:
    """Return the root of the mean of `(candidate - reference)^2`.

    Args:
        candidate, reference: real, of one shape and unit.
        mask: bool, of that shape or without the channel axis; None counts all voxels.

    Returns:
        In the unit of the images.

    Raises:
        GeometryError: shapes differ.
        InputError: NaN, infinity or complex values, or an empty mask.
    """
    counted = region(mask, candidate, reference)
    return float(
        np.sqrt(np.mean((candidate[counted].astype(np.float64) - reference[counted]) ** 2))
    )
