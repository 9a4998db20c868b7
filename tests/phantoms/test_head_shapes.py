"""Laws of drawn heads: determinism, diffeomorphism, statistics of the heads they are learned from,
age, sex, and growth of a mass.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from veridical.phantoms.head_shapes import (
    NewHead,
    flow,
    new_head,
    shape_model,
    ventricle_volume,
    ventricles,
)
from veridical.phantoms.label_maps import BRAIN, NAMES, structure

CORNER, SHAPE = np.array([-96.0, -108.0, -98.0]), (24, 32, 24)


@cache
def head(seed: int, age: float = 40.0, sex: str = "female") -> NewHead:
    return new_head(np.random.default_rng(seed), age, "male" if sex == "male" else "female")


def labels(one: NewHead) -> np.ndarray:
    return one.structures(CORNER, 8.0, SHAPE)


def test_the_same_seed_gives_the_same_head_and_another_one_another() -> None:
    again = new_head(np.random.default_rng(3), 40.0, "female")
    np.testing.assert_array_equal(labels(head(3)), labels(again))
    assert (labels(head(3)) != labels(head(4))).mean() > 0.05


def test_the_held_out_heads_are_not_in_it() -> None:
    names = shape_model().names
    assert len(names) == 13
    assert not {"head14", "head15", "head16"} & set(names)


def test_a_head_has_every_structure_and_no_lesion() -> None:
    found = set(np.unique(head(1).structures(CORNER, 4.0, (48, 63, 48))))
    assert {structure(n) for n in NAMES if n != "lesion"} - found <= {structure("vessel")}
    assert structure("lesion") not in found


@pytest.mark.parametrize("seed", range(3))
def test_the_warp_of_a_head_folds_nowhere(seed: int) -> None:
    moved = flow(head(seed).field)
    gradient = np.stack([np.gradient(moved[..., d], 12.0, axis=(0, 1, 2)) for d in range(3)], 0)
    matrix = np.moveaxis(gradient, (0, 1), (-2, -1)) + np.eye(3)
    inner = np.linalg.det(matrix)[2:-2, 2:-2, 2:-2]
    assert inner.min() > 0


def test_standard_normal_weights_give_the_covariance_of_the_heads() -> None:
    model, rng = shape_model(), np.random.default_rng(0)
    atrophy = model.atrophy.astype(float)
    slope = np.tensordot(atrophy / (atrophy @ atrophy), model.stretches, 1)
    rest = model.stretches - model.stretches.mean(0) - atrophy[:, None, None] * slope
    drawn = np.stack([model.mixed(rng.standard_normal(13), 0.0)[1] for _ in range(600)])
    wanted = np.sqrt((rest**2).sum(0) / (len(atrophy) - 2))
    np.testing.assert_allclose(drawn.std(0), wanted, rtol=0.15, atol=1e-4)


def test_the_mean_weights_give_the_mean_shape_at_the_mean_atrophy() -> None:
    model = shape_model()
    field, stretch = model.mixed(np.zeros(13), 0.0)
    np.testing.assert_allclose(stretch, model.stretches.mean(0), atol=1e-5)
    np.testing.assert_allclose(field, model.fields.mean(0), atol=1e-3)


def test_ventricles_grow_by_a_fifth_a_decade_and_faster_when_old() -> None:
    assert ventricles(40) / ventricles(30) == pytest.approx(1.2)
    assert ventricles(75) / ventricles(65) == pytest.approx(1.35)
    assert ventricles(32.4) == pytest.approx(13.2, rel=0.05)


def test_age_widens_ventricles_and_sulci_of_the_same_patient() -> None:
    young, old = (np.zeros(2), np.zeros(2))
    for seed in range(4):
        for total, age in ((young, 25.0), (old, 75.0)):
            one = head(seed, age)
            cut = one.structures(CORNER, 4.0, (48, 63, 48))
            fluid = (cut == structure("fluid around the brain")).sum() * 0.064
            total += np.array([ventricle_volume(one), fluid]) / 4
    assert old[0] > 1.8 * young[0]
    assert old[1] > young[1]


def test_ventricles_hold_what_was_drawn_for_the_age() -> None:
    volumes = [ventricle_volume(head(seed, 45.0)) for seed in range(6)]
    assert 0.6 < np.exp(np.mean(np.log(volumes))) / ventricles(45.0) < 1.6


def test_heads_of_men_are_larger() -> None:
    inner = [structure(name) for name in BRAIN]
    sizes = [
        np.isin(head(2, 40.0, sex).structures(CORNER, 4.0, (48, 63, 48)), inner).sum()
        for sex in ("male", "female")
    ]
    assert 1.08 < sizes[0] / sizes[1] < 1.18


def test_a_mass_pushes_its_surroundings_outward_and_leaves_its_middle() -> None:
    one, point = head(5), np.array([35.0, -10.0, 20.0])
    grown = one.grown(point, 4.0, 25.0)
    np.testing.assert_allclose(grown.located(point), one.located(point), atol=0.5)
    beyond = point + np.array([25.0, 0, 0])
    before, after = one.located(beyond), grown.located(beyond)
    centre = one.located(point)
    assert np.linalg.norm(after - centre) < np.linalg.norm(before - centre) - 1.0
