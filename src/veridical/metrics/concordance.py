"""Lin's concordance correlation coefficient, Biometrics 1989 (10.2307/2532051)."""

from __future__ import annotations

import numpy as np

from veridical.errors import GeometryError, InputError
from veridical.metrics.about import Facts
from veridical.types import Array

ABOUT = Facts(
    "concordance (CCC)",
    "1",
    "higher",
    "task",
    worst=-1.0,
    cites=(
        "Lin LI. A concordance correlation coefficient to evaluate reproducibility. Biometrics "
        "1989;45:255-268"
    ),
)


def concordance(predicted: Array, truth: Array) -> float:
    """Return how near pairs are to the line of identity: `2 s_xy / (s_x^2 + s_y^2 + (mean x - mean
    y)^2)`, moments over n.

    Args:
        predicted: `(n,)` real, n cases.
        truth: `(n,)`, what they should be, in the same unit; bool counts as 0 and 1.

    Returns: In [-1, 1]; 1: equal, 0: unrelated. It is at most Pearson's correlation, and lower with
        bias or other scale. Two equal constants give 1.

    Raises:
        GeometryError: shapes differ, or are not `(n,)`.
        InputError: complex values, NaN, infinity, or fewer than two cases.
    """
    if predicted.ndim != 1 or predicted.shape != truth.shape:
        raise GeometryError(
            f"Arrays of shape {predicted.shape} and {truth.shape} were given; expected two of one "
            "length (n,)."
        )
    if np.iscomplexobj(predicted) or np.iscomplexobj(truth):
        raise InputError(
            "Concordance compares real numbers, complex ones were given. Take magnitudes first: "
            "abs(values)."
        )
    x, y = predicted.astype(np.float64), truth.astype(np.float64)
    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(
            f"{len(x)} cases were given, or some are NaN or infinite; expected two or more finite "
            "ones. Mend them."
        )
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * ((x - x.mean()) @ (y - y.mean())) / len(x) / spread) if spread > 0 else 1.0
