"""Mean width of the interval: of two that cover alike, the narrower says more."""

from __future__ import annotations

import numpy as np

from veridical.errors import InputError
from veridical.metrics.about import Facts, region
from veridical.types import Array, Interval

ABOUT = Facts(
    "interval width", "units of the image", "lower", "trust", target="narrow at full coverage"
)


def interval_width(interval: Interval, reference: Array, *, mask: Array | None = None) -> float:
    """Return the mean of `upper - lower`, in units of the image.

    Args: interval: bands of the reference's shape and unit. reference: the truth; only its shape
        counts. mask: bool, of that shape or without the channel axis. Give the foreground: the band
        of air is narrow.

    Raises: GeometryError: shapes differ. InputError: NaN, infinity or complex values, an empty
        mask, or a lower bound above its upper.
    """
    lower, upper, _ = bands(interval, reference, mask)
    return float(np.mean(upper - lower))


def bands(interval: Interval, reference: Array, mask: Array | None) -> tuple[Array, Array, Array]:
    """Return lower bounds, upper bounds and truth where it counts, `(n,)` each, float64. Arguments
    and errors as above.
    """
    counted = region(mask, interval.lower, interval.upper, reference)
    lower, upper, truth = (
        each[counted].astype(np.float64) for each in (interval.lower, interval.upper, reference)
    )
    crossed = int(np.count_nonzero(lower > upper))
    if crossed:
        raise InputError(
            f"In {crossed} of {len(lower)} voxels the lower bound is above the upper. Were the two "
            "interchanged?"
        )
    return lower, upper, truth
