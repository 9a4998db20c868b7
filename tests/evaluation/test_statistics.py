from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtr, stdtrit

from veridical.errors import InputError, SettingError
from veridical.evaluation.statistics import (
    SAME,
    Resamples,
    bca,
    benjamini_hochberg,
    bootstrap,
    holm,
    p_value,
    paired_difference,
)
from veridical.types import Array

BENJAMINI_1995 = [
    0.0001,
    0.0004,
    0.0019,
    0.0095,
    0.0201,
    0.0278,
    0.0298,
    0.0344,
    0.0459,
    0.3240,
    0.4262,
    0.5719,
    0.6528,
    0.7590,
    1,
]
"""The fifteen p-values of Benjamini and Hochberg 1995, section 3.2; adjusted by statsmodels 0.15.0.
"""
HOLM_ADJUSTED = [
    0.0015,
    0.0056,
    0.0247,
    0.114,
    0.2211,
    0.278,
    0.278,
    0.278,
    0.3213,
    1,
    1,
    1,
    1,
    1,
    1,
]
FDR_ADJUSTED = [
    0.0015,
    0.003,
    0.0095,
    0.035625,
    0.0603,
    0.06385714,
    0.06385714,
    0.0645,
    0.0765,
    0.486,
    0.58118182,
    0.714875,
    0.75323077,
    0.81321429,
    1,
]


def names(count: int) -> list[str]:
    return [f"p{i:03d}" for i in range(count)]


def median(x: Array) -> Array:
    return np.asarray(np.median(x, axis=-1))


def test_holm_and_benjamini_hochberg_equal_the_published_example() -> None:
    np.testing.assert_allclose(holm(BENJAMINI_1995), HOLM_ADJUSTED, atol=1e-8)
    np.testing.assert_allclose(benjamini_hochberg(BENJAMINI_1995), FDR_ADJUSTED, atol=1e-8)
    assert sum(p <= 0.05 for p in holm(BENJAMINI_1995)) == 3
    assert sum(p <= 0.05 for p in benjamini_hochberg(BENJAMINI_1995)) == 4


def test_corrections_keep_the_order_given_and_ties() -> None:
    p = [0.04, 0.01, 0.03, 0.005, 0.03]
    assert holm(p) == pytest.approx([0.09, 0.04, 0.09, 0.025, 0.09])
    assert benjamini_hochberg(p) == pytest.approx([0.04, 0.025, 0.0375, 0.025, 0.0375])
    assert holm([]) == benjamini_hochberg([]) == []
    assert holm([0.03]) == benjamini_hochberg([0.03]) == [0.03]


def widened(level: float, n: int) -> float:
    """The level of the normal bootstrap that `level` is for n patients, by Hesterberg's
    widening.
    """
    return float(2 * ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2)) - 1)


@pytest.mark.parametrize("statistic", [None, median])
@pytest.mark.parametrize("n", [8, 25, 60])
def test_the_interval_is_scipys_bca_at_the_widened_level(n: int, statistic: object) -> None:
    x = np.random.default_rng(n).lognormal(size=n)
    chosen = {} if statistic is None else {"statistic": median}
    ours = bca(bootstrap(x, names(n), resamples=20_000, **chosen))  # type: ignore[arg-type]
    theirs = stats.bootstrap(
        (x,),
        np.mean if statistic is None else np.median,
        n_resamples=20_000,
        confidence_level=widened(0.95, n),
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    spread = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.1 * spread)


def test_from_the_same_resamples_the_interval_equals_scipys() -> None:
    x = np.random.default_rng(3).gamma(2, size=30)
    resamples = bootstrap(x, names(30))
    given_ = stats.bootstrap(
        (x,), np.mean, n_resamples=2, method="percentile", rng=np.random.default_rng(0)
    )
    given_.bootstrap_distribution = resamples.values
    theirs = stats.bootstrap(
        (x,),
        np.mean,
        n_resamples=0,
        confidence_level=widened(0.9, 30),
        method="BCa",
        bootstrap_result=given_,
    ).confidence_interval
    assert bca(resamples, 0.9) == pytest.approx((theirs.low, theirs.high), rel=0.01)


@pytest.mark.parametrize(
    ("kind", "n", "low", "high"), [("normal", 10, 0.90, 0.98), ("lognormal", 40, 0.86, 0.96)]
)
def test_coverage_is_near_nominal(kind: str, n: int, low: float, high: float) -> None:
    """Wide limits, for 400 repeats: benchmarks/bootstrap_coverage.py measures it."""
    rng = np.random.default_rng(0)
    truth = 0.0 if kind == "normal" else float(np.exp(0.5))
    inside = 0
    for repeat in range(400):
        found = bca(bootstrap(getattr(rng, kind)(size=n), names(n), resamples=500, seed=repeat))
        assert found is not None
        inside += found[0] <= truth <= found[1]
    assert low < inside / 400 < high


samples = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=5, max_size=30).filter(
    lambda x: np.ptp(x) > 1
)


