"""Mean width of the interval: of two that cover alike, the narrower says more."""

from __future__ import annotations

import numpy as np

from veridical.metrics.about import Facts, region
from veridical.types import Array, Interval

ABOUT = Facts("interval width", "units of the image", "lower", "trust", target="narrow at full coverage")


def interval_width(interval: Interval, reference: Array, *, mask: Array | None = None) -> float:
    """Return the mean of `upper - lower`.

    Args:
        interval: bands of the reference's shape and unit.
        reference: the truth; only its shape counts.
        mask: bool, of that shape or without the channel axis.

    Raises:
        GeometryError: shapes differ.
        InputError: NaN, infinity or complex values, or an empty mask.
    """
    counted = region(mask, interval.lower, interval.upper, reference)
    return float(np.mean(interval.upper[counted].astype(np.float64) - interval.lower[counted]))
