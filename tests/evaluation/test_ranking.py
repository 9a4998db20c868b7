from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import InputError
from veridical.evaluation.ranking import rank
from veridical.types import Array

N = 30
PATIENTS = [f"p{i}" for i in range(N)]


@pytest.fixture
def scores() -> dict[str, Array]:
    """Case difficulty is shared; `good` is better by 0.05 on every case, give or take 0.02, `twin`
    is as `poor`.
    """
    rng = np.random.default_rng(0)
    case = rng.normal(0.7, 0.1, N)
    poor, twin, good = (case + rng.normal(by, 0.02, N) for by in (0, 0, 0.05))
    return {"poor": poor, "twin": twin, "good": good}


def test_a_small_difference_on_every_case_is_found_where_cases_differ_much_more(
    scores: dict[str, Array],
) -> None:
    found = rank("k", scores, PATIENTS, "higher")
    assert found.order[0] == "good"
    assert found.ranks["good"] == (1, 1)
    assert found.first["good"] == 1.0
    by_pair = {frozenset((d.first, d.second)): d for d in found.differences}
    clear = by_pair[frozenset(("good", "poor"))]
    assert clear.interval is not None
    assert 0.03 < clear.interval[0] < clear.value < clear.interval[1] < 0.07
    assert clear.p_adjusted < 0.01
    assert found.alike("good") == {}


def test_candidates_that_do_not_differ_are_not_told_apart_and_share_ranks(
    scores: dict[str, Array],
) -> None:
    found = rank("k", scores, PATIENTS, "higher")
    assert found.ranks["poor"] == found.ranks["twin"] == (2, 3)
    assert list(found.alike("poor")) == ["twin"]
    assert list(found.alike("twin")) == ["poor"]


def test_the_direction_turns_the_order(scores: dict[str, Array]) -> None:
    up, down = (rank("k", scores, PATIENTS, better) for better in ("higher", "lower"))  # type: ignore[arg-type]
    assert up.order == down.order[::-1]
    assert down.ranks["good"] == (3, 3)
    flipped = rank("k", {name: -values for name, values in scores.items()}, PATIENTS, "lower")
    assert flipped.order == up.order
    assert flipped.first == up.first


def test_differences_are_of_pairs_and_corrected_for_their_number(scores: dict[str, Array]) -> None:
    found = rank("k", scores, PATIENTS, "higher")
    for d in found.differences:
        assert d.value == pytest.approx(scores[d.first].mean() - scores[d.second].mean())
        assert d.value >= 0
        assert d.p <= d.p_adjusted <= 3 * d.p
        assert d.interval is not None
        assert (d.interval[0] > 0) == (d.p < 0.05)
    assert len(found.differences) == 3
    assert found.n == N


def test_equal_candidates_share_the_first_place_and_no_difference_is_claimed(
    scores: dict[str, Array],
) -> None:
    found = rank("k", {"a": scores["poor"], "b": scores["poor"].copy()}, PATIENTS, "higher")
    assert found.first == {"a": 0.5, "b": 0.5}
    assert found.ranks == {"a": (1, 1), "b": (1, 1)}
    assert (found.differences[0].value, found.differences[0].interval, found.differences[0].p) == (
        0.0,
        None,
        1.0,
    )


def test_the_shares_of_the_first_place_add_up_to_one_and_the_seed_decides(
    scores: dict[str, Array],
) -> None:
    near = {
        name: scores["poor"] + np.random.default_rng(i).normal(0, 0.05, N)
        for i, name in enumerate("abcd")
    }
    one, again, other = (rank("k", near, PATIENTS, "higher", seed=seed) for seed in (0, 0, 1))
    assert sum(one.first.values()) == pytest.approx(1)
    assert one == again
    assert one.first != other.first
    assert all(1 <= low <= high <= 4 for low, high in one.ranks.values())


def test_cases_of_one_patient_count_as_one(scores: dict[str, Array]) -> None:
    doubled = {name: np.repeat(values, 5) for name, values in scores.items()}
    once, often = (
        rank("k", scores, PATIENTS, "higher"),
        rank("k", doubled, list(np.repeat(PATIENTS, 5)), "higher"),
    )
    assert often.n == once.n
    assert often.first == pytest.approx(once.first)
    for a, b in zip(once.differences, often.differences, strict=True):
        assert b.interval == pytest.approx(a.interval)


def test_a_perfect_case_of_infinite_psnr_leaves_the_ranking_whole(scores: dict[str, Array]) -> None:
    perfect = scores["good"].copy()
    perfect[3] = np.inf
    found = rank("k", {**scores, "good": perfect}, PATIENTS, "higher")
    assert found.order[0] == "good"
    assert [d.interval for d in found.differences if "good" in (d.first, d.second)] == [None, None]


def test_one_candidate_or_other_cases_are_refused(scores: dict[str, Array]) -> None:
    with pytest.raises(InputError, match="two or more"):
        rank("k", {"a": scores["poor"]}, PATIENTS, "higher")
    with pytest.raises(InputError, match="same cases"):
        rank("k", {"a": scores["poor"], "b": scores["poor"][:-1]}, PATIENTS, "higher")


def test_the_best_in_every_resample_of_few_patients_is_not_told_apart_and_the_reason_is_said() -> (
    None
):
    few = np.linspace(0.6, 0.8, 4)
    found = rank("k", {"a": few + 0.05, "b": few}, PATIENTS[:4], "higher")
    assert found.first["a"] == 1.0
    assert list(found.alike("a")) == ["b"]
    assert "With 4 patients and 1 pair p cannot be below 0.12" in found.caveat("a")
    assert found.caveat("b") == ""


def test_a_caveat_names_p_where_patients_would_have_been_enough(scores: dict[str, Array]) -> None:
    near = {
        "a": scores["poor"] + np.random.default_rng(2).normal(0.02, 0.05, N),
        "b": scores["poor"],
    }
    found = rank("k", near, PATIENTS, "higher")
    assert found.first["a"] > 0.9
    assert f"p is {found.alike('a')['b']:.2g} after the correction for 1 pair" in found.caveat("a")
    assert rank("k", scores, PATIENTS, "higher").caveat("good") == ""
