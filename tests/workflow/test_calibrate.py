"""Calibration of weights: patients, what is done to their images, what is written into the card, and refusal of too few."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import toys
from veridical.audit.interval import Calibration
from veridical.audit.scope import Scope
from veridical.datasets.cohort_b import CohortB
from veridical.datasets.examination import Examination
from veridical.errors import CalibrationError
from veridical.provenance import inputs
from veridical.workflow import calibrate, calibrate_images
from veridical.workflow.calibrate import calibrate_weights, draw_exam, fit_scope


@cache
def exam(index: int) -> Examination:
    return draw_exam(CohortB(2), index)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the toy weights whose card may be written to."""
    source = toys.weights("brain-prior")
    for path in (source, source.with_suffix(".json")):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / source.name


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the toy patient for every patient."""
    monkeypatch.setattr(calibrate, "draw_exam", lambda cohort, index: replace(toys.examination(), patient=f"toy-{index}"))


def test_patients_are_scanned_in_every_pattern_and_the_same_index_is_the_same_patient() -> None:
    assert inputs(exam(0).measurement) == inputs(draw_exam(CohortB(2), 0).measurement)
    linewise = [bool((e.measurement.operator.mask == e.measurement.operator.mask[:, :1]).all()) for e in map(exam, range(3))]
    assert linewise == [True, True, False]
    assert len({exam(index).patient for index in range(3)}) == 3


def test_too_few_patients_are_refused_and_the_card_stays(copy: Path, toy: None) -> None:
    before = copy.with_suffix(".json").read_bytes()
    with pytest.raises(CalibrationError, match=r"8 calibration patients.*at least 9"):
        calibrate_weights(str(copy), patients=8, scans=198)
    assert copy.with_suffix(".json").read_bytes() == before


class Few:
    """A source of small scans of several noise levels, one in six without coils."""

    def draw(self, step: int) -> tuple[SimpleNamespace, None]:
        level = 1 + step % 7
        if step % 6 == 0:
            return SimpleNamespace(kspace=torch.zeros(1, 4, 4)), None
        scan = _scan()
        noise = torch.randn(scan.kspace.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(step))
        data = scan.kspace + 0.002 * level * noise * scan.operator.mask
        return SimpleNamespace(kspace=data, mask=scan.operator.mask, maps=scan.operator.maps, sigma=0.002 * level), None


@cache
def _scan() -> toys.Scan:
    return next(toys.scans())


def test_the_scope_is_fitted_on_multi_coil_scans_and_knows_them() -> None:
    scope = fit_scope(Few(), 198)  # type: ignore[arg-type]
    assert len(scope.held_out) == 99
    assert "198 rehearsed multi-coil scans" in scope.fitted_on
    names = scope.names
    assert scope(dict(zip(names, scope.center, strict=True))).verdict == "pass"
    strange = {name: value + 100 for name, value in zip(names, scope.center, strict=True)}
    assert scope(strange).verdict == "fail"


def test_scopes_of_too_few_scans_are_refused() -> None:
    with pytest.raises(CalibrationError, match="198"):
        fit_scope(Few(), 20)  # type: ignore[arg-type]


@pytest.fixture
def quick(toy: None, monkeypatch: pytest.MonkeyPatch) -> Scope:
    """Promise half of the voxels only, which one patient is enough for, and take a scope that is at hand."""
    scope = Scope(("a",), (0.0,), (1.0,), ((1.0,),), ((1.0, 1.0),), "toys")
    monkeypatch.setattr(calibrate, "LEVEL", 0.5)
    monkeypatch.setattr(calibrate, "fit_scope", lambda source, count, progress: scope)
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
    assert set(card["calibration"]) == {"reconstruct"} | completed | {f"enhance-{k}" for k in calibrate_images.KINDS}
    assert card["scope_images"] == {"T1w": quick.to_dict()}
    assert card["calibration_steps"] == 4
    assert set(card["looks"]["avon"]) == set(contrasts)
    for values in card["calibration"].values():
        found = Calibration.from_dict(values)
        assert (found.level, found.patients, found.floor) == (0.5, 1, calibrate.FLOOR)
        assert found.multiplier > 0
        assert found.reached[1] == pytest.approx(0.5, abs=0.51)
        assert "cohort-b" in found.calibrated_on
    assert {"calibrating reconstruct", "calibrating complete FLAIR", "calibrating enhance noise"} <= set(seen)
    assert card["scope"] == quick.to_dict()
    assert card["training"] == json.loads(toys.weights("brain-prior").with_suffix(".json").read_text())["training"]


def test_a_model_without_draws_gets_a_scope_alone(tmp_path: Path, quick: Scope) -> None:
    source = toys.weights("unrolled")
    for path in (source, source.with_suffix(".json")):
        shutil.copy(path, tmp_path / path.name)
    card = json.loads(calibrate_weights(str(tmp_path / source.name), 1, 198).read_text(encoding="utf-8"))
    assert card["calibration"] == {}
    assert card["scope"] == quick.to_dict()


def test_a_model_anchored_in_another_shares_its_scope(tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.safetensors"
    anchor.write_bytes(b"")
    card = {"model": "unrolled", "net": {}, "scope": {"of": "anchor"}}
    anchor.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    assert calibrate._known_scope({"model": "brain-prior", "net": {"anchor": str(anchor)}}) == {"of": "anchor"}
    assert calibrate._known_scope({"net": {}}) is None


def test_cases_are_the_error_in_units_of_the_scan_in_the_brain(copy: Path, toy: None) -> None:
    case = next(iter(calibrate.reconstruct_cases(str(copy), 1, lambda *_: None)))
    assert case.error.shape == case.spread.shape == case.foreground.shape == toys.SIZE
    assert (case.patient, case.foreground.sum()) == ("toy-0", toys.examination().brain.sum())
    assert 0 < case.error[case.foreground].mean() < 0.2
    assert (case.spread > 0).all()


def test_no_training_draws_the_scans_that_scope_is_fitted_on() -> None:
    steps: list[int] = []

    class Watched(Few):
        def draw(self, step: int) -> tuple[SimpleNamespace, None]:
            steps.append(step)
            return super().draw(step)

    watched: Callable[[], Watched] = Watched
    with pytest.raises(CalibrationError):
        fit_scope(watched(), 3)  # type: ignore[arg-type]
    assert min(steps) >= calibrate.UNSEEN > 10_000_000
