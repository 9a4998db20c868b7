"""Calibration of weights: jobs are added and never wiped, tasks use what was found, and too little
is refused.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import folders
import priors
import toys
from veridical.apps.cli import main
from veridical.audit.interval import Calibration, CalibrationCase
from veridical.errors import CalibrationError, SettingError
from veridical.io.assemble import read_together
from veridical.models import weights
from veridical.tasks.complete import Complete
from veridical.training import calibrate as here
from veridical.training import denoiser_calibration
from veridical.training.calibrate import calibrate_weights

SHAPE = (32, 32, 2)


def ward(root: Path, patients: int) -> Path:
    """A BIDS folder of small heads in T1w and FLAIR."""
    folders.bids(root, 0)
    for index in range(1, patients + 1):
        for place, contrast in enumerate(("T1w", "FLAIR")):
            image = folders.head(10 * index + place, SHAPE)
            folders.write(
                root / f"sub-{index:02}" / "anat" / f"sub-{index:02}_{contrast}.nii.gz", image
            )
    return root


@pytest.fixture(scope="module")
def nine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ward(tmp_path_factory.mktemp("nine") / "our-ward", 9)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Weights of a generator whose card may be written to."""
    return Path(priors.weights(tmp_path, ("T1w", "FLAIR"), name="mine"))


