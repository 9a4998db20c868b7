"""The one assembler: parts placed on the grid, units, intervals from the card, and for each absence
its reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from priors import SHAPE, KnownForSure, known_card
from veridical.models.base import Model
from veridical.tasks.assemble import Solution, assemble, calibrations, spread_factors
from veridical.types import Geometry, Result

JOBS = ("complete-FLAIR", "complete-PD")
GRID = Geometry(SHAPE, np.diag([2.0, 2.0, 4.0, 1.0]))


@dataclass(frozen=True)
class Stepping(KnownForSure):
    """A model that has a number of steps."""

    name: ClassVar[str] = "stepping"
    steps: int = 4


@dataclass(frozen=True)
class Plain(Model):
    """A classical model."""

    name: ClassVar[str] = "plain"


def solution(**changes: Any) -> Solution:
    """Two channels of which one is ten times as bright, with draws about their mean."""
    rng = np.random.default_rng(0)
    draws = rng.normal(0, 0.1, (4, 2, SHAPE[2], SHAPE[1], SHAPE[0])).astype(np.float32) + 1
    draws[:, 1] *= 10
    spread = draws.std(0, ddof=1)
    found = Solution(
        draws.mean(0),
        ("FLAIR", "PD"),
        ("a.u.", "a.u."),
        (1.0, 10.0),
        JOBS,
        "posterior mean",
        draws,
        spread,
        np.full_like(spread, 0.7),
        about="the voxel as it is",
    )
    return replace(found, **changes)


def done(found: Solution | None = None, model: Model | None = None, **card: Any) -> Result:
    known = model or KnownForSure(stored=known_card(jobs=JOBS) | card)
    return assemble(found or solution(), GRID, lambda array: np.swapaxes(array, -1, -3), known)


def test_every_part_lies_on_the_grid_and_nothing_is_absent() -> None:
    result, given = done(), solution()
    assert dict(result.absent) == {}
    assert result.image.geometry == GRID
    assert (result.image.channels, result.image.units) == (("FLAIR", "PD"), "a.u.")
    assert result.draws is not None
    np.testing.assert_array_equal(result.image.data, np.swapaxes(given.estimate, -1, -3))
    np.testing.assert_allclose(result.draws.mean(0), result.image.data, rtol=1e-5)
    assert result.evidence is not None
    assert result.evidence.map is not None
    assert result.evidence.map.shape == result.image.data.shape
    assert result.evidence.about == "the voxel as it is"
    assert (result.evidence.measured, result.evidence.unmeasured) == (None, None)
    assert result.image.header["scale"] == {"FLAIR": 1.0, "PD": 10.0}
    assert result.facts["card"]["model"] == "generator"


def test_the_interval_is_the_calibrated_multiple_of_the_spread_never_below_its_floor() -> None:
    result = done()
    assert result.interval is not None
    half = (result.interval.upper - result.interval.lower) / 2
    np.testing.assert_allclose(result.interval.lower + half, result.image.data, atol=1e-5)
    spread = np.swapaxes(np.asarray(solution().spread), -1, -3)
    assert half[0].mean() == pytest.approx(2 * spread[0].mean(), rel=0.05)
    assert half[1].mean() == pytest.approx(10 * half[0].mean(), rel=0.1)
    sure = done(solution(spread=np.zeros_like(np.asarray(solution().spread)))).interval
    assert sure is not None
    least = ((sure.upper - sure.lower) / 2).reshape(2, -1).min(1)
    np.testing.assert_allclose(least, [2 * 0.01, 2 * 0.1], rtol=1e-3)
    assert (result.interval.level, result.interval.patients) == (0.9, 20)


def test_the_interval_of_several_jobs_promises_what_that_of_the_fewest_patients_does() -> None:
    few = known_card(jobs=JOBS)["calibration"]
    few["complete-PD"] = few["complete-PD"] | {"patients": 9}
    result = done(calibration=few)
    assert result.interval is not None
    assert result.interval.patients == 9


def test_one_draw_has_no_spread_and_a_classical_model_has_none_ever_and_each_says_so() -> None:
    alone = solution(draws=None, spread=None, evidence=None)
    sampler, classical = done(alone), done(alone, Plain())
    for result in (sampler, classical):
        assert (result.draws, result.interval) == (None, None)
        assert set(result.absent) == {"draws", "interval", "evidence"}
        assert result.evidence is not None
        assert (result.evidence.map, result.evidence.about) == (None, "")
    assert "--draws 2" in sampler.absent["draws"]
    assert "plain gives one estimate" in classical.absent["draws"]


def test_weights_that_are_not_calibrated_for_a_job_say_for_which_and_how() -> None:
    result = done(
        calibration={"complete-FLAIR": known_card(jobs=JOBS)["calibration"]["complete-FLAIR"]}
    )
    assert result.interval is None
    assert set(result.absent) == {"interval"}
    assert "not calibrated for complete-PD: `veridical calibrate`" in result.absent["interval"]


def test_an_interval_is_not_given_for_other_steps_than_it_was_calibrated_for() -> None:
    stored = known_card(jobs=JOBS) | {"calibration_steps": 4}
    assert done(model=Stepping(stored=stored)).interval is not None
    result = done(model=Stepping(stored=stored, steps=9))
    assert result.interval is None
    assert (
        result.absent["interval"] == "The interval is calibrated for --steps 4; this result took 9."
    )


def test_a_spread_that_cannot_be_believed_makes_neither_interval_nor_evidence() -> None:
    result = done(solution(unbelievable="Too little was sampled."))
    assert result.interval is None
    assert result.evidence is not None
    assert result.evidence.map is None
    assert dict(result.absent) == dict.fromkeys(("interval", "evidence"), "Too little was sampled.")
    assert result.draws is not None


def test_channels_of_several_units_are_mixed_and_each_keeps_its_own() -> None:
    result = done(solution(channels=("CT", "PET"), units=("HU", "SUV")))
    assert result.image.units == "mixed"
    assert [result.image.units_of(name) for name in ("CT", "PET")] == ["HU", "SUV"]


def test_parts_that_sum_to_the_estimate_still_do_on_the_grid() -> None:
    whole = solution().estimate
    part = np.asarray(0.25 * whole, np.float32)
    found = done(solution(measured=part, unmeasured=whole - part)).evidence
    assert found is not None
    assert found.measured is not None
    assert found.unmeasured is not None
    np.testing.assert_array_equal(found.measured + found.unmeasured, done().image.data)


def test_spread_factors_are_those_of_the_card_or_one() -> None:
    """A multiplier of 1.645 at 90 % is that of a normal distribution as wide as the draws."""
    model = KnownForSure(stored=known_card(jobs=JOBS[:1]))
    assert spread_factors(model, JOBS[:1]) == [pytest.approx(2.0 / 1.6449, rel=1e-3)]
    assert spread_factors(model, JOBS) == [1.0, 1.0]
    assert calibrations(model, JOBS) is None
    assert spread_factors(Plain(), ("enhance-denoise",)) == [1.0]
