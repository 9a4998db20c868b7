"""Calibration of weights: patients, what is done to their images, what is written into the card, and refusal of too few."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import pytest

import toys
from veridical.audit.interval import Calibration
from veridical.audit.scope import Scope
from veridical.phantoms.cohort_b import CohortB
from veridical.phantoms.simulated_scan import Examination, draw_exam
from veridical.provenance import inputs
from veridical.training import calibrate, calibrate_images
from veridical.training.calibrate import calibrate_weights


@cache
def exam(index: int) -> Examination:
    return draw_exam(CohortB(2), index)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the toy prior of images whose card may be written to."""
    return copied("brain-prior", tmp_path)


def copied(model: str, folder: Path) -> Path:
    source = toys.weights(model)
    for path in (source, source.with_suffix(".json")):
        shutil.copy(path, folder / path.name)
    return folder / source.name


def test_patients_are_scanned_in_every_pattern_and_the_same_index_is_the_same_patient() -> None:
    assert inputs(exam(0).measurement) == inputs(draw_exam(CohortB(2), 0).measurement)
    linewise = [bool((e.measurement.operator.mask == e.measurement.operator.mask[:, :1]).all()) for e in map(exam, range(3))]
    assert linewise == [True, True, False]
    assert len({exam(index).patient for index in range(3)}) == 3


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Scope:
    """Promise half of the voxels only, which one patient is enough for, and take a scope that is at hand."""
    scope = Scope(("a",), (0.0,), (1.0,), ((1.0,),), ((1.0, 1.0),), "toys")
    monkeypatch.setattr(calibrate, "LEVEL", 0.5)
    monkeypatch.setattr(calibrate, "fit_image_scopes", lambda card, count, progress: {"T1w": scope.to_dict()})
    monkeypatch.setattr(calibrate_images, "SIZE", (48, 40))
    monkeypatch.setattr(calibrate_images, "SPACING", 4.5)
    return scope


def test_every_job_and_the_scope_are_written_into_the_card(copy: Path, quick: Scope) -> None:
    seen: list[str] = []
    path = calibrate_weights(str(copy), patients=1, scans=198, progress=lambda what, *_: seen.append(what))
    card = json.loads(path.read_text(encoding="utf-8"))
    assert path == copy.with_suffix(".json")
    contrasts = ("T1w", "T2w", "FLAIR", "PD", "T1c")
    completed = {f"{job}-{c}" for job in ("complete", "harmonize") for c in contrasts}
    assert set(card["calibration"]) == completed | {f"enhance-{k}" for k in calibrate_images.KINDS}
    assert card["scope_images"] == {"T1w": quick.to_dict()}
    assert card["calibration_steps"] == 4
    assert set(card["looks"]["avon"]) == set(contrasts)
    for values in card["calibration"].values():
        found = Calibration.from_dict(values)
        assert (found.level, found.patients, found.floor) == (0.5, 1, calibrate.FLOOR)
        assert found.multiplier > 0
        assert found.reached[1] == pytest.approx(0.5, abs=0.51)
        assert "cohort-b" in found.calibrated_on
    assert {"calibrating complete FLAIR", "calibrating enhance noise"} <= set(seen)
    assert card["training"] == json.loads(toys.weights("brain-prior").with_suffix(".json").read_text())["training"]


def test_the_denoiser_is_calibrated_by_its_own_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, said = copied("denoiser", tmp_path), []
    monkeypatch.setattr(calibrate, "calibrate_denoiser", lambda *given, progress: said.append(given) or copy)
    assert calibrate_weights(str(copy), patients=12, scans=198) == copy
    assert said == [(str(copy), 12)]
