from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import InputError
from veridical.evaluation.classifier import Labelled, transfer
from veridical.metrics.auc import auc


def labelled(gap: float, seed: int, count: int = 60) -> Labelled:
    """Features of which the first tells the class, `gap` standard deviations apart."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 2 == 0
    features = rng.normal(size=(count, 8))
    features[:, 0] += gap * truth
    return Labelled(features, truth, [f"p{i}" for i in range(count)])


def test_generated_images_with_the_class_teach_it_and_those_without_do_not() -> None:
    real = labelled(4.0, 0)
    good, control = transfer(labelled(4.0, 1), real, 5, 0)
    useless, again = transfer(labelled(0.0, 2), real, 5, 0)
    assert auc(good, real.truth) > 0.9
    assert auc(control, real.truth) > 0.9
    assert auc(useless, real.truth) < 0.8
    assert (control == again).all()


def test_images_with_the_classes_exchanged_score_below_chance() -> None:
    real, made = labelled(4.0, 0), labelled(4.0, 1)
    scores, _ = transfer(Labelled(made.features, ~made.truth, made.patients), real, 5, 0)
    assert auc(scores, real.truth) < 0.1


def test_copies_of_a_patient_cannot_teach_that_patients_class() -> None:
    """Labels at random: only memory of the patient could find them."""
    rng = np.random.default_rng(0)
    real = Labelled(rng.normal(size=(80, 8)), rng.random(80) < 0.5, [f"p{i}" for i in range(80)])
    scores, _ = transfer(real, real, 5, 0)
    assert 0.3 < auc(scores, real.truth) < 0.7


def test_one_class_alone_is_refused() -> None:
    real, made = labelled(1.0, 0), labelled(1.0, 1)
    with pytest.raises(InputError, match="one class"):
        transfer(Labelled(made.features, np.ones_like(made.truth), made.patients), real, 5, 0)
