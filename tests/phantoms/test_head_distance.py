"""A head of the training set is found again, however it is turned; others are as far as real heads
are.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from veridical.phantoms.head_distance import (
    CORNER,
    SHAPE,
    at_4mm,
    distance,
    distances,
    nearest_head,
)
from veridical.phantoms.head_shapes import new_head, shape_model
from veridical.phantoms.population import rotation


def turned(labels: np.ndarray, degrees: float, shift: float) -> np.ndarray:
    matrix, middle = rotation(np.array([degrees, 0.0, degrees])), -CORNER / 4
    return ndimage.affine_transform(
        labels, matrix, middle - matrix @ middle + shift / 4, order=0, mode="constant"
    )


def test_a_training_head_is_at_no_distance_from_itself() -> None:
    found = nearest_head(shape_model().coarse[4])
    assert found.distance == 0
    assert found.name == shape_model().names[4]


def test_a_training_head_that_was_turned_and_shifted_is_still_nearer_than_real_heads_are() -> None:
    found = nearest_head(turned(shape_model().coarse[6], 5.0, 4.0))
    assert found.name == shape_model().names[6]
    assert found.distance < 0.8 * found.least


def test_new_heads_are_no_nearer_than_real_heads_are_to_one_another() -> None:
    for seed in range(3):
        head = new_head(np.random.default_rng(seed), 30.0 + 20 * seed, "male")
        found = nearest_head(head.structures(CORNER, 4.0, SHAPE, upright=True))
        assert found.least <= found.distance < found.usual + 0.1


def test_distance_is_between_0_and_1_and_the_same_both_ways() -> None:
    one, other = shape_model().coarse[:2]
    still = np.zeros(6)
    assert 0 < distance(one, other, still) < 1
    assert distance(one, other, still) == pytest.approx(distance(other, one, still))
    assert distance(one, np.zeros_like(one), still) == 1


def test_the_stored_distances_are_those_between_the_stored_heads() -> None:
    model = shape_model()
    again = distances(model.coarse[2], model.coarse[:3])
    assert (again >= model.between[2, :3] - 1e-6).all()
    np.testing.assert_allclose(model.between, model.between.T)


def test_a_map_comes_onto_the_grid_by_its_nearest_voxels() -> None:
    labels = np.zeros((60, 70, 50), np.uint8)
    labels[30:, :, :] = 2
    placed = np.concatenate([2 * np.eye(3), [[-59.0], [-69.0], [-49.0]]], 1).astype(np.float32)
    found = at_4mm(labels, placed)
    x = CORNER[0] + 4 * np.arange(SHAPE[0])
    assert (found[(x > 2) & (x < 58), 27, 19] == 2).all()
    assert (found[x < -2, 27, 19] == 0).all()
