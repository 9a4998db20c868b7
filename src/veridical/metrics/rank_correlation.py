"""Spearman's rank correlation of error and interval width: is the interval wide where the error is
large?
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from veridical.errors import InputError
from veridical.metrics.about import Facts, region
from veridical.types import Array, Interval

ABOUT = Facts("rank correlation", "1", "higher", "trust")


def rank_correlation(
    candidate: Array, reference: Array, *, interval: Interval, mask: Array | None = None
) -> float:
    """Return Spearman's rho of `|candidate - reference|` and `upper - lower` over voxels; ties
    share their mean rank.

    Args: candidate, reference: real, of one shape and unit. interval: the candidate's bands, of
        that shape. mask: bool, of that shape or without the channel axis. Give the foreground: air
        lifts the correlation.

    Returns: In [-1, 1]. Even a perfect interval stays below 1, since an error is a draw from its
        distribution, not its width: normal errors with standard deviations between 1 and 4, evenly
        spread, give 0.37.

    Raises: GeometryError: shapes differ. InputError: NaN, infinity or complex values, an empty
        mask, or errors or widths that are all the same.
    """
    counted = region(mask, candidate, reference, interval.lower, interval.upper)
    error = np.abs(candidate[counted].astype(np.float64) - reference[counted])
    width = interval.upper[counted].astype(np.float64) - interval.lower[counted]
    for what, values in (("errors", error), ("interval widths", width)):
        if values.min() == values.max():
            raise InputError(
                f"All {what} that count are {values[0]:g}, so they have no ranks and no rank "
                "correlation."
            )
    return float(stats.spearmanr(error, width).statistic)
