"""Mean absolute error, in the unit of the images."""

from __future__ import annotations

import numpy as np

from veridical.metrics.about import Facts, region
from veridical.types import Array

ABOUT = Facts(
    "MAE",
    "unit of the images",
    "lower",
    "pixel",
    cites="Willmott CJ, Matsuura K. Advantages of the mean absolute error (MAE) over the root mean "
    "square error (RMSE) in "
    "assessing average model performance. Clim Res 2005;30:79-82",
)


def mae(candidate: Array, reference: Array, *, mask: Array | None = None) -> float:
    """Return the mean of `|candidate - reference|`.

    Args:
        candidate, reference: real, of one shape and unit.
        mask: bool, of that shape or without the channel axis; None counts all voxels.

    Returns:
        In the unit of the images (HU for CT).

    Raises:
        GeometryError: shapes differ.
        InputError: NaN, infinity or complex values, or an empty mask.
    """
    counted = region(mask, candidate, reference)
    return float(np.mean(np.abs(candidate[counted].astype(np.float64) - reference[counted])))
