"""The trial on digital patients: scores of known results, turned scans, hidden detail, the
table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import toys
from veridical.evaluation import simulation_study as trial
from veridical.evaluation.simulation_study import SimulatedOutcome, judge, summary, turned
from veridical.phantoms.cohort_b import CohortB
from veridical.phantoms.simulated_scan import Examination, draw_exam, examine
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.tasks.reconstruct import Reconstruct
from veridical.training.denoiser_calibration import SEED as CALIBRATION_SEED
from veridical.types import Interval, Result


@pytest.fixture(scope="module")
def small() -> Iterator[Path]:
    """The toys in the place of the shipped weights."""
    with toys.shipped() as folder:
        yield folder


@cache
def exam() -> Examination:
    return examine(CohortB(7), 0, "T2w", 4, "uniform", plane="axial", pathology="ms")


def test_test_patients_are_others_than_calibration_patients() -> None:
    assert trial.TEST_SEED != CALIBRATION_SEED
    tested, calibrated = (
        draw_exam(CohortB(seed), 0) for seed in (trial.TEST_SEED, CALIBRATION_SEED)
    )
    assert tested.patient != calibrated.patient
    assert not np.array_equal(tested.truth.data, calibrated.truth.data)


def test_turning_exchanges_both_axes_of_everything() -> None:
    found = turned(exam())
    scan = found.measurement.operator
    np.testing.assert_array_equal(
        found.measurement.data, np.swapaxes(exam().measurement.data, -1, -2)
    )
    np.testing.assert_array_equal(scan.mask, np.swapaxes(exam().measurement.operator.mask, -1, -2))
    np.testing.assert_array_equal(found.truth.data, np.swapaxes(exam().truth.data, 1, 2))
    np.testing.assert_array_equal(found.brain, np.swapaxes(exam().brain, 0, 1))
    np.testing.assert_array_equal(found.lesions, np.swapaxes(exam().lesions, 0, 1))
    assert found.truth.geometry == found.measurement.geometry
    assert found.truth.geometry.shape == (232, 184, 1)
    twice = turned(found)
    np.testing.assert_array_equal(twice.measurement.data, exam().measurement.data)
    assert twice.truth.geometry == exam().truth.geometry


def test_a_turned_scan_is_reconstructed_to_the_turned_image() -> None:
    task = Reconstruct(model="zero-filled", sets=1)
    plain, swapped = (task(e.measurement).image.data for e in (exam(), turned(exam())))
    inside = exam().brain
    expected, found = plain[0][inside], np.swapaxes(swapped, 1, 2)[0][inside]
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.max())


def test_the_truth_itself_scores_best_and_a_band_about_it_covers_all() -> None:
    truth = exam().truth
    noise = np.random.default_rng(0).normal(0, 0.02 * truth.data.max(), truth.data.shape)
    close = replace(truth, data=truth.data + 1e-6 * noise)
    band = Interval(truth.data - 1, truth.data + 1, 0.9, 20, "given", "nothing")
    perfect = judge(Result(close, "point estimate", interval=band), exam())
    poor = judge(Result(replace(truth, data=truth.data + noise), "point estimate"), exam())
    assert perfect["psnr"] > 100 > 40 > poor["psnr"]
    assert perfect["ssim"] == pytest.approx(1, abs=1e-4)
    assert perfect["ssim"] > poor["ssim"]
    assert perfect["coverage"] == 1
    assert "coverage" not in poor
    assert "rank" not in poor


def test_every_method_is_tried_on_every_patient() -> None:
    seen: list[tuple[str, int, int]] = []
    outcomes = trial.trial(2, ("zero-filled", "cg-sense"), lambda *step: seen.append(step))
    assert [(o.patient, o.method) for o in outcomes] == [
        (f"CohortB-17-{index}", method)
        for index in range(2)
        for method in ("zero-filled", "cg-sense")
    ]
    assert all(
        "out-of-distribution" not in o.verdicts for o in outcomes
    )  # what was not trained knows no distribution
    assert all(10 < o.values["psnr"] < 50 and 0 < o.values["ssim"] < 1 for o in outcomes)
    assert seen[-1] == ("trial", 2, 2)


def test_shifts_are_judged_with_and_without_what_breaks(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = toys.examination()
    monkeypatch.setattr(
        trial, "SHIFTS", {"none": lambda i: toy, "mask along the other axis": lambda i: turned(toy)}
    )
    found = trial.shifts(1)
    assert list(found) == ["none", "mask along the other axis"]
    for name, (outcome,) in found.items():
        assert outcome.method == name
        assert {"psnr", "ssim", "coverage", "rank"} == set(outcome.values)
        assert set(outcome.verdicts) == {"consistency", "sampling", "out-of-distribution"}


def test_what_the_mask_takes_is_measured_and_what_it_leaves_is_not() -> None:
    scan = toys.problem()
    places = np.array([[24, 20], [20, 16]])
    shares = {}
    for name, mask in {
        "all": torch.ones(toys.SIZE),
        "centre": torch.zeros(toys.SIZE),
        "scan": scan.operator.mask,
    }.items():
        if name == "centre":
            mask[22:26, 18:22] = 1
        operator = CartesianMRI(mask, scan.operator.maps)
        shares[name] = trial._measured_share(replace(scan, operator=operator), places)
    assert (shares["all"] > 0.95).all()
    assert (shares["centre"] < 0.35).all()
    assert ((shares["centre"] < shares["scan"]) & (shares["scan"] <= 1.001)).all()


def test_hidden_detail_is_looked_for_at_places_in_the_brain(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "draw_exam", lambda cohort, index: toys.examination())
    places = trial._places(exam().brain[..., 0].T, 3)
    assert places.shape == (trial.PROBES, 2)
    assert exam().brain[places[:, 1], places[:, 0], 0].all()
    found = trial.hidden_detail(2)
    assert found["places"] == 2 * trial.PROBES
    assert 0 <= found["auc"] <= 1
    assert -1 <= found["correlation"] <= 1
    assert (
        0 <= min(found["hidden"], found["sampled"]) <= max(found["hidden"], found["sampled"]) <= 1
    )


def test_the_table_has_mean_spread_and_verdicts_of_each_method_and_says_what_is_not_given() -> None:
    outcomes = [
        SimulatedOutcome("a", "one", {"psnr": 30.0, "coverage": 0.9}, {"sampling": "pass"}),
        SimulatedOutcome("b", "one", {"psnr": 32.0, "coverage": 0.8}, {"sampling": "fail"}),
        SimulatedOutcome("a", "two", {"psnr": 20.0}, {"sampling": "warn"}),
    ]
    lines = summary(outcomes).splitlines()
    assert lines[0] == "| method | n | psnr | coverage | sampling pass/warn/fail |"
    assert lines[2] == "| one | 2 | 31.000 ± 1.000 | 0.850 ± 0.050 | 1/0/1 |"
    assert lines[3] == "| two | 1 | 20.000 ± 0.000 | not given | 0/1/0 |"
