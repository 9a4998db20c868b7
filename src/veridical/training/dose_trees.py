"""Fit the boosted trees of the dose predictor, on random voxels of every training patient:
`python -m veridical.training.dose_trees [RECIPE]`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.models.dose_features import UNIT
from veridical.models.dose_trees import FILE, DoseTrees, read, voxels
from veridical.types import Array

if TYPE_CHECKING:
    from veridical.training.dose_data import DosePatient

VOXELS = 12000
"""Of each patient."""
FOLDS = 4
TREES, LEAVES, SMALLEST, RATE = 400, 63, 200, 0.06
"""Trees, leaves of each, voxels in a leaf at least, and the step of boosting."""


def drawn(patients: Sequence[DosePatient]) -> list[tuple[Array, Array]]:
    """Return `VOXELS` random voxels of each patient: features `(voxel, feature)`, and dose in the
    unit of the predictor.
    """
    found = []
    for number, patient in enumerate(patients):
        rows = voxels(patient.features, patient.spacing)
        kept = np.random.default_rng(number).permutation(len(rows))[:VOXELS]
        found.append((rows[kept], patient.dose[patient.inside][kept] / np.float32(UNIT)))
    return found


def of_others(patients: Sequence[DosePatient], cache: str) -> list[Array]:
    """Return the dose `(x, y, z)` of each patient by trees that were fitted on others, as those of
    a new patient are.

    Args:
        patients: every `FOLDS`-th of whom is left out at a time.
        cache: folder where trees are kept; empty: nowhere.
    """
    found: dict[int, Array] = {}
    parts = drawn(patients)
    for fold in range(min(FOLDS, len(patients))):
        file = Path(cache) / f"trees{fold}.npz"
        if cache and file.is_file():
            trees = read(file)
        else:
            trees = fitted([part for n, part in enumerate(parts) if n % FOLDS != fold])
            if cache:
                np.savez(file, **dict(trees.arrays()))  # type: ignore[arg-type]
        for number in range(fold, len(patients), FOLDS):
            one = patients[number]
            found[number] = trees.predict(one.features, one.spacing)
    return [found[number] for number in range(len(patients))]


def fitted(parts: Sequence[tuple[Array, Array]], seed: int = 0) -> DoseTrees:
    """Fit trees.

    Args:
        parts: features `(voxel, feature)` and dose in the unit of the predictor, of each patient.
        seed: of the fit.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    rows, doses = (np.concatenate(each) for each in zip(*parts, strict=True))
    made = HistGradientBoostingRegressor(
        max_iter=TREES,
        learning_rate=RATE,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=SMALLEST,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    ).fit(rows.astype(np.float32), doses)
    return as_arrays(made)


def as_arrays(made: Any) -> DoseTrees:
    """Return a fitted regressor's trees as plain arrays."""
    nodes = [step[0].nodes for step in made._predictors]
    size = (len(nodes), max(len(tree) for tree in nodes))
    feature, left, right = (np.full(size, -1, np.int16) for _ in range(3))
    threshold, value = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for number, tree in enumerate(nodes):
        inner = ~tree["is_leaf"].astype(bool)
        places = np.arange(len(tree))
        feature[number, places[inner]] = tree["feature_idx"][inner]
        threshold[number, places[inner]] = tree["num_threshold"][inner]
        left[number, places[inner]] = tree["left"][inner]
        right[number, places[inner]] = tree["right"][inner]
        value[number, places] = tree["value"]
    start = np.array([float(np.ravel(made._baseline_prediction)[0])], np.float32)
    return DoseTrees(feature, threshold, left, right, value, start)


def main(recipe: str) -> None:
    """Fit trees on the training patients of a recipe, and write them into the package."""
    from veridical.training.dose_data import DoseCourse, DoseData
    from veridical.training.recipe import Recipe

    data = Recipe.read(recipe).data
    assert isinstance(data, DoseData)
    made = fitted(drawn(DoseCourse(data, 0).known))
    np.savez_compressed(FILE, **dict(made.arrays()))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "dose")
