"""Interval score (Gneiting and Raftery 2007, 10.1198/016214506000001437, after Winkler 1972): width
and misses in one.
"""

from __future__ import annotations

import numpy as np

from veridical.metrics.about import Facts
from veridical.metrics.interval_width import bands
from veridical.types import Array, Interval

ABOUT = Facts(
    "interval score",
    "units of the image",
    "lower",
    "trust",
    cites=(
        "Gneiting T, Raftery AE. Strictly proper scoring rules, prediction, and estimation. J Am "
        "Stat Assoc 2007;102:359-378"
    ),
)


def interval_score(interval: Interval, reference: Array, *, mask: Array | None = None) -> float:
    """Return the mean of `width + 2 / (1 - level) . miss`, proper: the true quantiles minimize its
    expectation.

    Args:
        interval: bands of the reference's shape and unit, with their level.
        reference: the truth, real.
        mask: bool, of that shape or without the channel axis.

    Returns: In units of the image: the mean width, and for every miss how far the truth was
        outside, times 20 at 90 %.

    Raises: GeometryError: shapes differ. InputError: NaN, infinity or complex values, an empty
        mask, or a lower bound above its upper.
    """
    lower, upper, truth = bands(interval, reference, mask)
    miss = np.maximum(lower - truth, 0) + np.maximum(truth - upper, 0)
    return float(np.mean(upper - lower + 2 / (1 - interval.level) * miss))
