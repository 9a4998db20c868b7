from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from veridical.errors import GeometryError, InputError
from veridical.metrics.interval_score import interval_score
from veridical.metrics.interval_width import interval_width
from veridical.metrics.rank_uniformity import rank_histogram, rank_uniformity
from veridical.types import Array, Interval

SHAPE = (1, 20, 20, 10)


def band(lower: Array | float, upper: Array | float, level: float = 0.9) -> Interval:
    return Interval(np.full(SHAPE, lower), np.full(SHAPE, upper), level, 20, "given", "nothing")


@pytest.fixture
def truth() -> Array:
    return np.random.default_rng(0).normal(size=SHAPE)


def test_the_width_is_the_mean_over_the_voxels_that_count(truth: Array) -> None:
    upper = np.ones(SHAPE)
    upper[:, :10] = 3.0
    mask = np.zeros(SHAPE[1:], bool)
    mask[:10] = True
    assert interval_width(band(0.0, upper), truth) == 2.0
    assert interval_width(band(0.0, upper), truth, mask=mask) == 3.0


def test_the_score_is_winklers(truth: Array) -> None:
    """Inside: the width. Outside by d: the width and 2 / (1 - level) times d."""
    for value, score in (
        (0.5, 1.0),
        (0.0, 1.0),
        (1.0, 1.0),
        (1.25, 1 + 20 * 0.25),
        (-0.5, 1 + 20 * 0.5),
    ):
        assert interval_score(band(0.0, 1.0), np.full(SHAPE, value)) == pytest.approx(score)
    assert interval_score(band(0.0, 1.0, 0.5), np.full(SHAPE, 2.0)) == pytest.approx(1 + 4)


def test_the_true_quantiles_have_the_least_score(truth: Array) -> None:
    """Its expectation for N(0, 1) at 90 % is 2 z + 40 (phi(z) - 0.05 z) = 4.1254."""
    z = stats.norm.ppf(0.95)
    right = interval_score(band(-z, z), truth)
    assert right == pytest.approx(2 * z + 40 * (stats.norm.pdf(z) - 0.05 * z), abs=0.1)
    for lower, upper in (
        (-1.2 * z, 1.2 * z),
        (-0.8 * z, 0.8 * z),
        (-z + 0.4, z + 0.4),
        (-z, 2 * z),
    ):
        assert interval_score(band(lower, upper), truth) > right


def test_bounds_that_cross_are_refused(truth: Array) -> None:
    for metric in (interval_width, interval_score):
        with pytest.raises(InputError, match="interchanged"):
            metric(band(1.0, 0.0), truth)


def test_calibrated_draws_have_a_flat_histogram() -> None:
    rng = np.random.default_rng(0)
    centre = rng.normal(0, 5, SHAPE)
    truth, draws = centre + rng.normal(size=SHAPE), centre + rng.normal(size=(9, *SHAPE))
    counts = rank_histogram(draws, truth)
    assert len(counts) == 10
    assert counts.sum() == truth.size
    assert stats.chisquare(counts).pvalue > 0.01
    assert rank_uniformity(draws, truth) == pytest.approx(0.4 * np.sqrt(9 / truth.size), rel=0.8)


@pytest.mark.parametrize(
    ("spread", "shift", "highest"),
    [(0.3, 0.0, {0, 9}), (3.0, 0.0, {4, 5}), (1.0, 2.0, {0}), (1.0, -2.0, {9})],
)
def test_the_histogram_tells_too_alike_too_different_and_biased(
    spread: float, shift: float, highest: set[int]
) -> None:
    rng = np.random.default_rng(0)
    truth, draws = rng.normal(size=SHAPE), shift + spread * rng.normal(size=(9, *SHAPE))
    counts = rank_histogram(draws, truth)
    assert set(np.argsort(counts)[-len(highest) :]) == highest
    assert rank_uniformity(draws, truth) > 0.2


def test_the_value_is_the_share_of_voxels_in_the_wrong_rank() -> None:
    """Truth below all of 4 draws everywhere: 4 of 5 voxels should be in other ranks."""
    assert rank_uniformity(np.ones((4, *SHAPE)), np.zeros(SHAPE)) == pytest.approx(0.8)
    truth = np.arange(np.prod(SHAPE), dtype=float).reshape(SHAPE)
    assert rank_histogram(np.stack([truth - 1, truth - 1, truth + 1]), truth).tolist() == [
        0,
        0,
        truth.size,
        0,
    ]


def test_ties_are_broken_by_chance_and_by_the_seed_alone() -> None:
    zero = np.zeros(SHAPE)
    counts = rank_histogram(np.zeros((9, *SHAPE)), zero)
    assert stats.chisquare(counts).pvalue > 0.01
    assert counts.tolist() == rank_histogram(np.zeros((9, *SHAPE)), zero).tolist()
    assert counts.tolist() != rank_histogram(np.zeros((9, *SHAPE)), zero, seed=1).tolist()
    assert rank_uniformity(np.zeros((9, *SHAPE)), zero) < 0.05


def test_ranks_do_not_depend_on_units_or_the_order_of_draws_and_count_inside_the_mask() -> None:
    rng = np.random.default_rng(0)
    truth, draws = rng.normal(size=SHAPE), rng.normal(size=(5, *SHAPE))
    mask = rng.random(SHAPE[1:]) < 0.3
    counts = rank_histogram(draws, truth, mask=mask)
    assert counts.sum() == mask.sum()
    assert counts.tolist() == rank_histogram(np.exp(draws[::-1]), np.exp(truth), mask=mask).tolist()


def test_one_draw_other_shapes_and_nan_are_refused(truth: Array) -> None:
    with pytest.raises(InputError, match="at least two"):
        rank_histogram(truth[None], truth)
    with pytest.raises(GeometryError):
        rank_histogram(np.zeros((5, 1, 20, 20, 9)), truth)
    broken = np.zeros((5, *SHAPE))
    broken[2, 0, 3, 3, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        rank_uniformity(broken, truth)
