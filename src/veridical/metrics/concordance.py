"""Lin's concordance correlation coefficient (Biometrics 1989, 10.2307/2532051): correlation and bias in one."""

from __future__ import annotations

import numpy as np

from veridical.errors import GeometryError, InputError
from veridical.metrics.about import Facts
from veridical.types import Array

ABOUT = Facts("concordance (CCC)", "1", "higher", "task", worst=-1.0, cites="Lin, Biometrics 1989")


def concordance(predicted: Array, truth: Array) -> float:
    """Return `2 cov(p, t) / (var(p) + var(t) + (mean(p) - mean(t))^2)`, with population moments.

    Args:
        predicted, truth: `(n,)`, real; bool counts as 0 and 1.

    Returns:
        In [-1, 1]; 1 for equal values, also where all are one and the same.

    Raises:
        GeometryError: lengths differ.
        InputError: fewer than two pairs, NaN or infinity.
    """
    p, t = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if p.shape != t.shape or p.ndim != 1:
        raise GeometryError(f"Values of shape {p.shape} and {t.shape} were given; expected two of one length (n,).")
    if len(p) < 2 or not (np.isfinite(p).all() and np.isfinite(t).all()):
        raise InputError(f"{len(p)} pairs, some perhaps NaN or infinite, were given; expected two or more finite ones.")
    below = p.var() + t.var() + (p.mean() - t.mean()) ** 2
    return float(2 * np.mean((p - p.mean()) * (t - t.mean())) / below) if below > 0 else 1.0
