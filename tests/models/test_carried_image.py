"""Laws of images that are carried through time."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.models.carried_image import fused, noise_variance, sampled
from veridical.types import Geometry, Image

RNG = np.random.default_rng(0)
SHAPE = (20, 22, 24)
GRID = Geometry(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))
SMOOTH = np.asarray(
    100 + 20 * np.sin(np.arange(20) / 3)[:, None, None] * np.ones(SHAPE), np.float32
)


def noisy(size: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(SHAPE)
    return np.asarray(SMOOTH + size * noise, np.float32)


def image(data: np.ndarray, grid: Geometry = GRID) -> Image:
    return Image(data[None], grid, "a.u.", ("T1w",))


def test_an_image_that_is_not_moved_keeps_its_bytes() -> None:
    data = noisy(3.0, 1)
    assert np.array_equal(sampled(image(data), GRID), data)
    still = np.zeros((*SHAPE, 3), np.float32)
    assert np.array_equal(sampled(image(data), GRID, None, still, GRID), data)


def test_a_displacement_in_mm_moves_by_voxels() -> None:
    shift = np.zeros((*SHAPE, 3), np.float32)
    shift[..., 1] = 4.0
    moved = sampled(image(noisy(3.0, 1)), GRID, None, shift, GRID)
    assert moved[:, 2:-4] == pytest.approx(noisy(3.0, 1)[:, 4:-2], abs=1e-2)


def test_a_finer_grid_shows_the_same_places() -> None:
    fine = Geometry((10, 11, 12), np.diag([4.0, 4.0, 4.0, 1.0]))
    assert sampled(image(SMOOTH), fine) == pytest.approx(SMOOTH[::2, ::2, ::2], abs=1e-3)


def test_the_noise_is_found() -> None:
    assert noise_variance(noisy(3.0, 1)) == pytest.approx(9.0, rel=0.2)


def test_one_visit_is_carried_as_it_is() -> None:
    data = noisy(3.0, 1)
    assert fused([data], [0.0]).data is data


def test_visits_without_change_are_averaged() -> None:
    one = fused([noisy(3.0, seed) for seed in range(4)], [0.0, -1.0, -2.0, -3.0])
    left = float((one.data - SMOOTH).std())
    assert left < 3.0 / np.sqrt(4) * 1.25
    assert float(np.median(one.variance)) < 9.0 / 2


def test_where_something_changed_the_last_visit_counts() -> None:
    before, now = noisy(1.0, 1), noisy(1.0, 2)
    now[5:12, 5:12, 5:12] += 60
    one = fused([now, before], [0.0, -1.0])
    assert one.data[7:10, 7:10, 7:10] == pytest.approx(now[7:10, 7:10, 7:10], abs=1.0)


def test_identical_visits_give_that_visit() -> None:
    data = noisy(3.0, 1)
    assert fused([data, data, data], [0.0, -1.0, -2.0]).data == pytest.approx(data, rel=1e-5)


def test_the_spread_grows_with_time_and_holds_the_noise() -> None:
    one = fused([noisy(3.0, 1), noisy(3.0, 2)], [0.0, -1.0])
    nothing = np.zeros(SHAPE, np.float32)
    near, far = one.spread(1.0, nothing), one.spread(5.0, nothing)
    assert (far >= near).all()
    assert (near >= np.sqrt(one.noise)).all()
