"""Coverage of the real features by generated ones; Naeem, Oh, Uh, Choi and Yoo, ICML 2020."""

from __future__ import annotations

from veridical.metrics.about import Facts
from veridical.metrics.feature_sets import Pool, Value
from veridical.metrics.neighbours import NEAREST, chosen, counted
from veridical.types import Array

ABOUT = Facts(
    "Manifold coverage",
    "1",
    "higher",
    "feature",
    target=(
        "what real against real scores at the same number of patients: 1 - 2^-nearest (0.97) for n "
        "= m, less where n < m"
    ),
    worst=0.0,
    cites=(
        "Naeem MF, Oh SJ, Uh Y, Choi Y, Yoo J. Reliable fidelity and diversity metrics for "
        "generative models. ICML 2020."
    ),
)
SPREAD = "share"


def manifold_coverage(
    candidate_features: Array, reference_features: Array, *, nearest: int = NEAREST
) -> float:
    """Return the share of reference rows whose ball holds a candidate row: how much of what is real
    has something made near it.

    Args:
        candidate_features, reference_features: `(n, d)` and `(m, d)`.
        nearest: a ball reaches from a reference row to the nearest-th other one.

    Returns: In [0, 1]. For equal distributions and n = m about `1 - 2^-nearest`, whatever they are:
        read it against two disjoint real sets of the same size.

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
    return float((of_ball > 0).mean())
