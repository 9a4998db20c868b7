"""Classifier two-sample test, Lopez-Paz and Oquab, ICLR 2017: how well a held-out linear classifier
tells the sets apart.

The classifier is Fisher's linear discriminant with the shrunken covariance of Ledoit and Wolf (J
Multivar Anal 2004, 10.1016/S0047-259X(03)00096-4) on standardized features. Scaling and shrinkage
look at all rows without their labels, so that held-out scores are linear in the labels: a
permutation test needs each fold solved once.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, stats

from veridical.errors import InputError, SettingError
from veridical.metrics.about import Facts
from veridical.metrics.feature_sets import Groups, Pool, Value, checked, pooled
from veridical.types import Array

ABOUT = Facts(
    "Classifier two-sample AUC",
    "1",
    "lower",
    "feature",
    target="0.5: the classifier cannot tell generated from real",
    ideal=0.5,
    worst=1.0,
    cites="Lopez-Paz D, Oquab M. Revisiting classifier two-sample tests. ICLR 2017.",
)
SPREAD = "share"
FOLDS = 5


def classifier_two_sample(
    candidate_features: Array,
    reference_features: Array,
    *,
    candidate_groups: Groups = None,
    reference_groups: Groups = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> float:
    """Return the cross-validated area under the ROC curve of a linear classifier of candidate
    against reference rows.

    Only pairs of one fold are compared, so that the mean is 0.5 when the sets are alike. A linear
    classifier sees differences of means; for those of spread see `mmd`. Its p-value:
    `feature_sets.permutation_p`.

    Args: candidate_features, reference_features: `(n, d)` and `(m, d)`. candidate_groups,
        reference_groups: patient of each row; all rows of a patient are held out together. Without
        it a classifier that knows the patient passes for one that knows what is real. folds: of
        cross-validation. seed: of who is in which fold.

    Returns:
        1: always told apart; 0.5: not at all; below it by chance.

    Raises:
        GeometryError: not two matrices with one number of columns.
        InputError: NaN, infinity, complex values, lengths that differ, or no fold with both kinds.
        SettingError: fewer than two folds.
        BudgetError: more than 10000 rows.
    """
    checked(candidate_features, reference_features, fewest=5)
    pool, sides = pooled(candidate_features, reference_features, candidate_groups, reference_groups)
    return _tester(pool, folds, seed)(*sides)


def prepared(pool: Pool) -> Value:
    """Return rows -> value with the usual folds; the classifier is fitted to the chosen rows."""
    return _tester(pool, FOLDS, 0)


def _tester(pool: Pool, folds: int, seed: int) -> Value:
    if folds < 2:
        raise SettingError(f"{folds} folds were asked for; expected 2 or more.")
    rows = _standardized(pool.features)
    ridge = _shrinkage(rows)
    # Ridge regression on rows equals the discriminant whose covariance is (1 - shrinkage) S +
    # shrinkage tr(S) / d.
    places = np.random.default_rng(seed).permutation(int(pool.patients.max()) + 1)
    fold = places[pool.patients] % folds
    products = rows @ rows.T if len(rows) <= 2 * rows.shape[1] else None
    known: dict[bytes, list[tuple[Array, Array, Array]]] = {}

    def solved(used: Array) -> list[tuple[Array, Array, Array]]:
        """Return positions held out, positions trained on, and the matrix from the labels of these
        to the scores of those.
        """
        key = used.tobytes()
        if key not in known:
            known.clear()
            parts = [(used[fold[used] == k], used[fold[used] != k]) for k in range(folds)]
            known[key] = [
                (test, train, _hat(rows, products, test, train, ridge))
                for test, train in parts
                if len(test)
            ]
        return known[key]

    def value(candidate: Array, reference: Array) -> float:
        made = np.zeros(len(rows), dtype=bool)
        made[candidate] = True
        right, pairs = 0.0, 0
        for test, train, hat in solved(np.sort(np.concatenate([candidate, reference]))):
            scores = hat @ (made[train] - made[train].mean())
            ones = int(made[test].sum())
            ranks = stats.rankdata(scores)[made[test]]
            right += float(ranks.sum()) - ones * (ones + 1) / 2
            pairs += ones * (len(test) - ones)
        if not pairs:
            raise InputError("No fold holds rows of both sets. Give more patients, or fewer folds.")
        return right / pairs

    return value


def _standardized(features: Array) -> Array:
    """Return features of mean 0 and variance 1, constant ones left out."""
    spread = features.std(0)
    varying = spread > 1e-9 * (np.abs(features).max(0) + 1e-300)
    if not varying.any():
        return np.zeros((len(features), 1))
    rows: Array = (features[:, varying] - features[:, varying].mean(0)) / spread[varying]
    return rows


def _shrinkage(rows: Array) -> float:
    """Return Ledoit and Wolf's ridge per row: `shrinkage / (1 - shrinkage)` times the mean variance
    (1).
    """
    n, d = rows.shape
    table = rows @ rows.T if n <= d else rows.T @ rows
    squares = float((table**2).sum()) / n**2
    away = squares / d - 1
    noise = (float((rows**2).sum(1) @ (rows**2).sum(1)) / n - squares) / (n * d)
    share = min(max(noise / away, 0.0), 0.999) if away > 0 else 0.999
    return share / (1 - share)


def _hat(rows: Array, products: Array | None, test: Array, train: Array, ridge: float) -> Array:
    """Return the matrix from centred labels of the training rows to scores of the held-out rows."""
    n, d = len(train), rows.shape[1]
    penalty = max(ridge, 1e-9) * n
    if products is not None:
        among = products[np.ix_(train, train)]
        among[np.diag_indices(n)] += penalty
        return np.asarray(linalg.solve(among, products[np.ix_(train, test)], assume_a="pos").T)
    own = rows[train].T @ rows[train]
    own[np.diag_indices(d)] += penalty
    return np.asarray(rows[test] @ linalg.solve(own, rows[train].T, assume_a="pos"))
