"""Precision of generated features; Kynkaanniemi, Karras, Laine, Lehtinen and Aila, NeurIPS 2019."""

from __future__ import annotations

from veridical.metrics.about import Facts
from veridical.metrics.feature_sets import Pool, Value
from veridical.metrics.neighbours import NEAREST, chosen, counted
from veridical.types import Array

ABOUT = Facts(
    "Precision",
    "1",
    "higher",
    "feature",
    target=(
        "what real against real scores at the same number of patients; that is far below 1 (0.65 "
        "at n = 1000, d = 256)"
    ),
    worst=0.0,
    cites="Kynkaanniemi T, Karras T, Laine S, Lehtinen J, Aila T. Improved precision and recall "
    "metric for assessing "
    "generative models. NeurIPS 2019.",
)
SPREAD = "share"


def precision(
    candidate_features: Array, reference_features: Array, *, nearest: int = NEAREST
) -> float:
    """Return the share of candidate rows inside a ball around any reference row: how much of what
    is made looks real.

    Args:
        candidate_features, reference_features: `(n, d)` and `(m, d)`.
        nearest: a ball reaches from a reference row to the nearest-th other one.

    Returns: In [0, 1]. It depends on n, m and d: read it against two disjoint real sets of the same
        size, never against 1.

    Raises:
        GeometryError: not two matrices with one number of columns.
        InputError: NaN, infinity, complex values, or a set of no more than `nearest` rows.
        SettingError: `nearest` is below 1.
    """
    return _value(*counted(candidate_features, reference_features, nearest))


def prepared(pool: Pool) -> Value:
    """Return rows -> value, from the distances of all pairs."""
    return chosen(pool, _value)


def _value(of_point: Array, of_ball: Array) -> float:
    return float((of_point > 0).mean())
