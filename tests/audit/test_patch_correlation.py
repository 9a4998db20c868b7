"""The patch scan: what a separable window does, and what is marked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from veridical.audit.patch_correlation import cutoff, patch_scan, ring_correlation, window
from veridical.errors import GeometryError
from veridical.types import Array

SIDE = 32


def texture(seed: int, size: int = 160) -> Array:
    rng = np.random.default_rng(seed)
    return np.asarray(
        100 + 10 * ndimage.gaussian_filter(rng.standard_normal((size, size)), 1) / 0.3
    )


def test_windows_that_overlap_by_half_sum_to_one() -> None:
    total = np.zeros((SIDE, SIDE))
    wide = np.zeros((3 * SIDE, 3 * SIDE))
    for row in range(0, 2 * SIDE + 1, SIDE // 2):
        for column in range(0, 2 * SIDE + 1, SIDE // 2):
            wide[row : row + SIDE, column : column + SIDE] += window(SIDE)
    total = wide[SIDE : 2 * SIDE, SIDE : 2 * SIDE]
    np.testing.assert_allclose(total, 1, atol=1e-12)


def test_a_radial_window_sees_less_of_a_patch_and_leaves_gaps() -> None:
    place = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    radius = np.hypot(place[:, None], place[None])
    radial = np.where(radius < 0.5, np.cos(np.pi * radius) ** 2, 0)
    assert np.mean(radial == 0) == pytest.approx(1 - np.pi / 4, abs=0.02)
    wide = np.zeros((3 * SIDE, 3 * SIDE))
    for row in range(0, 2 * SIDE + 1, SIDE // 2):
        for column in range(0, 2 * SIDE + 1, SIDE // 2):
            wide[row : row + SIDE, column : column + SIDE] += radial
    middle = wide[SIDE : 2 * SIDE, SIDE : 2 * SIDE]
    assert middle.max() / middle.min() > 1.15


def test_an_image_correlates_with_itself_and_not_with_another() -> None:
    one, other = texture(0)[None, :SIDE, :SIDE], texture(1)[None, :SIDE, :SIDE]
    np.testing.assert_allclose(ring_correlation(one, 3 * one + 5), 1, atol=1e-9)
    several = np.stack([texture(s)[:SIDE, :SIDE] for s in range(60)])
    others = np.stack([texture(s + 100)[:SIDE, :SIDE] for s in range(60)])
    assert abs(ring_correlation(several, others)[:, 4:].mean()) < 0.05
    assert ring_correlation(one, other).shape == (1, SIDE // 2)


def test_the_cutoff_of_noise_is_where_signal_and_noise_are_equal() -> None:
    curve = np.linspace(1, 0, 16)[None]
    assert cutoff(curve, 0.5)[0] == pytest.approx(0.5, abs=0.04)
    assert cutoff(np.ones((1, 16)), 0.5)[0] == 1


@pytest.mark.parametrize("place", [(60, 60), (72, 72), (64, 71)])
def test_a_patch_with_made_up_detail_is_marked_wherever_it_lies(place: tuple[int, int]) -> None:
    truth, rng = texture(0), np.random.default_rng(1)
    image = truth + rng.normal(0, 1, truth.shape)
    rows, columns = slice(place[0] - 12, place[0] + 12), slice(place[1] - 12, place[1] + 12)
    image[rows, columns] = texture(7)[rows, columns]
    found = patch_scan(image, truth)
    near = np.abs(found.corners + SIDE / 2 - np.array(place)).max(1) <= 16
    assert found.marked[near].any()
    assert not found.marked[~near].any()


def test_slices_of_other_shapes_or_too_small_are_refused() -> None:
    with pytest.raises(GeometryError, match="at least 32"):
        patch_scan(np.zeros((20, 40)), np.zeros((20, 40)))