@settings(max_examples=60, deadline=None)
@given(samples, st.floats(-150, 150), st.sampled_from(["higher", "lower"]))
def test_the_p_value_and_the_interval_say_the_same(
    x: list[float], limit: float, better: str
) -> None:
    resamples = bootstrap(np.array(x), names(len(x)), resamples=500)
    found = bca(resamples)
    assert found is not None
    clears = found[0] > limit if better == "higher" else found[1] < limit
    p = p_value(resamples, limit, better)  # type: ignore[arg-type]
    if abs(p - 0.025) > 1e-9 and (len(x) > 5 or not clears):
        assert clears == (p < 0.025)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("n", [6, 12, 50])
def test_at_the_bound_of_an_interval_the_p_value_is_its_level(n: int, level: float) -> None:
    for seed in range(5):
        resamples = bootstrap(np.random.default_rng(seed).lognormal(size=n), names(n))
        low, high = bca(resamples, level) or (0.0, 0.0)
        near, alpha = 1e-6 * (high - low), (1 - level) / 2
        assert (
            p_value(resamples, low - near, "higher")
            <= alpha + 1e-6
            <= p_value(resamples, low + near, "higher") + 2e-6
        )
        assert (
            p_value(resamples, high + near, "lower")
            <= alpha + 1e-6
            <= p_value(resamples, high - near, "lower") + 2e-6
        )


@settings(max_examples=40, deadline=None)
@given(samples, st.floats(-300, 300), st.floats(0, 50))
def test_a_harder_limit_never_has_a_smaller_p_value(
    x: list[float], limit: float, more: float
) -> None:
    resamples = bootstrap(np.array(x), names(len(x)), resamples=300)
    assert p_value(resamples, limit, "higher") <= p_value(resamples, limit + more, "higher") + 1e-12
    assert p_value(resamples, limit, "lower") >= p_value(resamples, limit + more, "lower") - 1e-12


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(5, 40), st.floats(0.01, 100), st.floats(-100, 100))
def test_interval_and_p_value_follow_a_change_of_units_and_of_direction(
    seed: int, n: int, scale: float, shift: float
) -> None:
    x = np.random.default_rng(seed).lognormal(size=n)
    plain, moved = (
        bootstrap(x, names(n), resamples=300),
        bootstrap(shift - scale * x, names(n), resamples=300),
    )
    limit = 0.9 * float(x.mean()) + 0.123
    low, high = bca(plain) or (0.0, 0.0)
    assert bca(moved) == pytest.approx(
        (shift - scale * high, shift - scale * low), rel=1e-6, abs=1e-6
    )
    assert p_value(moved, shift - scale * limit, "lower") == pytest.approx(
        p_value(plain, limit, "higher"), rel=1e-4
    )


def test_the_same_seed_gives_the_same_resamples_whatever_the_values() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 12))
    a, b = (bootstrap(values, names(12), seed=5) for values in (x, y))
    difference = bootstrap(x - y, names(12), seed=5)
    paired = paired_difference(a, b)
    np.testing.assert_allclose(paired.values, difference.values, atol=1e-12)
    np.testing.assert_allclose(paired.influence, difference.influence, atol=1e-12)
    assert not np.array_equal(bootstrap(x, names(12), seed=6).values, a.values)


def test_the_order_of_the_cases_does_not_matter() -> None:
    x = np.random.default_rng(0).normal(size=20)
    patients = [f"p{i // 2}" for i in range(20)]
    shuffled = np.random.default_rng(1).permutation(20)
    one, other = bootstrap(x, patients), bootstrap(x[shuffled], [patients[i] for i in shuffled])
    np.testing.assert_allclose(np.sort(one.values), np.sort(other.values))
    assert bca(one) == pytest.approx(bca(other))


def test_all_cases_of_a_patient_come_along_so_that_copies_make_nothing_surer() -> None:
    x = np.random.default_rng(0).normal(size=15)
    once = bca(bootstrap(x, names(15)))
    copied = bca(bootstrap(np.repeat(x, 10), [name for name in names(15) for _ in range(10)]))
    as_if_independent = bca(bootstrap(np.repeat(x, 10), names(150)))
    assert once == pytest.approx(copied)
    assert as_if_independent is not None
    assert once is not None
    assert as_if_independent[1] - as_if_independent[0] < 0.45 * (once[1] - once[0])


def test_patients_with_many_cases_weigh_more_and_resamples_have_their_own_length() -> None:
    patients = ["a", "b", "b", "c", "c", "c"]
    x = np.array([1.0, 10, 10, 100, 100, 100])
    lengths = bootstrap(
        x,
        patients,
        statistic=lambda v: np.full(v.shape[:-1], v.shape[-1], dtype=float),
        resamples=400,
    )
    assert set(lengths.values) == set(range(3, 10))
    found = bootstrap(x, patients, resamples=400)
    assert {1.0, 10.0, 100.0, round(111 / 3, 9)} & {round(v, 9) for v in found.values} == {
        1.0,
        10.0,
        100.0,
    }
    assert found.observed == pytest.approx(321 / 6)
    left_out = np.array([320 / 5, 301 / 4, 21 / 3])
    np.testing.assert_allclose(found.influence, left_out.mean() - left_out)


