"""F1 of facts: how many of the statements of a report are right, and how many of the right ones are
there.
"""

from __future__ import annotations

import numpy as np

from veridical.errors import GeometryError, InputError
from veridical.metrics.about import Facts
from veridical.types import Array

ABOUT = Facts("fact F1", "1", "higher", "task", worst=0.0)


def fact_f1(predicted: Array, truth: Array, *, threshold: float = 0.5) -> float:
    """Return `2 TP / (2 TP + FP + FN)` over statements that may be made.

    Args:
        predicted: `(n,)` whether each is made: bool, or a score that says so above the threshold.
        truth: `(n,)` bool, whether it is right.
        threshold: of scores.

    Returns:
        In [0, 1]; 1 where no statement is made and none is right.

    Raises:
        GeometryError: not two vectors of one length.
        InputError: NaN, or a truth that is not bool.
    """
    made, right = np.asarray(predicted), np.asarray(truth)
    if made.ndim != 1 or made.shape != right.shape:
        raise GeometryError(
            f"Statements of shape {made.shape} and truth of {right.shape} were given; expected one "
            "length (n,)."
        )
    if right.dtype != np.bool_ or not np.isfinite(made).all():
        raise InputError(
            f"A truth of type {right.dtype} was given, or statements with NaN; expected bool, and "
            "a number for every statement."
        )
    said = made > threshold
    hits = int((said & right).sum())
    total = int(said.sum()) + int(right.sum())
    return 2 * hits / total if total else 1.0
