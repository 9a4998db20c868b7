"""Calibration cases of a denoiser: posed as its tasks pose them, each truth where its estimate
is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import toys
from veridical.errors import SettingError
from veridical.models.denoiser import Denoiser
from veridical.training import denoiser_calibration as module
from veridical.training.denoiser_calibration import (
    JOBS,
    POSERS,
    CalibrationProblem,
    case,
    cases,
    degraded,
    limited,
)
from veridical.types import Array

IMAGES = ("denoise", "super-resolve", "upsample", "deblur", "low-dose-ct", "low-count-pet")


def slices(count: int) -> Iterator[tuple[str, Array]]:
    for index in range(count):
        yield f"p{index}", toys.magnitude((33, 40))


def hounsfield(count: int) -> Iterator[tuple[str, Array]]:
    for name, image in slices(count):
        yield name, (1000 * image - 1000).astype(np.float32)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every patient be one small picture."""
    monkeypatch.setattr(module, "mr_slices", slices)
    monkeypatch.setattr(module, "ct_slices", hounsfield)
    labels = np.zeros((80, 176, 160), np.uint8)
    labels[20:60, 50:160, 30:140] = 2
    labels[30:50, 80:120, 60:110] = 17
    monkeypatch.setattr(module, "label_maps", lambda: iter([("painted", labels)]))


def test_jobs_are_called_as_results_name_them() -> None:
    assert set(JOBS) == set(POSERS)
    assert {f"enhance-{job}" for job in IMAGES} | {"enhance-isotropic"} == {
        j for j in JOBS if j.startswith("enhance")
    }
    assert {j for j in JOBS if j.startswith("reconstruct")} == {
        f"reconstruct-{kind}" for kind in ("mri", "noncartesian-mri", "ct", "pet")
    }


@pytest.mark.parametrize("job", [f"enhance-{job}" for job in (*IMAGES, "isotropic")])
def test_a_case_has_its_truth_where_its_estimate_is_and_begins_near_it(job: str) -> None:
    posed = next(POSERS[job](1))
    start = posed.problem.image(posed.problem.start).numpy()
    assert start.shape == posed.truth.shape == posed.foreground.shape
    assert 0.05 < posed.foreground.mean() < 0.9
    inside = posed.foreground
    assert np.corrcoef(start[inside], posed.truth[inside])[0, 1] > 0.4
    assert np.median(start[inside]) == pytest.approx(
        float(np.median(posed.truth[inside])), rel=0.25
    )


@pytest.mark.parametrize("job", ["reconstruct-ct", "reconstruct-noncartesian-mri"])
def test_a_scan_has_its_truth_in_the_units_of_the_measurement(job: str) -> None:
    if job == "reconstruct-noncartesian-mri":
        pytest.importorskip("finufft")
    posed = next(POSERS[job](1))
    start = posed.problem.image(posed.problem.start).numpy()
    assert start.shape == posed.truth.shape
    inside = posed.foreground
    assert np.median(start[inside]) == pytest.approx(float(np.median(posed.truth[inside])), rel=0.3)


def test_the_task_is_told_the_noise_that_was_added() -> None:
    flat = np.full((64, 64), 1.0, np.float32)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        noisy, settings = degraded("denoise", flat, rng)
        assert (noisy - flat).std() == pytest.approx(settings["noise"], rel=0.1)
        low, high = module.MR_NOISE
        assert low <= settings["noise"] <= high
    small_, settings = degraded("super-resolve", toys.magnitude((48, 40)), np.random.default_rng(0))
    assert small_.shape == (24, 20)
    assert small_.mean() == pytest.approx(float(toys.magnitude((48, 40)).mean()), rel=0.05)
    assert settings["factor"] == 2.0


def test_errors_and_spread_of_a_case_are_in_network_units() -> None:
    posed = next(POSERS["enhance-denoise"](1))
    model = Denoiser(str(toys.weights("denoiser")), "cpu")
    one = case(model, posed, 0, "enhance-denoise")
    assert one.error.shape == one.spread.shape == posed.truth.shape
    assert one.patient == "p0"
    assert 0 < np.median(one.error[posed.foreground]) < 0.2


def test_patients_are_limited_progress_is_told_and_a_folder_is_refused() -> None:
    told: list[tuple[str, int, int]] = []
    every = (CalibrationProblem(str(k), None, None, None) for k in range(5))  # type: ignore[arg-type]
    found = list(limited(every, 2, lambda *step: told.append(step), "enhance-denoise"))
    assert [posed.patient for posed in found] == ["0", "1"]
    assert told == [("calibrating enhance-denoise", 1, 2), ("calibrating enhance-denoise", 2, 2)]
    with pytest.raises(SettingError, match="Leave out --data"):
        cases("denoiser", "enhance-denoise", iter(()), 3, lambda *_: None)
