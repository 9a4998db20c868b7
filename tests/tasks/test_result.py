"""A drawn volume as a result: units, scale, interval, findings, and why a companion is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from priors import BODY, Known4Sure, band, volume, weights
from veridical.models import weights as stored
from veridical.models.body_prior import BodyPrior
from veridical.models.brain_prior import BrainPrior
from veridical.task import silent
from veridical.tasks.imagewise import Degradation, Plan, solve
from veridical.tasks.result import Which, assemble, key, units, widenings
from veridical.tasks.view import view
from veridical.types import Array, Image, Result

PLAN = Plan("complete", measured=("T1w", "T2w"), asked=("FLAIR",))
DENOISE = Plan("enhance", measured=("T2w",), degraded={"T1w": Degradation("noise", 0.05)})
JOBS = ("complete-FLAIR", "enhance-noise")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def path(folder: Path) -> str:
    return weights(BrainPrior, folder, jobs=JOBS)


def result(
    path: str, plan: Plan = PLAN, image: Image | None = None, share: float = 0.5, draws: int = 4, which: Which = "mean",
    lesions: Array | None = None,
) -> Result:  # fmt: skip
    subject = volume() if image is None else image
    model, seen, card = Known4Sure(weights=path, share=share, device="cpu"), view(subject), stored.card(path)
    drawn = solve(model, seen, plan, draws, 0, silent, widenings(card, plan))
    return assemble(drawn, seen, plan, subject, model, card, which, lesions)


def test_the_estimate_is_the_mean_of_the_draws_or_one_of_them_on_the_grid_of_the_subject(path: str) -> None:
    mean, one = result(path), result(path, which="draw")
    assert (mean.kind, one.kind) == ("posterior mean", "one draw")
    assert mean.draws is not None
    assert mean.draws.shape == (4, 1, *volume().geometry.shape)
    np.testing.assert_allclose(mean.image.data, mean.draws.mean(0), atol=2e-3)
    np.testing.assert_array_equal(one.image.data, mean.draws[0])
    assert mean.image.geometry == volume().geometry
    assert mean.image.channels == ("FLAIR",)


def test_the_interval_is_the_calibrated_multiple_of_the_spread_around_the_mean(path: str) -> None:
    found = result(path, which="draw").interval
    assert found is not None
    mean = result(path)
    np.testing.assert_allclose((found.lower + found.upper) / 2, mean.image.data, atol=1e-5)
    half = (found.upper - found.lower)[0] / 2
    assert half.mean() == pytest.approx(2.0 * 0.5 * 0.25, rel=0.1)
    assert half.min() >= 2.0 * 0.01 - 1e-6
    assert (found.level, found.patients) == (0.9, 20)


def test_a_result_grows_with_the_measured_channel_and_its_evidence_does_not(path: str) -> None:
    image = volume()
    data = image.data.copy()
    data[0] *= 1000
    plain, large = result(path, DENOISE), result(path, DENOISE, replace(image, data=data))
    for a, b in ((plain.image.data, large.image.data), (plain.draws, large.draws)):
        assert a is not None
        assert b is not None
        np.testing.assert_allclose(b / 1000, a, rtol=1e-3, atol=0.1)
    assert plain.interval is not None
    assert large.interval is not None
    np.testing.assert_allclose(large.interval.upper / 1000, plain.interval.upper, rtol=1e-3, atol=0.1)
    assert plain.evidence is not None
    assert large.evidence is not None
    np.testing.assert_allclose(large.evidence.map, plain.evidence.map, atol=1e-3)


def test_one_draw_and_uncalibrated_weights_say_what_is_missing_and_why(path: str, folder: Path) -> None:
    single = result(path, draws=1)
    assert (single.draws, single.interval) == (None, None)
    assert set(single.absent) == {"draws", "interval", "evidence"}
    assert "2 or more draws" in single.absent["evidence"]
    bare = result(weights(BrainPrior, folder))
    assert bare.interval is None
    assert bare.absent == {"interval": bare.absent["interval"]}
    assert "not calibrated for complete-FLAIR" in bare.absent["interval"]
    other = result(weights(BrainPrior, folder, jobs=JOBS, calibration_steps=9))
    assert "calibrated for 9 sampler steps; this result took 4" in other.absent["interval"]


def test_a_card_holds_a_calibration_by_job_and_channel_or_kind_of_degradation() -> None:
    assert key(PLAN, "FLAIR") == "complete-FLAIR"
    assert key(DENOISE, "T1w") == "enhance-noise"
    card = {"calibration": {"complete-FLAIR": band(3.29)}}
    assert widenings(card, PLAN) == {"FLAIR": pytest.approx(2.0, abs=1e-3)}
    assert widenings(card, DENOISE) == {}


def test_units_are_those_measured_and_of_what_was_not_measured_those_of_its_modality() -> None:
    plan = Plan("translate", measured=("T1w",), asked=("CT", "PET"), degraded={"FLAIR": Degradation("noise", 0.1)})
    subject = replace(volume(("T1w", "FLAIR")), units="ms")
    assert units(plan, subject) == {"FLAIR": "ms", "CT": "HU", "PET": "SUV"}
    mixed = volume(("T1w", "CT"))
    assert units(Plan("x", asked=("PET",)), mixed) == {"PET": "SUV"}
    assert units(Plan("x", relook=("CT",)), mixed) == {"CT": "HU"}


def test_channels_of_several_units_are_mixed_and_each_keeps_its_own(folder: Path) -> None:
    path = weights(BodyPrior, folder, BODY)
    plan = Plan("translate", measured=("T1w",), asked=("CT", "PET"))
    found = result(path, plan, volume(("T1w",)), share=0.0).image
    assert found.units == "mixed"
    assert (found.units_of("CT"), found.units_of("PET")) == ("HU", "SUV")
    centre = tuple(n // 2 for n in found.geometry.shape)
    assert found["CT"][centre] == pytest.approx(400.0, rel=1e-3)
    assert found["PET"][centre] == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize(("share", "verdict"), [(1.0, "pass"), (2.0, "warn"), (4.0, "fail")])
def test_consistency_fails_when_more_was_changed_than_was_expected_to_be_wrong(path: str, share: float, verdict: str) -> None:
    finding = next(f for f in result(path, DENOISE, share=share, draws=1).findings if f.check == "consistency")
    assert finding.verdict == verdict
    assert finding.evidence["changed_over_expected"] == pytest.approx(share, rel=0.05)


def test_scope_that_nobody_described_is_not_run_and_says_so(path: str) -> None:
    finding = next(f for f in result(path).findings if f.check == "scope")
    assert finding.verdict == "not_run"


def test_marked_lesions_where_little_is_known_warn(path: str) -> None:
    mask = np.zeros(volume().geometry.shape, bool)
    mask[10:14, 12:16, 2:4] = True
    blind, sure = (
        next(f for f in result(path, share=share, lesions=mask).findings if f.check == "pathology") for share in (1.0, 0.0)
    )
    assert (blind.verdict, sure.verdict) == ("warn", "pass")
    assert blind.reason.startswith("FLAIR: ")
