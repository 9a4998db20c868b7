"""Updates that are garbage, scaled or turned are left out and named; honest ones are kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veridical.training.federation import Defence
from veridical.training.screening import Arrays, compared, mean, screened

WEIGHTS = {"a": np.zeros((20, 10), np.float32), "b": np.zeros(50, np.float32)}


def honest(seed: int, sites: int = 4, agreement: float = 0.6) -> dict[str, dict[str, np.ndarray]]:
    """Updates that share a direction, as those of sites do."""
    rng = np.random.default_rng(seed)
    common = {name: rng.standard_normal(one.shape) for name, one in WEIGHTS.items()}
    return {
        f"site-{number}": {
            name: (
                agreement * common[name] + (1 - agreement) * rng.standard_normal(one.shape)
            ).astype(np.float32)
            for name, one in WEIGHTS.items()
        }
        for number in range(sites)
    }


@given(st.integers(0, 1000), st.sampled_from([3, 4, 7]))
def test_honest_updates_are_all_kept(seed: int, sites: int) -> None:
    found = screened(honest(seed, sites), WEIGHTS, Defence())
    assert len(found.kept) == sites
    assert not found.left_out


@given(st.integers(0, 1000), st.sampled_from([-1.0, -2.0, 10.0, -10.0, 1e6]))
def test_one_poisoned_update_of_four_is_left_out_and_nobody_else(seed: int, factor: float) -> None:
    updates = honest(seed)
    updates["site-2"] = {name: factor * one for name, one in updates["site-2"].items()}
    found = screened(updates, WEIGHTS, Defence())
    assert list(found.left_out) == ["site-2"]
    assert found.left_out["site-2"].startswith("poison")
    assert found.kept == ("site-0", "site-1", "site-3")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda one: {**one, "a": one["a"] * np.nan}, "no finite number"),
        (lambda one: {**one, "a": one["a"] + np.inf}, "no finite number"),
        (lambda one: {**one, "a": one["a"].T}, r"expected \(20, 10\)"),
        (lambda one: {"a": one["a"]}, "other arrays"),
        (lambda one: {**one, "c": one["b"]}, "other arrays"),
        (lambda one: {**one, "b": np.array(["x"] * 50)}, "no finite number"),
        (lambda one: {}, "other arrays"),
    ],
)
def test_garbage_is_left_out_and_named_even_without_comparison(spoil: object, said: str) -> None:
    updates = honest(1)
    updates["site-0"] = spoil(updates["site-0"])  # type: ignore[operator]
    for defence in (Defence(), Defence(screen=False)):
        found = screened(updates, WEIGHTS, defence)
        assert list(found.left_out) == ["site-0"]
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(found.left_out["site-0"])


def test_of_two_updates_none_can_be_called_unlike_the_other() -> None:
    updates = honest(0, 2)
    updates["site-0"] = {name: -20 * one for name, one in updates["site-0"].items()}
    assert screened(updates, WEIGHTS, Defence()).kept == ("site-0", "site-1")


def test_an_update_of_nothing_but_zeros_is_no_division_by_zero() -> None:
    updates = honest(0)
    updates["site-1"] = {name: np.zeros_like(one) for name, one in WEIGHTS.items()}
    found = screened(updates, WEIGHTS, Defence())
    assert found.measured["site-1"].cosine == 0.0
    assert found.measured["site-1"].ratio == 0.0


def test_length_and_direction_are_those_of_a_known_example() -> None:
    measured = compared(
        {"a": np.array([3.0, 4.0]), "b": np.array([0.0, 1.0]), "c": np.array([0.0, 3.0])}
    )
    assert measured["a"].length == 5
    assert measured["a"].ratio == 2.5
    assert measured["a"].cosine == pytest.approx(0.8)


def test_the_mean_is_weighted_by_patients_of_which_nobody_has_too_many() -> None:
    updates: dict[str, Arrays] = {
        name: {"w": np.full(2, value, np.float32)}
        for name, value in (("a", 1.0), ("b", 2.0), ("c", 6.0))
    }
    assert mean(updates, {"a": 10, "b": 10, "c": 20})["w"] == pytest.approx(3.75)
    boasting = mean(updates, {"a": 10, "b": 10, "c": 10**9})["w"]
    assert boasting == pytest.approx((10 + 20 + 180) / 50)


def test_the_mean_is_that_of_flower() -> None:
    pytest.importorskip("flwr", reason="needs the extra federated")
    from flwr.app import ArrayRecord, MetricRecord, RecordDict
    from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

    updates, counts = honest(3), {"site-0": 5, "site-1": 9, "site-2": 7, "site-3": 8}
    records = [
        RecordDict(
            {
                "arrays": ArrayRecord([updates[name]["a"], updates[name]["b"]]),
                "metrics": MetricRecord({"num-examples": count}),
            }
        )
        for name, count in counts.items()
    ]
    theirs = aggregate_arrayrecords(records, "num-examples").to_numpy_ndarrays()
    ours = mean(updates, counts)
    np.testing.assert_allclose(ours["a"], theirs[0], atol=1e-6)
    np.testing.assert_allclose(ours["b"], theirs[1], atol=1e-6)
