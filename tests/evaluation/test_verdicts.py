from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veridical.evaluation.results import Endpoint
from veridical.evaluation.verdicts import RULES, conflicts, distances, judge, levels, normalised


def endpoint(
    key: str = "pixel/ssim/foreground", value: float | None = 0.9, **known: Any
) -> Endpoint:
    level, metric, region = key.split("/")
    known = {"better": "higher", "units": "1", **known}
    return Endpoint(key, level, metric, metric.upper(), region=region, value=value, **known)  # type: ignore[arg-type]


def primary(key: str, verdict: str = "pass", **known: Any) -> Endpoint:
    return endpoint(key, primary=True, verdict=verdict, limit=0.8, **known)


def test_a_score_is_one_at_the_floor_and_zero_at_the_baseline_whichever_way_is_better() -> None:
    for bad, floor, better in ((0.5, 0.95, "higher"), (40.0, 5.0, "lower")):
        for value, score in (
            (floor, 1.0),
            (bad, 0.0),
            ((bad + floor) / 2, 0.5),
            (2 * floor - bad, 2.0),
        ):
            found = normalised(endpoint(value=value, bad=bad, floor=floor, better=better))
            assert found.score == pytest.approx(score)


def test_the_interval_of_a_score_runs_from_worse_to_better() -> None:
    up = normalised(endpoint(value=0.8, interval=(0.7, 0.9), bad=0.5, floor=1.0))
    down = normalised(
        endpoint(value=10.0, interval=(8.0, 20.0), bad=30.0, floor=0.0, better="lower")
    )
    assert up.score_interval == pytest.approx((0.4, 0.8))
    assert down.score_interval == pytest.approx((1 / 3, 22 / 30))


@given(
    st.floats(-50, 50),
    st.floats(0.5, 50),
    st.floats(0.1, 20),
    st.floats(-100, 100),
    st.sampled_from([1.0, -1.0, 3.0, -0.2]),
)
def test_a_score_does_not_depend_on_units_or_direction(
    value: float, gap: float, spread: float, shift: float, scale: float
) -> None:
    plain = endpoint(value=value, interval=(value - spread, value + spread), bad=0.0, floor=gap)
    ends = sorted(scale * end + shift for end in (value - spread, value + spread))
    moved = endpoint(
        value=scale * value + shift,
        interval=(ends[0], ends[1]),
        bad=shift,
        floor=scale * gap + shift,
        better="higher" if scale > 0 else "lower",
    )
    one, other = normalised(plain), normalised(moved)
    if one.score is None or other.score is None:
        assert abs(gap) < 0.011 * abs(value - gap)
        return
    assert other.score == pytest.approx(one.score, rel=1e-6, abs=1e-6)
    assert other.score_interval == pytest.approx(one.score_interval, rel=1e-6, abs=1e-6)


def test_where_deviation_either_way_is_worse_the_distance_is_scored() -> None:
    bias = {"ideal": 0.0, "bad": 10.0, "floor": 1.0}
    over, under = (
        normalised(endpoint(value=v, interval=i, **bias))
        for v, i in ((4.0, (2.0, 6.0)), (-4.0, (-6.0, -2.0)))
    )
    assert over.score == under.score == pytest.approx(6 / 9)
    assert over.score_interval == under.score_interval == pytest.approx((4 / 9, 8 / 9))
    spanning = normalised(endpoint(value=1.0, interval=(-2.0, 4.0), **bias))
    assert spanning.score_interval == pytest.approx((6 / 9, 10 / 9))


def test_the_interval_of_a_distance_starts_at_nothing_where_it_spans_the_ideal() -> None:
    assert distances((-2.0, 5.0), 0.0) == (0.0, 5.0)
    assert distances((-5.0, -2.0), 0.0) == (2.0, 5.0)
    assert distances((0.85, 0.89), 0.9) == pytest.approx((0.01, 0.05))
    assert distances((0.85, 0.89), None) == (0.85, 0.89)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_the_interval_of_a_distance_holds_every_distance_in_it(
    a: float, b: float, ideal: float
) -> None:
    low, high = sorted((a, b))
    inside = np.abs(np.linspace(low, high, 50) - ideal)
    start, end = distances((low, high), ideal)
    assert start <= inside.min() + 1e-12
    assert inside.max() <= end + 1e-12