def card(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return found


def change(path: Path, **changes: Any) -> None:
    path.with_suffix(".json").write_text(json.dumps(card(path) | changes), encoding="utf-8")


def test_the_interval_that_tasks_then_give_rests_on_the_patients_of_the_folder(
    copy: Path, nine: Path
) -> None:
    found = calibrate_weights(str(copy), nine, ["complete-FLAIR"])
    assert list(found) == ["complete-FLAIR"]
    assert (found["complete-FLAIR"].level, found["complete-FLAIR"].patients) == (0.9, 9)
    task = Complete(to="FLAIR", weights=str(copy), draws=2, device="cpu")
    result = task(read_together([nine / "sub-01/anat/sub-01_T1w.nii.gz"]), seed=0)
    assert result.interval is not None
    assert (result.interval.patients, result.interval.level) == (9, 0.9)
    assert "patients of our-ward, FLAIR made from the rest of the visit" in result.interval.promises


def test_nine_patients_promise_ninety_percent_and_all_of_them_are_inside(
    copy: Path, nine: Path
) -> None:
    """With n = 9 no voxel of a calibration patient may be missed: the multiplier is the largest
    ratio of all.
    """
    found = calibrate_weights(str(copy), nine, ["complete-FLAIR"])["complete-FLAIR"]
    assert found.reached == (1.0, 1.0, 1.0)
    assert found.floor == here.FLOOR


def test_jobs_are_added_and_those_of_others_and_the_rest_of_the_card_stay(
    copy: Path, nine: Path
) -> None:
    kept = {"complete-T1w": priors.band(3.0), "reconstruct-mri": {"kept": True}}
    change(copy, calibration=kept, limits="for tests")
    before = card(copy)
    calibrate_weights(str(copy), nine, ["complete-FLAIR"])
    after = card(copy)
    assert set(after["calibration"]) == {"complete-T1w", "reconstruct-mri", "complete-FLAIR"}
    assert {job: after["calibration"][job] for job in kept} == kept
    assert after["calibration_steps"] == Complete().steps
    changed = ("calibration", "calibration_steps", "uncalibrated")
    assert {k: v for k, v in after.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }
    again = calibrate_weights(str(copy), nine, ["complete-T1w"])
    assert (
        card(copy)["calibration"]["complete-T1w"]
        == again["complete-T1w"].to_dict()
        != kept["complete-T1w"]
    )
    assert card(copy)["calibration"]["complete-FLAIR"] == after["calibration"]["complete-FLAIR"]


def test_without_jobs_every_one_that_enough_patients_allow_is_calibrated(
    copy: Path, nine: Path
) -> None:
    found = calibrate_weights(str(copy), nine)
    assert set(found) == {"complete-T1w", "complete-FLAIR"}
    assert {key: Calibration.from_dict(card(copy)["calibration"][key]) for key in found} == found


def test_too_few_patients_are_refused_and_the_card_stays(copy: Path, tmp_path: Path) -> None:
    four, before = ward(tmp_path / "four", 4), card(copy)
    for jobs in ([], ["complete-FLAIR"]):
        with pytest.raises(
            CalibrationError, match=r"complete-FLAIR: 4 calibration patients .*90% needs at least 9"
        ):
            calibrate_weights(str(copy), four, jobs)
    assert card(copy) == before
    assert (
        calibrate_weights(str(copy), four, ["complete-FLAIR"], 0.8)["complete-FLAIR"].patients == 4
    )


def test_patients_whom_the_weights_were_trained_on_do_not_count(copy: Path, nine: Path) -> None:
    change(copy, data={"sources": {"our-ward": 1.0}, "validate_on": 2})
    with pytest.raises(CalibrationError, match="complete-FLAIR: 2 calibration patients"):
        calibrate_weights(str(copy), nine)


def test_visits_of_one_patient_are_one_case(copy: Path, tmp_path: Path) -> None:
    root = folders.bids(tmp_path / "visits", 0)
    for index, (subject, session) in enumerate(
        (s, v) for s in ("sub-01", "sub-02") for v in ("ses-1", "ses-2")
    ):
        for contrast in ("T1w", "FLAIR"):
            name = f"{subject}_{session}_{contrast}.nii.gz"
            folders.write(root / subject / session / "anat" / name, folders.head(index, SHAPE))
    seen: list[int] = []
    found = calibrate_weights(
        str(copy), root, ["complete-FLAIR"], 0.6, progress=lambda _, done, total: seen.append(done)
    )
    assert found["complete-FLAIR"].patients == 2
    assert seen[-1] == 2
    assert seen == sorted(seen)


def test_what_cannot_be_calibrated_is_refused(copy: Path, nine: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"do not do 'complete-FLAR'. Did you mean 'complete-FLAIR'"
    ):
        calibrate_weights(str(copy), nine, ["complete-FLAR"])
    with pytest.raises(SettingError, match=r"Level 1\.5"):
        calibrate_weights(str(copy), nine, ["complete-FLAIR"], 1.5)
    plain = priors.weights(tmp_path, ("T1w", "FLAIR"), family="regression")
    with pytest.raises(SettingError, match="one estimate and no draws"):
        calibrate_weights(plain, nine)
    assert weights.card(str(copy))["calibration"] == {}


def test_the_command_says_what_was_calibrated(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = ward(tmp_path / "two", 2)
    words = [
        "calibrate",
        str(copy),
        "--data",
        str(two),
        "--jobs",
        "complete-FLAIR",
        "--level",
        "0.6",
        "--quiet",
    ]
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("complete-FLAIR: 60% interval from 2 patients, ")


@pytest.fixture
def denoiser(tmp_path: Path) -> Path:
    source = toys.weights("denoiser")
    for suffix in (".safetensors", ".json"):
        shutil.copy(source.with_suffix(suffix), tmp_path / f"denoiser{suffix}")
    return tmp_path / "denoiser.safetensors"


def test_a_denoiser_is_calibrated_by_jobs_of_its_own_and_not_on_a_folder(
    denoiser: Path, nine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def made(
        name: str, job: str, studies: object, patients: int, progress: object
    ) -> tuple[list[CalibrationCase], str]:
        asked.append((job, patients))
        spread = np.ones((4, 4))
        return [
            CalibrationCase(0.5 * spread, spread, spread > 0, f"p{k}") for k in range(9)
        ], "toys"

    with pytest.raises(SettingError, match="Leave out --data"):
        calibrate_weights(str(denoiser), nine, ["enhance-denoise"])
    monkeypatch.setattr(denoiser_calibration, "cases", made)
    found = calibrate_weights(str(denoiser), patients=12)
    assert asked == [(job, 12) for job in denoiser_calibration.JOBS]
    assert set(found) == set(denoiser_calibration.JOBS)
    assert found["enhance-denoise"].multiplier == pytest.approx(0.5)
    assert "calibration_steps" not in card(denoiser), "a denoiser has no number of steps"
