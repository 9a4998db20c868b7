"""Interval score, width and misses in one: Gneiting and Raftery, JASA 2007 (10.1198/016214506000001437)."""

from __future__ import annotations

import numpy as np

from veridical.metrics.about import Facts, region
from veridical.types import Array, Interval

ABOUT = Facts("interval score", "units of the image", "lower", "trust", cites="Gneiting and Raftery, JASA 2007")


def interval_score(interval: Interval, reference: Array, *, mask: Array | None = None) -> float:
    """Return the mean of `width + 2 / (1 - level) . miss`, proper: the true quantiles minimize its expectation.

    Args:
        interval: bands of the reference's shape and unit, with their level.
        reference: the truth, real.
        mask: bool, of that shape or without the channel axis.

    Raises:
        GeometryError: shapes differ.
        InputError: NaN, infinity or complex values, or an empty mask.
    """
    counted = region(mask, interval.lower, interval.upper, reference)
    lower, upper, truth = (x[counted].astype(np.float64) for x in (interval.lower, interval.upper, reference))
    miss = np.maximum(lower - truth, 0) + np.maximum(truth - upper, 0)
    return float(np.mean(upper - lower + 2 / (1 - interval.level) * miss))