def test_no_score_where_the_baseline_is_no_worse_than_the_floor_or_one_is_missing() -> None:
    for known in (
        {"bad": 0.9, "floor": 0.9},
        {"bad": 0.95, "floor": 0.9},
        {"bad": 0.9000001, "floor": 0.9, "better": "lower"},
    ):
        found = normalised(endpoint(value=0.5, note="One case failed.", **known))
        assert found.score is None
        assert found.note.startswith("One case failed. No score: the simple baseline")
    for known in ({"bad": 0.5}, {"floor": 0.9}, {"bad": 0.5, "floor": 0.9, "value": None}):
        assert normalised(endpoint(**known)).score is None


def test_pass_fail_and_inconclusive_follow_the_corrected_p_values() -> None:
    keys = [f"task/dice/{i}" for i in range(4)]
    wrong = {
        keys[0]: (0.001, 1.0),
        keys[1]: (0.012, 0.99),
        keys[2]: (1.0, 0.004),
        keys[3]: (0.4, 0.6),
    }
    judged = judge([endpoint(key, primary=True, limit=0.8) for key in keys], wrong)
    assert [e.verdict for e in judged] == ["pass", "inconclusive", "fail", "inconclusive"]
    assert [e.p for e in judged] == [0.001, 0.012, 1.0, 0.4]
    assert judged[0].p_adjusted == pytest.approx(0.004)
    assert judged[1].p_adjusted == pytest.approx(0.036)
    assert judged[0].note == ""
    alone = judge([endpoint(keys[1], primary=True, limit=0.8)], {keys[1]: wrong[keys[1]]})
    assert alone[0].verdict == "pass"


def test_the_p_value_of_a_test_of_two_sets_is_kept_in_the_note_where_the_limit_has_its_own() -> (
    None
):
    known = endpoint(
        "feature/mmd/radiomics", primary=True, limit=0.8, p=0.36, note="Interval: halves."
    )
    found = judge([known], {known.key: (0.004, 1.0)})[0]
    assert (found.verdict, found.p) == ("pass", 0.004)
    assert found.note == "Interval: halves. Permutation test of both sets being alike: p = 0.36."


def test_exploratory_p_values_are_corrected_for_false_discoveries_and_have_no_verdict() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    judged = judge([endpoint(f"feature/kid/{i}", p=each) for i, each in enumerate(p)], {})
    assert [e.p_adjusted for e in judged] == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert {e.verdict for e in judged} == {"exploratory"}


def test_without_a_value_or_p_values_nothing_is_judged_and_the_note_says_so() -> None:
    found = judge(
        [
            endpoint(value=None),
            endpoint("pixel/mae/foreground", primary=True, note="One case failed."),
        ],
        {},
    )
    assert [e.verdict for e in found] == ["not_run", "not_run"]
    assert found[1].note.startswith("One case failed. Not judged")


def test_a_level_is_its_worst_primary_endpoint() -> None:
    good = primary("pixel/ssim/foreground", score=0.95, score_interval=(0.9, 1.0))
    bad = primary("pixel/mae/foreground", "fail", score=0.5, score_interval=(0.4, 0.6))
    unsure = primary("task/dice/lesion", "inconclusive", score=0.8, score_interval=(0.7, 0.9))
    silent = primary("task/dice/rare", "not_run")
    exploratory = endpoint("trust/interval-width/foreground")
    said = {
        v.level: v
        for v in levels([good, bad, unsure, silent, exploratory], {"feature": "There is one case."})
    }
    assert [said[level].verdict for level in ("pixel", "feature", "task", "trust")] == [
        "fail",
        "not_run",
        "inconclusive",
        "not_run",
    ]
    assert "MAE in foreground is 0.5 on the scale" in said["pixel"].reason
    assert "the worst of 2 primary endpoints" in said["pixel"].reason
    assert said["feature"].reason == "There is one case."
    assert (
        "95 % interval 0.7 to 0.9; limit 0.8. It is the only primary endpoint."
        in said["task"].reason
    )
    assert "Not judged, though primary: task/dice/rare." in said["task"].reason


