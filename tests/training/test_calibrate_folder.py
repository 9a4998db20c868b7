"""Calibration on a folder of one's own: whose images count, what is written into the card, and refusal of too few."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import folders
import toys
from veridical.apps.cli import main
from veridical.audit.interval import Calibration
from veridical.errors import CalibrationError, InputError, SettingError
from veridical.io.assemble import read_together
from veridical.layouts.folder_cases import cases
from veridical.models import weights
from veridical.tasks.complete import Complete
from veridical.training import calibrate_folder as here
from veridical.training.calibrate_folder import calibrate_folder
from veridical.training.patient_volumes import held_out_of

SHAPE = (32, 32, 2)


def ward(root: Path, patients: int, contrasts: tuple[str, ...] = ("T1w", "FLAIR")) -> Path:
    """A BIDS folder of small heads."""
    folders.bids(root, 0)
    for index in range(1, patients + 1):
        for place, contrast in enumerate(contrasts):
            subject = f"sub-{index:02}"
            image = folders.head(10 * index + place, SHAPE)
            folders.write(root / subject / "anat" / f"{subject}_{contrast}.nii.gz", image)
    return root


@pytest.fixture(scope="module")
def nine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ward(tmp_path_factory.mktemp("nine") / "our-ward", 9)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the toy weights whose card may be written to."""
    source = toys.weights("brain-prior")
    for path in (source, source.with_suffix(".json")):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / source.name


def card(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return found


def test_the_band_that_tasks_then_give_rests_on_the_patients_of_the_folder(copy: Path, nine: Path) -> None:
    found = calibrate_folder(str(copy), nine, "FLAIR")
    assert list(found) == ["complete-FLAIR"]
    assert (found["complete-FLAIR"].level, found["complete-FLAIR"].patients) == (0.9, 9)
    task = Complete(to="FLAIR", weights=str(copy), draws=2)
    result = task(read_together([nine / "sub-01/anat/sub-01_T1w.nii.gz"]), seed=0)
    assert result.interval is not None
    assert (result.interval.patients, result.interval.level) == (9, 0.9)
    assert "9 patients of our-ward, FLAIR made from T1w" in result.interval.promises


def test_every_contrast_that_enough_patients_have_is_calibrated_and_the_rest_of_the_card_stays(copy: Path, nine: Path) -> None:
    before = card(copy) | {"calibration": {"reconstruct": {"kept": True}}}
    copy.with_suffix(".json").write_text(json.dumps(before), encoding="utf-8")
    found = calibrate_folder(str(copy), nine)
    after = card(copy)
    assert set(found) == {"complete-T1w", "complete-FLAIR"}
    assert after["calibration"]["reconstruct"] == {"kept": True}
    assert {key: Calibration.from_dict(after["calibration"][key]) for key in found} == found
    assert after["calibration_steps"] == Complete().steps
    assert {key: after[key] for key in before if key != "calibration"} == {
        key: before[key] for key in before if key != "calibration"
    }


def test_nine_patients_promise_ninety_percent_and_all_of_them_are_inside(copy: Path, nine: Path) -> None:
    """With n = 9 no voxel of a calibration patient may be missed: the multiplier is the largest ratio of all."""
    assert calibrate_folder(str(copy), nine, "FLAIR")["complete-FLAIR"].reached == (1.0, 1.0, 1.0)


def test_too_few_patients_are_refused_with_what_they_could_promise_and_the_card_stays(copy: Path, tmp_path: Path) -> None:
    four, before = ward(tmp_path / "four", 4), card(copy)
    with pytest.raises(
        CalibrationError, match=r"FLAIR: 4\. .*90% needs at least 9\. Add patients, or ask for --level 0\.8, which 4"
    ):
        calibrate_folder(str(copy), four, "FLAIR")
    assert card(copy) == before
    assert calibrate_folder(str(copy), four, "FLAIR", 0.8)["complete-FLAIR"].patients == 4


@pytest.mark.parametrize("patients", [4, 5, 6, 7, 8])
def test_the_level_that_is_proposed_can_be_given(patients: int, tmp_path: Path) -> None:
    every = cases(ward(tmp_path / "few", patients))
    proposed = float(here._too_few({"FLAIR": every}, "few", 9, 0.9).split("--level ")[1].split(",")[0])
    assert here.patients_needed(proposed) <= patients


def test_patients_whom_the_weights_were_trained_on_do_not_count(copy: Path, nine: Path) -> None:
    trained = card(copy)
    trained["data"] |= {"sources": {"our-ward": 1.0}, "validate_on": 2}
    copy.with_suffix(".json").write_text(json.dumps(trained), encoding="utf-8")
    assert {case.patient for case in here._unseen(trained, nine)} == set(held_out_of(nine, (), 2))
    with pytest.raises(CalibrationError, match=r"not trained on.*FLAIR: 2\."):
        calibrate_folder(str(copy), nine)


def test_visits_of_one_patient_are_one_case(copy: Path, tmp_path: Path) -> None:
    root = folders.bids(tmp_path / "visits", 0)
    for index, (subject, session) in enumerate((s, v) for s in ("sub-01", "sub-02") for v in ("ses-1", "ses-2")):
        for contrast in ("T1w", "FLAIR"):
            name = f"{subject}_{session}_{contrast}.nii.gz"
            folders.write(root / subject / session / "anat" / name, folders.head(index, SHAPE))
    seen: list[tuple[int, int]] = []
    found = calibrate_folder(str(copy), root, "FLAIR", 0.6, lambda _, done, total: seen.append((done, total)))
    assert found["complete-FLAIR"].patients == 2
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_slices_are_spread_over_those_in_which_every_image_shows_something() -> None:
    t1w, flair = np.zeros((2, 40, 8, 8))
    t1w[5:35], flair[10:38] = 0.5, 0.5
    found = here.chosen({"T1w": t1w, "FLAIR": flair})
    assert (found[0], found[-1], len(found)) == (10, 34, here.SLICES)
    with pytest.raises(InputError, match="same part of the body"):
        here.chosen({"T1w": t1w[:8], "FLAIR": flair[:8]})


def test_what_cannot_be_calibrated_is_refused(copy: Path, nine: Path) -> None:
    with pytest.raises(SettingError, match="'T2w'"):
        calibrate_folder(str(copy), nine, "T2w")
    with pytest.raises(SettingError, match=r"level of 1\.5"):
        calibrate_folder(str(copy), nine, "FLAIR", 1.5)
    with toys.shipped(), pytest.raises(InputError, match=r"Copy brain-prior\.safetensors and brain-prior\.json"):
        calibrate_folder("brain-prior", nine)
    assert weights.card(str(copy)).get("calibration", {}) == {}


def test_the_command_says_what_was_calibrated_and_refuses_flags_of_the_other_kind(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = ward(tmp_path / "two", 2)
    assert main(["calibrate", str(copy), "--data", str(two), "--to", "FLAIR", "--level", "0.6", "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("complete-FLAIR: 60% band from 2 patients, ")
    for words, said in ((["--data", str(two), "--scans", "300"], "digital"), (["--to", "FLAIR"], "--data FOLDER")):
        assert main(["calibrate", str(copy), *words]) == 2
        assert said in capsys.readouterr().err
