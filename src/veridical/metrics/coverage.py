"""Coverage: the share of voxels whose true value lies inside the interval."""

from __future__ import annotations

import numpy as np

from veridical.metrics.about import Facts, region
from veridical.types import Array, Interval

ABOUT = Facts("coverage", "1", "higher", "trust", target="at or just above the interval's level")


def coverage(interval: Interval, reference: Array, *, mask: Array | None = None) -> float:
    """Return the share of voxels with `lower <= reference <= upper`.

    Args: interval: bands of the reference's shape and unit. reference: the truth, real. mask: bool,
        of that shape or without the channel axis. Give the foreground: air is easy and hides misses
        in tissue.

    Returns: In [0, 1]. To be read against `interval.level`; far above it, the band is wider than it
        need be.

    Raises:
        GeometryError: shapes differ.
        InputError: NaN, infinity or complex values, or an empty mask.
    """
    counted = region(mask, interval.lower, interval.upper, reference)
    truth = reference[counted]
    return float(np.mean((interval.lower[counted] <= truth) & (truth <= interval.upper[counted])))
