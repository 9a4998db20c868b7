"""Rigid registration finds a transform that is known, across contrasts, from poor starts, and
repeats itself bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import heads
from veridical.errors import GeometryError
from veridical.preprocessing.registration import fits, register, similarity
from veridical.types import Geometry

HEAD = heads.head()


def error(found: Any, truth: Any) -> float:
    """Largest distance in mm between where two transforms put the foreground."""
    places = np.argwhere(HEAD.data[0] > 0.1)[::50]
    at = np.c_[places, np.ones(len(places))] @ HEAD.geometry.affine.T
    return float(np.linalg.norm((at @ (found - truth).T)[:, :3], axis=1).max())


@pytest.mark.parametrize(
    ("shift", "turn"),
    [((5, -4, 3), (4, -6, 5)), ((-14, 10, 16), (-12, 15, 18)), ((30, 20, -25), (25, -20, -25))],
)
def test_a_known_transform_is_found_to_a_quarter_of_a_voxel(shift: Any, turn: Any) -> None:
    truth = heads.rigid(shift, turn, HEAD.geometry)
    moving = heads.seen(HEAD, truth)
    found = register(HEAD.data[0], HEAD.geometry, moving.data[0], moving.geometry)
    assert error(found.matrix, truth) < 1.0
    assert found.shift == pytest.approx(np.linalg.norm(shift), abs=0.7)
    assert found.after > found.before


def test_the_same_volumes_give_the_same_numbers() -> None:
    moving = heads.seen(HEAD, heads.rigid((5, -4, 3), (4, -6, 5), HEAD.geometry))
    found, again = (
        register(HEAD.data[0], HEAD.geometry, moving.data[0], moving.geometry) for _ in range(2)
    )
    np.testing.assert_array_equal(found.matrix, again.matrix)


def test_images_without_a_common_origin_are_brought_together() -> None:
    truth = heads.rigid((300, -200, 150), (5, 5, -5), HEAD.geometry)
    moving = heads.seen(HEAD, heads.rigid((0, 0, 0), (5, 5, -5), HEAD.geometry))
    affine = np.array(moving.geometry.affine)
    affine[:3, 3] += [300, -200, 150]
    found = register(
        HEAD.data[0],
        HEAD.geometry,
        moving.data[0],
        Geometry(moving.geometry.shape, affine, "local"),
    )
    assert error(found.matrix, truth) < 1.0
    assert np.isnan(found.before)


@pytest.mark.parametrize(
    ("shift", "turn", "wanted"),
    [
        ((0, 0, 0), (0, 0, 0), True),
        ((3, -2, 2), (0, 0, 0), False),
        ((0, 0, 0), (5, 0, 0), False),
        ((14, -9, 12), (8, 5, -12), False),
    ],
)
def test_volumes_fit_where_no_small_movement_makes_them_more_alike(
    shift: Any, turn: Any, wanted: bool
) -> None:
    moving = heads.seen(HEAD, heads.rigid(shift, turn, HEAD.geometry))
    assert fits(HEAD.data[0], HEAD.geometry, moving.data[0], moving.geometry) == wanted


def test_similarity_is_two_for_equal_volumes_and_near_one_for_noise() -> None:
    data, grid = HEAD.data[0], HEAD.geometry
    assert similarity(data, grid, data, grid, np.eye(4)) == pytest.approx(2.0, abs=0.01)
    noise = np.random.default_rng(0).normal(size=data.shape)
    assert similarity(data, grid, noise, grid, np.eye(4)) < 1.05


def test_single_slices_and_sheared_grids_are_refused() -> None:
    with pytest.raises(GeometryError, match="four slices"):
        register(
            HEAD.data[0][..., :1],
            Geometry((*HEAD.geometry.shape[:2], 1), np.eye(4)),
            HEAD.data[0],
            HEAD.geometry,
        )
    sheared = HEAD.geometry.affine @ np.array(
        [[1, 0, 0.3, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    with pytest.raises(GeometryError, match="sheared"):
        register(HEAD.data[0], HEAD.geometry, HEAD.data[0], Geometry(HEAD.geometry.shape, sheared))