def test_each_stratum_keeps_its_number_of_patients() -> None:
    x = np.array([0.0] * 6 + [1.0] * 4)
    strata = ["A"] * 6 + ["B"] * 4
    assert set(bootstrap(x, names(10), strata).values) == {0.4}
    assert len(set(bootstrap(x, names(10)).values)) > 5


def test_a_difference_between_sites_is_no_uncertainty_within_them() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 20), rng.normal(10, 1, 20)])
    strata = ["A"] * 20 + ["B"] * 20
    within, across = (bca(bootstrap(x, names(40), s)) for s in (strata, None))
    assert within is not None
    assert across is not None
    assert within[1] - within[0] < 0.4 * (across[1] - across[0])


def test_patients_alone_in_their_stratum_are_drawn_together_and_do_not_seem_certain() -> None:
    x = np.random.default_rng(0).normal(size=8)
    every_one_its_own = bootstrap(x, names(8), names(8))
    np.testing.assert_allclose(
        np.sort(every_one_its_own.values), np.sort(bootstrap(x, names(8)).values)
    )
    assert bootstrap(x, names(8), ["A", "A", "A", "B", "B", "B", "B", "C"]).strata == 2


def test_medians_and_other_statistics_of_positions_are_resampled() -> None:
    x = np.random.default_rng(0).lognormal(size=50)
    y = x + np.random.default_rng(1).normal(0, 0.5, 50)

    def correlation(index: Array) -> Array:
        a, b = (v[index] - v[index].mean(axis=-1, keepdims=True) for v in (x, y))
        return np.asarray((a * b).sum(axis=-1) / np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1)))

    found = bootstrap(np.arange(50), names(50), statistic=correlation)
    low, high = bca(found) or (0.0, 0.0)
    assert found.observed == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert low < found.observed < high < 1
    assert bca(bootstrap(x, names(50), statistic=median)) is not None


def test_no_interval_of_one_patient_of_equal_values_or_of_values_that_are_not_finite() -> None:
    one = bootstrap(np.array([1.0, 2.0]), ["a", "a"])
    same = bootstrap(np.full(10, 0.7), names(10))
    infinite = bootstrap(np.array([np.inf, *np.arange(9.0)]), names(10))
    for found, reason in ((one, "One patient"), (same, "same value"), (infinite, "not finite")):
        assert bca(found) is None
        assert reason in found.absent
    assert p_value(one, 0.0, "higher") == p_value(infinite, 0.0, "higher") == 1.0


def test_equal_values_count_as_in_a_sign_test() -> None:
    found = {n: bootstrap(np.full(n, 0.75), names(n)) for n in (5, 8, 40)}
    assert found[5].absent == SAME
    assert p_value(found[5], 0.5, "higher") == 0.5**5
    assert p_value(found[8], 0.5, "higher") == 0.5**8
    assert p_value(found[40], 0.5, "higher") == 1 / 2001
    assert p_value(found[40], 0.75, "higher") == p_value(found[40], 0.75, "lower") == 1.0
    assert p_value(found[40], 0.5, "lower") == 1.0


def test_few_patients_are_never_sure_however_far_they_are_from_the_limit() -> None:
    far = bootstrap(np.array([9.9, 10.0, 10.1, 10.05, 9.95]), names(5))
    assert p_value(far, 0.0, "higher") == 0.5**5
    assert p_value(far, 20.0, "lower") == 0.5**5


def test_resamples_in_which_the_statistic_is_not_defined_are_left_out_while_they_are_few() -> None:
    truth = np.arange(40) < 3

    def share_of_positive(index: Array) -> Array:
        count = truth[index].sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(index.sum(axis=-1) * (count > 0) / (count > 0))

    found = bootstrap(np.arange(40), names(40), statistic=share_of_positive)
    assert 0 < np.isnan(found.values).sum() < 0.06 * 2000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (bca(found) is None) == (np.isnan(found.values).mean() > 0.05)


def test_where_all_resamples_lie_on_one_side_the_percentile_interval_is_given() -> None:
    values = np.linspace(1, 2, 1001)
    found = bca(Resamples(0.0, values, np.array([-3.0, 1, 1, 1]), 1), 0.8)
    assert found is not None
    level = widened(0.8, 4)
    assert found == pytest.approx(tuple(np.quantile(values, ((1 - level) / 2, (1 + level) / 2))))


def test_wrong_lengths_no_case_two_strata_and_no_resample_are_refused() -> None:
    x = np.arange(4.0)
    with pytest.raises(InputError, match="expected one of each a case"):
        bootstrap(x, names(3))
    with pytest.raises(InputError, match="no case"):
        bootstrap(x[:0], [])
    with pytest.raises(InputError, match="belongs to one"):
        bootstrap(x, ["a", "a", "b", "c"], ["A", "B", "A", "A"])
    with pytest.raises(SettingError, match="resamples"):
        bootstrap(x, names(4), resamples=0)
