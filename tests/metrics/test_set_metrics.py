"""Metrics over sets of features: published values, other implementations, and what resampling them
must keep.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import linalg

from veridical import registry
from veridical.errors import BudgetError, GeometryError, InputError, SettingError
from veridical.metrics import feature_sets, kernels, neighbours
from veridical.metrics.classifier_two_sample import classifier_two_sample
from veridical.metrics.density import density
from veridical.metrics.frechet import frechet, frechet_gaussian
from veridical.metrics.kid import kid
from veridical.metrics.manifold_coverage import manifold_coverage
from veridical.metrics.mmd import mmd
from veridical.metrics.precision import precision
from veridical.metrics.recall import recall

SETS = [
    "frechet",
    "kid",
    "mmd",
    "precision",
    "recall",
    "density",
    "manifold-coverage",
    "classifier-two-sample",
]


def normal(seed: int, n: int, d: int, mean: float = 0.0, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, spread, (n, d))


def by_square_root(x: np.ndarray, y: np.ndarray) -> float:
    """The formula as it is written, with scipy's matrix square root."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return float(
        ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    )


def test_frechet_between_two_gaussians_is_the_published_value() -> None:
    eye = np.eye(8)
    assert frechet_gaussian(np.zeros(8), eye, np.ones(8), 4 * eye) == pytest.approx(16, abs=1e-9)
    singular = np.diag([1.0, 4.0, 0.0])
    assert frechet_gaussian(np.zeros(3), singular, np.ones(3), 4 * singular) == pytest.approx(
        3 + 5, abs=1e-9
    )


@pytest.mark.parametrize("n", [20, 200])
def test_frechet_of_a_set_with_itself_is_0(n: int) -> None:
    x = normal(0, n, 64)
    assert frechet(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet(x, x[::-1]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("n", "m", "d"), [(300, 200, 40), (100, 90, 40), (60, 200, 100), (200, 60, 100)]
)
def test_frechet_equals_the_matrix_square_root(n: int, m: int, d: int) -> None:
    x, y = normal(0, n, d, 0.2, 1.5), normal(1, m, d)
    if min(n, m) < d:
        # The product is singular: its square root exists in the limit of a little noise only.
        a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        values = np.linalg.eigvals(a @ b).real
        expected = float(
            ((x.mean(0) - y.mean(0)) ** 2).sum()
            + np.trace(a + b)
            - 2 * np.sqrt(values.clip(0)).sum()
        )
    else:
        expected = by_square_root(x, y)
    assert frechet(x, y) == pytest.approx(expected, rel=1e-5)
    assert frechet(x, y) == pytest.approx(frechet(y, x), rel=1e-9)


def test_frechet_takes_features_that_do_not_vary() -> None:
    x, y = normal(0, 100, 6), normal(1, 100, 6, 0.5)
    plain = frechet(x, y)
    x, y = (np.concatenate([rows, np.zeros((100, 2)), rows[:, :1]], 1) for rows in (x, y))
    assert frechet(x, y) > plain
    assert frechet(x, x) == pytest.approx(0, abs=1e-6)


def test_kid_equals_torchmetrics_on_the_whole_set() -> None:
    from torchmetrics.image.kid import poly_mmd

    x, y = normal(0, 70, 30, 0.3), normal(1, 70, 30)
    expected = float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y)))
    assert kid(x, y) == pytest.approx(expected, rel=1e-10)


def test_kid_and_mmd_are_unbiased_at_few_rows() -> None:
    for metric in (kid, mmd):
        found = [
            metric(normal(2 * seed, 12, 5), normal(2 * seed + 1, 15, 5)) for seed in range(400)
        ]
        assert abs(np.mean(found)) < 3 * np.std(found) / 20


