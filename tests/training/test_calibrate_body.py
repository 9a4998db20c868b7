"""Calibration of the body prior: on patients kept from training, where the MR shows the body, at a level that two allow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from veridical.errors import CalibrationError
from veridical.models.body_prior import BodyPrior
from veridical.training import calibrate_body
from veridical.training.calibrate import calibrate_weights
from veridical.training.slabs import Volume
from veridical.training.train import write_tensors

NET = {
    "channels": ["T1w", "CT", "PET"],
    "widths": [8, 8],
    "blocks": 1,
    "prior_mean": [0.5, 0.0, 0.2],
    "prior_std": [0.3, 0.2, 0.2],
}


def patient(name: str, empty: int = 1) -> Volume:
    """Four slices of a disc; the MR of the last ones shows nothing."""
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    body = np.stack([x**2 + y**2 < 0.8] * 4)
    mr = 0.5 * body
    mr[4 - empty :] = 0
    images = np.stack([mr, np.where(body, 0.05, -1.0), 0.1 * body]).astype(np.float16)
    return Volume(images, ("T1w", "CT", "PET"), name, "sarcoma", None, 1.0)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "body-prior.safetensors"
    write_tensors(path, dict(BodyPrior.build(NET).state_dict()), {})
    card = {"model": "body-prior", "net": NET, "data": {"held_out": ["P1", "P2"], "sources": {"sarcoma": 1.0}}}
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return path


def test_two_patients_calibrate_what_translate_looks_for(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_body, "volumes", lambda source, held_out, validation: [patient(n) for n in held_out])
    card = json.loads(calibrate_weights(str(weights)).read_text(encoding="utf-8"))
    assert set(card["calibration"]) == {"translate-CT", "translate-PET"}
    assert card["calibration"]["translate-CT"]["patients"] == 2
    assert "P1, P2" in card["calibration"]["translate-CT"]["calibrated_on"]
    assert card["calibration_steps"] == 4


def test_one_patient_is_not_enough_for_a_higher_level(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_body, "volumes", lambda source, held_out, validation: [patient("P1")])
    monkeypatch.setattr(calibrate_body, "LEVEL", 0.9)
    with pytest.raises(CalibrationError, match="at least 9"):
        calibrate_weights(str(weights))


def test_slices_that_the_mr_does_not_show_do_not_count(weights: Path) -> None:
    found = next(calibrate_body.cases(str(weights), [patient("P1", empty=2)], "CT", lambda *_: None))
    assert found.error.shape == (4, 24, 24)
    assert found.foreground[:2].any(axis=(1, 2)).all()
    assert not found.foreground[2:].any()
