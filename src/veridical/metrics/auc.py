"""Area under the ROC curve, with the variance of DeLong, DeLong and Clarke-Pearson, Biometrics 1988
(10.2307/2531595).
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from veridical.errors import GeometryError, InputError
from veridical.metrics.about import Facts
from veridical.types import Array

ABOUT = Facts(
    "AUC",
    "1",
    "higher",
    "task",
    worst=0.0,
    cites="DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more "
    "correlated receiver operating "
    "characteristic curves: a nonparametric approach. Biometrics 1988;44:837-845.",
)


def auc(predicted: Array, truth: Array) -> float:
    """Return the chance that a case with the finding scores above one without, ties counting half
    (Mann-Whitney).

    Args:
        predicted: `(n,)` scores, any scale, higher where the finding is likelier.
        truth: `(n,)` bool, whether it is there.

    Returns:
        In [0, 1]; 0.5 is chance.

    Raises:
        GeometryError: not two vectors of one length.
        InputError: NaN or infinity, a truth that is not bool, or one class only.
    """
    return float(_placements(np.asarray(predicted)[None], truth)[0].mean())


def auc_covariance(predicted: Array, truth: Array) -> Array:
    """Return the covariance of the AUCs of several scores of the same cases, from their placements.

    Args:
        predicted: `(k, n)`, one row a score.
        truth: `(n,)` bool.

    Returns: `(k, k)`; the diagonal holds each AUC's variance. Two AUCs differ by `a[0] - a[1]` with
        variance `v[0, 0] + v[1, 1] - 2 v[0, 1]`.

    Raises:
        GeometryError, InputError: as `auc`, or fewer than two cases of a class.
    """
    if predicted.ndim != 2:
        raise GeometryError(
            f"Scores of shape {predicted.shape} were given; expected (scores, cases). For one "
            "score: score[None]."
        )
    parts = _placements(predicted, truth)
    if min(part.shape[1] for part in parts) < 2:
        raise InputError(
            "A variance needs two cases of each class at least, there is only one of a class. Add "
            "cases."
        )
    return np.asarray(sum(np.atleast_2d(np.cov(part)) / part.shape[1] for part in parts))


def _placements(predicted: Array, truth: Array) -> tuple[Array, Array]:
    """Return for each score the share of the other class that a case is rightly placed against:
    `(k, with)`, `(k, without)`.
    """
    truth = np.asarray(truth)
    if truth.ndim != 1 or predicted.shape[1:] != truth.shape:
        raise GeometryError(
            f"Scores of shape {predicted.shape[1:]} and truth of {truth.shape} were given; "
            "expected one length (n,)."
        )
    if truth.dtype != np.bool_:
        raise InputError(
            f"A truth of type {truth.dtype} was given; expected bool. Say which class is the "
            "finding: labels == 1."
        )
    if not np.isfinite(predicted).all():
        raise InputError(
            f"{(~np.isfinite(predicted)).sum()} scores are NaN or infinite. Give every case a "
            "score; a failed one the worst."
        )
    if truth.all() or not truth.any():
        raise InputError(
            f"All {truth.size} cases are of one class; an AUC needs cases with and without the "
            "finding."
        )
    ranks = stats.rankdata(predicted, axis=1)
    there, absent = predicted[:, truth], predicted[:, ~truth]
    below = (ranks[:, truth] - stats.rankdata(there, axis=1)) / absent.shape[1]
    above = 1 - (ranks[:, ~truth] - stats.rankdata(absent, axis=1)) / there.shape[1]
    return below, above