def test_mmd_of_blocks_is_the_sum_over_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "BLOCK", 7)
    x, y = normal(0, 30, 4), normal(1, 25, 4, 0.5)
    distances = [((a[:, None] - b) ** 2).sum(-1) for a, b in ((x, x), (y, y), (x, y))]
    pairs = distances[1][np.triu_indices(25, 1)]
    width = float(np.sqrt(np.sort(pairs)[(len(pairs) - 1) // 2]))
    k = [np.exp(-each / (2 * width**2)) for each in distances]
    expected = (k[0].sum() - 30) / (30 * 29) + (k[1].sum() - 25) / (25 * 24) - 2 * k[2].mean()
    assert mmd(x, y) == pytest.approx(expected, rel=1e-10)
    assert mmd(x, y, bandwidth=width) == pytest.approx(expected, rel=1e-10)


def test_mmd_sees_a_change_of_spread_that_a_linear_kernel_misses() -> None:
    from monai.metrics.mmd import MMDMetric

    x, y = normal(0, 100, 8, spread=2.0), normal(1, 100, 8)
    x, y = x - x.mean(0), y - y.mean(0)

    def linear(candidate: np.ndarray, reference: np.ndarray) -> float:
        return float(MMDMetric()(torch.from_numpy(reference), torch.from_numpy(candidate)))

    both, rng = np.concatenate([x, y]), np.random.default_rng(0)
    orders = [rng.permutation(200) for _ in range(100)]
    assert (
        np.mean([linear(both[order[:100]], both[order[100:]]) >= linear(x, y) for order in orders])
        > 0.2
    )
    assert feature_sets.permutation_p("mmd", x, y, permutations=199) == 1 / 200


@pytest.mark.parametrize(("n", "m", "d", "nearest"), [(80, 60, 3, 5), (50, 90, 40, 3)])
def test_precision_recall_density_and_coverage_equal_prdc(
    n: int, m: int, d: int, nearest: int
) -> None:
    from prdc import compute_prdc

    x, y = normal(0, n, d, 0.3, 0.9), normal(1, m, d)
    expected = compute_prdc(y, x, nearest)
    assert precision(x, y, nearest=nearest) == pytest.approx(expected["precision"], abs=1e-12)
    assert recall(x, y, nearest=nearest) == pytest.approx(expected["recall"], abs=1e-12)
    assert density(x, y, nearest=nearest) == pytest.approx(expected["density"], abs=1e-12)
    assert manifold_coverage(x, y, nearest=nearest) == pytest.approx(
        expected["coverage"], abs=1e-12
    )


def test_counts_hold_to_double_precision_where_single_is_blind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 64)
    # One feature is so large that single precision cannot order the distances that it leaves.
    x, y = normal(0, 150, 3), normal(1, 140, 3)
    far = np.repeat([0.0, 1e5], [75, 75])
    x, y = np.column_stack([x, far]), np.column_stack([y, far[5:145]])
    radii = np.sort(((y[:, None] - y) ** 2).sum(-1), axis=1)[:, 5]
    inside = ((x[:, None] - y) ** 2).sum(-1) < radii
    of_point, of_ball = neighbours.counted(x, y, 5)
    assert np.array_equal(of_point, inside.sum(1))
    assert np.array_equal(of_ball, inside.sum(0))


def test_the_nearest_th_neighbour_lies_outside_its_ball() -> None:
    y = np.arange(10.0)[:, None]
    assert neighbours.counted(y, y, 1)[0].tolist() == [1] * 10
    assert precision(np.zeros((9, 2)), np.zeros((9, 2))) == 0


def test_coverage_of_equal_sizes_is_1_less_a_power_of_two() -> None:
    found = [
        manifold_coverage(normal(2 * s, 300, 6), normal(2 * s + 1, 300, 6), nearest=3)
        for s in range(10)
    ]
    assert np.mean(found) == pytest.approx(1 - 2**-3, abs=0.02)


def test_real_against_real_has_precision_far_below_1() -> None:
    assert precision(normal(0, 400, 256), normal(1, 400, 256)) < 0.8


def test_the_classifier_is_at_chance_for_equal_sets_and_sure_for_distant_ones() -> None:
    found = [
        classifier_two_sample(normal(2 * s, 40, 100), normal(2 * s + 1, 40, 100)) for s in range(40)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=3 * np.std(found) / np.sqrt(40))
    assert classifier_two_sample(normal(0, 40, 100, 1.0), normal(1, 40, 100)) == 1
    assert classifier_two_sample(normal(0, 400, 10, 0.3), normal(1, 400, 10)) > 0.7


def test_the_classifier_holds_out_patients_and_not_rows() -> None:
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(20), 10)
    x, y = (
        np.repeat(rng.normal(size=(20, 50)), 10, 0) + 0.1 * rng.normal(size=(200, 50))
        for _ in range(2)
    )
    leaked = classifier_two_sample(x, y)
    honest = classifier_two_sample(x, y, candidate_groups=names, reference_groups=names + 20)
    assert leaked > 0.99
    assert honest < 0.75


def test_the_shrinkage_is_that_of_ledoit_and_wolf() -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage

    from veridical.metrics.classifier_two_sample import _shrinkage, _standardized

    for n, d in ((30, 100), (200, 20)):
        rows = _standardized(normal(0, n, d) @ normal(1, d, d))
        share = ledoit_wolf_shrinkage(rows)
        assert _shrinkage(rows) == pytest.approx(share / (1 - share), rel=1e-8)


@pytest.mark.parametrize("name", SETS)
def test_values_on_chosen_rows_are_the_metric_on_those_rows(name: str) -> None:
    x, y = normal(0, 30, 20, 0.2), normal(1, 34, 20)
    metric = registry.get("metric", name)
    pool, sides = feature_sets.pooled(x, y, None, None)
    value = feature_sets.prepared(name, pool)
    if name == "classifier-two-sample":
        assert value(*sides) == pytest.approx(metric(x, y), abs=1e-12)
        return
    width = (
        {"bandwidth": float(np.sqrt(np.median(neighbour_distances(y))))} if name == "mmd" else {}
    )
    rows = np.arange(3, 25), np.arange(32, 60)
    assert value(*rows) == pytest.approx(metric(x[3:25], y[2:30], **width), rel=1e-8, abs=1e-10)


def neighbour_distances(y: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs, one too few where the median would be a mean of two."""
    pairs = np.sort(((y[:, None] - y) ** 2).sum(-1)[np.triu_indices(len(y), 1)])
    return pairs[: len(pairs) - 1 + len(pairs) % 2]


@pytest.mark.parametrize("name", SETS)
def test_the_permutation_test_keeps_its_level(name: str) -> None:
    p = [
        feature_sets.permutation_p(
            name, normal(2 * s, 14, 4), normal(2 * s + 1, 16, 4), permutations=39, seed=s
        )
        for s in range(60)
    ]
    assert np.mean(np.array(p) <= 0.2) <= 0.2 + 2.6 * np.sqrt(0.16 / 60)


@pytest.mark.parametrize("name", SETS)
def test_the_permutation_test_sees_sets_apart(name: str) -> None:
    assert (
        feature_sets.permutation_p(name, normal(0, 30, 6, 1.5), normal(1, 30, 6), permutations=99)
        == 1 / 100
    )


def test_patients_are_exchanged_with_all_their_rows() -> None:
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(10), 8)
    x, y = (
        np.repeat(rng.normal(size=(10, 4)), 8, 0) + 0.05 * rng.normal(size=(80, 4))
        for _ in range(2)
    )
    assert feature_sets.permutation_p("mmd", x, y, permutations=99) == 1 / 100
    assert feature_sets.permutation_p("mmd", x, y, names, names + 10, permutations=99) > 0.05


def test_patients_in_both_sets_swap_their_rows() -> None:
    truth = normal(0, 30, 4)
    names = np.arange(30)
    biased = truth + 0.1
    assert (
        feature_sets.permutation_p("frechet", biased, truth, names, names, permutations=199)
        == 1 / 200
    )
    assert feature_sets.permutation_p("frechet", biased, truth, permutations=199) > 0.5


def test_halves_have_half_of_the_patients_and_all_their_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = np.repeat(np.arange(10), 3)
    x = np.arange(30.0)[:, None] + np.zeros(2)
    seen = []

    def prepared(metric: str, pool: feature_sets.Pool) -> feature_sets.Value:
        return lambda a, b: seen.append((pool.patients[a], pool.patients[b])) or 0.0  # type: ignore[func-returns-value]

    monkeypatch.setattr(feature_sets, "prepared", prepared)
    feature_sets.resampled("kid", x, x, names, names, resamples=5)
    for a, b in seen:
        assert np.array_equal(a, b)
        assert len(a) == 15
        assert set(np.unique(a, return_counts=True)[1]) == {3}
    seen.clear()
    feature_sets.split_floor("kid", x, names, repeats=5)
    assert all(len(a) == len(b) == 15 and not set(a) & set(b) for a, b in seen)
    seen.clear()
    feature_sets.split_values("kid", x, x, names, names + 7, size=6, repeats=20)
    assert all(len(a) == len(b) == 18 and not set(a) & set(b) for a, b in seen)
    seen.clear()
    feature_sets.jackknife("kid", x, x, names, names)
    assert [len(a) for a, _ in seen] == [27] * 10


@pytest.mark.parametrize("name", SETS)
def test_halves_spread_as_fresh_sets_do(name: str) -> None:
    metric = registry.get("metric", name)
    fresh = np.std(
        [metric(normal(2 * s, 40, 6, 0.5, 1.2), normal(2 * s + 1, 40, 6)) for s in range(150)]
    )
    half = np.mean(
        [
            feature_sets.resampled(
                name, normal(2 * s, 40, 6, 0.5, 1.2), normal(2 * s + 1, 40, 6), resamples=80
            ).std()
            for s in range(10)
        ]
    )
    assert 0.75 < half / fresh < 1.5


@pytest.mark.parametrize("name", ["frechet", "kid", "precision", "density"])
def test_intervals_hold_the_expected_value_at_this_size(name: str) -> None:
    metric = registry.get("metric", name)
    pairs = [(normal(2 * s, 30, 6, 0.4), normal(2 * s + 1, 30, 6)) for s in range(160)]
    expected = np.mean([metric(*pair) for pair in pairs])
    found = [feature_sets.interval(name, *pair, resamples=100) for pair in pairs[:60]]
    assert np.mean([low <= expected <= high for low, high in found]) >= 0.85


def test_a_share_of_1_has_an_interval() -> None:
    x = normal(0, 20, 3)
    low, high = feature_sets.interval("manifold-coverage", 0.9 * x, x, resamples=50)
    assert manifold_coverage(0.9 * x, x) == high == 1
    assert 0.5 < low < 0.9


def test_an_interval_grows_with_its_level_and_with_rows_of_the_same_patient() -> None:
    x, y = normal(0, 30, 4, 0.4), normal(1, 30, 4)
    names = np.arange(30)
    wide, narrow = (
        np.ptp(feature_sets.interval("kid", x, y, level=level)) for level in (0.99, 0.8)
    )
    assert wide > 1.5 * narrow
    again = [np.repeat(rows, 4, 0) for rows in (x, y)]
    patients = [np.repeat(who, 4) for who in (names, names + 30)]
    assert feature_sets.standard_error("kid", *again) < 0.7 * feature_sets.standard_error(
        "kid", *again, *patients
    )


def test_the_whole_value_is_the_metric_with_patients_held_out_together() -> None:
    x, y = normal(0, 30, 4, 0.4), normal(1, 30, 4)
    names = np.repeat(np.arange(10), 3)
    assert feature_sets.whole("kid", x, y) == pytest.approx(kid(x, y), rel=1e-9)
    expected = classifier_two_sample(x, y, candidate_groups=names, reference_groups=names + 10)
    assert feature_sets.whole("classifier-two-sample", x, y, names, names + 10) == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("name", SETS)
def test_the_same_seed_gives_the_same_values(name: str) -> None:
    x, y = normal(0, 24, 5), normal(1, 20, 5)
    first, again, other = (
        feature_sets.resampled(name, x, y, resamples=20, seed=s) for s in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_floor_is_what_equal_distributions_score_at_that_size() -> None:
    real = normal(0, 80, 16)
    floor = feature_sets.split_floor("frechet", real, size=30, repeats=40)
    fresh = [frechet(normal(2 * s, 30, 16), normal(2 * s + 1, 30, 16)) for s in range(40)]
    assert floor.mean() == pytest.approx(np.mean(fresh), rel=0.1)
    assert feature_sets.split_floor("frechet", real, repeats=20).mean() < floor.mean()


def test_what_cannot_be_done_is_refused() -> None:
    x, y = normal(0, 10, 3), normal(1, 10, 3)
    with pytest.raises(GeometryError):
        frechet(x, y[:, :2])
    with pytest.raises(GeometryError):
        frechet(x[0], y[0])
    with pytest.raises(GeometryError):
        frechet_gaussian(np.zeros(3), np.eye(2), np.zeros(3), np.eye(3))
    with pytest.raises(InputError):
        frechet_gaussian(np.zeros(2), np.array([[1, 1], [0, 1]]), np.zeros(2), np.eye(2))
    with pytest.raises(InputError):
        kid(x[:1], y)
    with pytest.raises(InputError):
        precision(x, y[:5])
    with pytest.raises(InputError):
        mmd(x, np.zeros((10, 3)))
    for wrong in (
        lambda: precision(x, y, nearest=0),
        lambda: mmd(x, y, bandwidth=0.0),
        lambda: classifier_two_sample(x, y, folds=1),
    ):
        with pytest.raises(SettingError):
            wrong()
    with pytest.raises(InputError):
        feature_sets.resampled("kid", x, y, np.arange(9), np.arange(10))
    with pytest.raises(InputError):
        feature_sets.resampled("kid", x, y, np.arange(10) % 4, np.arange(10))
    with pytest.raises(InputError):
        feature_sets.standard_error("kid", x[:7], y)
    with pytest.raises(SettingError):
        feature_sets.interval("kid", x, y, level=1.0)
    with pytest.raises(InputError):
        feature_sets.split_floor("kid", x, size=6)
    with pytest.raises(BudgetError):
        feature_sets.resampled("kid", np.zeros((6000, 1)), np.zeros((6000, 1)))
    for count, call in itertools.product(
        (0, -1), (feature_sets.resampled, feature_sets.permutation_p)
    ):
        with pytest.raises(SettingError):
            call("kid", x, y, None, None, count)