def test_the_reason_says_why_an_interval_that_clears_the_limit_is_no_pass() -> None:
    known = primary(
        "task/dice/lesion",
        "inconclusive",
        score=0.9,
        score_interval=(0.81, 0.99),
        p=0.01,
        p_adjusted=0.04,
    )
    assert "clears the limit, but p is 0.04 over all" in levels([known], {})[2].reason
    assert "clears" not in levels([replace(known, score_interval=(0.7, 0.99))], {})[2].reason
    ideal = primary(
        "trust/coverage/foreground",
        "inconclusive",
        value=0.9,
        ideal=0.9,
        interval=(0.86, 0.93),
        p=0.02,
        p_adjusted=0.1,
    )
    assert "clears" in levels([replace(ideal, limit=0.05, limit_of="value")], {})[3].reason
    assert "clears" not in levels([replace(ideal, limit=0.03, limit_of="value")], {})[3].reason


@pytest.mark.parametrize(
    ("passes", "fails", "name"),
    [
        ("pixel/ssim/foreground", "task/dice/lesion", "over-smoothing"),
        ("pixel/ssim/foreground", "feature/kid/radiomics", "smooth"),
        ("feature/kid/radiomics", "task/lesion-f1/lesion", "looks real, is not true"),
        ("feature/kid/radiomics", "trust/coverage/foreground", "looks real, is not true"),
        ("feature/kid/radiomics", "feature/kid/efficientnet", "extractors disagree"),
    ],
)
def test_levels_that_disagree_have_a_name(passes: str, fails: str, name: str) -> None:
    found = conflicts([primary(passes), primary(fails, "fail")])
    assert [(c.name, c.endpoints) for c in found] == [(name, (passes, fails))]
    assert not conflicts([primary(passes), primary(fails, "inconclusive")])
    assert not conflicts([primary(passes, "fail"), primary(fails, "fail")])
    assert not conflicts([primary(passes), replace(primary(fails, "fail"), primary=False)])


def test_a_metric_that_disagrees_with_another_on_one_extractor_is_no_disagreement_of_extractors() -> (  # noqa: E501
    None
):
    assert not conflicts(
        [primary("feature/kid/radiomics"), primary("feature/recall/radiomics", "fail")]
    )


@pytest.mark.parametrize(
    ("width", "named"), [(2 * 1.6449 * 10.001, True), (2 * 1.6449 * 9.9, False)]
)
def test_intervals_as_wide_as_around_the_baseline_say_nothing(width: float, named: bool) -> None:
    """The baseline's errors have standard deviation 10, so a normal 90 % interval around it is 32.9
    wide.
    """
    known = [
        primary("trust/coverage/foreground", ideal=0.9),
        endpoint("trust/interval-width/foreground", width, units="HU", better="lower"),
        endpoint("pixel/mae/foreground", 5.0, bad=10 * np.sqrt(2 / np.pi), better="lower"),
    ]
    assert [c.name for c in conflicts(known)] == ["uninformative intervals"] * named
    assert not conflicts(known[:2])
    assert not conflicts([replace(known[0], verdict="fail"), *known[1:]])


def test_every_rule_names_levels_that_exist() -> None:
    for rule in RULES:
        assert {key.split("/")[0] for key in (*rule.passes, *rule.fails)} <= {
            "pixel",
            "feature",
            "task",
            "trust",
        }
