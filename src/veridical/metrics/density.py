"""Density of generated features; Naeem, Oh, Uh, Choi and Yoo, ICML 2020."""

from __future__ import annotations

from veridical.metrics.about import Facts
from veridical.metrics.feature_sets import Pool, Value
from veridical.metrics.neighbours import NEAREST, chosen, counted
from veridical.types import Array

ABOUT = Facts(
    "Density",
    "1",
    "higher",
    "feature",
    target=(
        "what real against real scores at the same number of patients, about 1; above it, the "
        "candidate keeps to the middle"
    ),
    worst=0.0,
    cites=(
        "Naeem MF, Oh SJ, Uh Y, Choi Y, Yoo J. Reliable fidelity and diversity metrics for "
        "generative models. ICML 2020."
    ),
)
SPREAD = "jackknife"


def density(
    candidate_features: Array, reference_features: Array, *, nearest: int = NEAREST
) -> float:
    """Return the mean number of reference balls that hold a candidate row, over `nearest`:
    precision that no outlier lifts.

    Args:
        candidate_features, reference_features: `(n, d)` and `(m, d)`.
        nearest: a ball reaches from a reference row to the nearest-th other one.

    Returns: 0 or more, not bounded by 1. Near 1 for equal distributions, above it where candidates
        crowd where real rows are dense: read it against two disjoint real sets of the same size.

    Raises:
        GeometryError: not two matrices with one number of columns.
        InputError: NaN, infinity, complex values, or a set of no more than `nearest` rows.
        SettingError: `nearest` is below 1.
    """
    return float(counted(candidate_features, reference_features, nearest)[0].mean() / nearest)


def prepared(pool: Pool) -> Value:
    """Return rows -> value, from the distances of all pairs."""
    return chosen(pool, lambda of_point, of_ball: float(of_point.mean() / NEAREST))
