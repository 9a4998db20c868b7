"""Train on generated, test on real: is a class learned from generated images the class that real
images show?

TSTR of Esteban, Hyland and Ratsch 2017 (arXiv 1706.02633), always beside its control: the same
classifier trained on as many real patients. Features of an extractor go through a ridge-regularized
logistic regression.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from veridical.errors import InputError
from veridical.types import Array

COMPONENTS = 20
"""Most principal components of the features that the classifier sees; never more than a quarter of
its cases.
"""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Cases with a class.

    Args:
        features: `(n, d)`, one row a case.
        truth: bool `(n,)`.
        patients: `(n,)` names.
    """

    features: Array
    truth: Array
    patients: Sequence[str]


def transfer(generated: Labelled, real: Labelled, folds: int, seed: int) -> tuple[Array, Array]:
    """Return the scores of every real case by a classifier trained on generated ones, and by one
    trained on as many real ones.

    Patients are split into folds. A real case of a fold is never scored by a classifier that saw
    its patient: neither the real images of that patient nor the images generated from them.

    Args:
        generated, real: the two sets.
        folds: of patients; at least 2.
        seed: of the folds.

    Returns:
        Two arrays `(n,)`, in the order of `real`.

    Raises:
        InputError: a set without both classes in every training fold.
    """
    rng = np.random.default_rng(seed)
    fold_of = _folds(real, folds, rng)
    synthetic, control = np.zeros(len(real.truth)), np.zeros(len(real.truth))
    for fold in range(folds):
        held = {patient for patient, number in fold_of.items() if number == fold}
        test = np.array([patient in held for patient in real.patients])
        made = np.flatnonzero([patient not in held for patient in generated.patients])
        kept = np.flatnonzero(~test)
        count = min(len(made), len(kept))
        for scores, source, rows in ((synthetic, generated, made), (control, real, kept)):
            chosen = np.sort(rng.permutation(rows)[:count])
            scores[test] = _fit(source.features[chosen], source.truth[chosen])(real.features[test])
    return synthetic, control


def _folds(real: Labelled, folds: int, rng: np.random.Generator) -> dict[str, int]:
    """Spread the patients of each class evenly over the folds."""
    found: dict[str, int] = {}
    for wanted in (False, True):
        names = sorted(
            {p for p, truth in zip(real.patients, real.truth, strict=True) if bool(truth) == wanted}
            - set(found)
        )
        for place, index in enumerate(rng.permutation(len(names))):
            found[names[index]] = place % folds
    return found


def _fit(features: Array, truth: Array) -> Callable[[Array], Array]:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if truth.all() or not truth.any():
        raise InputError(
            f"All {len(truth)} training cases are of one class; a classifier needs both. Give more "
            "cases."
        )
    size = max(1, min(COMPONENTS, len(features) // 4, features.shape[1]))
    model = make_pipeline(
        StandardScaler(), PCA(size, svd_solver="full"), LogisticRegression(C=0.1, max_iter=1000)
    )
    found: Callable[[Array], Array] = model.fit(features, truth).decision_function
    return found
