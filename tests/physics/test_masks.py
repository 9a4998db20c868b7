"""Laws of the sampling masks: how many lines, where they lie, how far apart, and the centre without
a gap.
"""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import SettingError
from veridical.physics import masks

SHAPE = (96, 128)


def columns(mask: np.ndarray) -> np.ndarray:
    """The columns of a line-wise mask as booleans; every row must be the same."""
    assert (mask == mask[:1]).all()
    return np.asarray(mask[0])


@pytest.mark.parametrize("acceleration", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("offset", [0, 1, 5, 1234567])
def test_uniform_takes_every_nth_column_and_the_centre(acceleration: int, offset: int) -> None:
    taken = columns(masks.uniform(SHAPE, acceleration, acs=20, offset=offset))
    assert taken[54:74].all()
    outside = np.flatnonzero(np.delete(taken, np.s_[54:74]))
    every = np.arange(128) % acceleration == offset % acceleration
    np.testing.assert_array_equal(outside, np.flatnonzero(np.delete(every, np.s_[54:74])))


@pytest.mark.parametrize("size", [31, 32])
@pytest.mark.parametrize("width", [0, 1, 8, 9, 64])
def test_the_centre_block_lies_about_the_zero_frequency_and_stays_inside(
    size: int, width: int
) -> None:
    block = masks.centre_block(size, width)
    assert block.stop - block.start == min(width, size)
    if width:
        assert block.start <= size // 2 < block.stop


@pytest.mark.parametrize("acceleration", [1.0, 2.5, 4.0, 6.0])
def test_variable_density_takes_the_number_of_columns_asked_for(acceleration: float) -> None:
    taken = columns(masks.variable_density(SHAPE, acceleration, acs=12, seed=1))
    assert taken.sum() == round(128 / acceleration)
    assert taken[58:70].all()


def test_variable_density_takes_the_centre_alone_where_that_is_more_than_asked_for() -> None:
    assert columns(masks.variable_density(SHAPE, 16, acs=24)).sum() == 24
    assert masks.variable_density(SHAPE, 4, acs=500).all()


def test_variable_density_falls_outward_as_the_power_says() -> None:
    """Averaged over seeds: denser near the centre for a power of 2, everywhere alike for 0."""
    thirds = {}
    for power in (0.0, 2.0):
        mean = np.mean(
            [columns(masks.variable_density(SHAPE, 4, 8, seed, power)) for seed in range(300)], 0
        )
        distance = np.abs(np.arange(128) - 64)
        thirds[power] = [
            mean[(distance > low) & (distance <= low + 20)].mean() for low in (4, 24, 44)
        ]
    assert thirds[2.0][0] > 2 * thirds[2.0][1] > 4 * thirds[2.0][2]
    np.testing.assert_allclose(thirds[0.0], thirds[0.0][1], atol=0.03)


@pytest.mark.parametrize("draw", [masks.uniform, masks.variable_density])
def test_nothing_is_sampled_outside_the_acquired_columns(draw: object) -> None:
    taken = columns(draw(SHAPE, 3, 16, acquired=slice(20, 108)))  # type: ignore[operator]
    assert not taken[:20].any()
    assert not taken[108:].any()
    assert taken[56:72].all()


def test_variable_density_counts_over_the_acquired_columns() -> None:
    assert columns(masks.variable_density(SHAPE, 4, 12, acquired=slice(20, 108))).sum() == 22


@pytest.mark.parametrize("acceleration", [3.0, 4.0, 6.0, 10.0])
@pytest.mark.parametrize("shape", [(96, 128), (181, 151)])
@pytest.mark.parametrize("slope", [0.5, 2.0, 6.0])
def test_poisson_disc_meets_the_acceleration_to_three_percent(
    acceleration: float, shape: tuple[int, int], slope: float
) -> None:
    mask = masks.poisson_disc(shape, acceleration, acs=16, seed=5, slope=slope)
    assert mask.size / mask.sum() == pytest.approx(acceleration, rel=0.03)
    assert mask[shape[0] // 2 - 8 : shape[0] // 2 + 8, shape[1] // 2 - 8 : shape[1] // 2 + 8].all()


@pytest.mark.parametrize("seed", [0, 1])
def test_poisson_disc_keeps_its_distances_and_leaves_no_room(seed: int) -> None:
    """There is one radius `s (1 + slope |k|)` such that no two samples are nearer and no free place
    is as far from all.
    """
    shape = (48, 64)
    mask = masks.poisson_disc(shape, 4, acs=0, seed=seed, slope=2.0)
    y, x = np.meshgrid(*[(np.arange(n) - n // 2) / (n / 2) for n in shape], indexing="ij")
    growth = 1 + 2 * np.hypot(y, x)
    inside = np.hypot(y, x) <= 1
    assert not mask[~inside].any()
    points, free = np.argwhere(mask), np.argwhere(inside & ~mask)
    between = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(len(points))
    smaller = np.minimum(growth[mask][:, None], growth[mask][None])
    kept = (between / smaller).min()
    nearest = np.linalg.norm(free[:, None] - points[None], axis=-1).min(1)
    left = (nearest / growth[inside & ~mask]).max()
    assert left < kept


def test_poisson_disc_is_denser_inside_and_the_more_so_the_steeper() -> None:
    ratios = []
    y, x = np.meshgrid(*[(np.arange(n) - n // 2) / (n / 2) for n in SHAPE], indexing="ij")
    radius = np.hypot(y, x)
    for slope in (0.0, 2.0, 6.0):
        mask = masks.poisson_disc(SHAPE, 6, acs=0, seed=0, slope=slope)
        ratios.append(mask[radius < 0.4].mean() / mask[(radius > 0.6) & (radius < 1)].mean())
    assert ratios[0] == pytest.approx(1, abs=0.15)
    assert ratios[0] < ratios[1] < ratios[2]


@pytest.mark.parametrize("draw", [masks.variable_density, masks.poisson_disc])
def test_the_seed_decides_the_pattern(draw: object) -> None:
    first, again, other = (draw(SHAPE, 4, 12, seed) for seed in (3, 3, 4))  # type: ignore[operator]
    assert first.tobytes() == again.tobytes()
    assert (first != other).mean() > 0.1


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("fraction", [0.5, 5 / 8, 1.0])
def test_partial_fourier_takes_the_first_share_of_one_axis(axis: int, fraction: float) -> None:
    mask = np.moveaxis(masks.partial_fourier(SHAPE, fraction, axis), axis, 0)
    assert mask[: int(fraction * len(mask))].all()
    assert not mask[int(fraction * len(mask)) :].any()


@pytest.mark.parametrize("shape", [(16, 20), (15, 21), (15, 20), (1, 9)])
def test_all_of_a_full_mask_is_its_fully_sampled_centre(shape: tuple[int, int]) -> None:
    assert masks.fully_sampled_centre(np.ones(shape, bool)) == (
        slice(0, shape[0]),
        slice(0, shape[1]),
    )


@pytest.mark.parametrize("shape", [(96, 128), (95, 127)])
def test_the_fully_sampled_centre_is_found_in_lines_and_in_a_disc_pattern(
    shape: tuple[int, int],
) -> None:
    lines = masks.uniform(shape, 4, acs=20)
    rows, along = masks.fully_sampled_centre(lines)
    assert (rows.start, rows.stop) == (0, shape[0])
    assert lines[rows, along].all()
    assert 20 <= along.stop - along.start <= 22
    disc = masks.poisson_disc(shape, 8, acs=16, seed=2)
    rows, along = masks.fully_sampled_centre(disc)
    assert disc[rows, along].all()
    assert min(rows.stop - rows.start, along.stop - along.start) >= 16


def test_an_unsampled_centre_gives_no_block() -> None:
    rows, along = masks.fully_sampled_centre(np.zeros((10, 12), bool))
    assert (rows.stop - rows.start) * (along.stop - along.start) == 0


def test_numbers_out_of_range_are_refused() -> None:
    for draw in (masks.uniform, masks.variable_density, masks.poisson_disc):
        with pytest.raises(SettingError, match="at least 1"):
            draw(SHAPE, 0)
    for fraction in (0.4, 1.1):
        with pytest.raises(SettingError, match=r"between 0\.5 and 1"):
            masks.partial_fourier(SHAPE, fraction)
