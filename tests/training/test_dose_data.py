"""Laws of what a dose predictor learns from, on made-up necks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import plans
from veridical.errors import InputError, SettingError
from veridical.models.dose_predictor import DosePredictor
from veridical.phantoms.neck import neck
from veridical.physics.prescriptions import STRUCTURES
from veridical.training.calibrate import calibrate_weights
from veridical.training.dose_data import DoseCourse, DoseData, histogram_difference, of_split
from veridical.training.train import train

CALIBRATED = tuple(f"pt_{n}" for n in range(3, 12))


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven necks as the public set, nine of which are held out."""
    root = tmp_path_factory.mktemp("root")
    place = root / "data" / "openkbp" / "train"
    place.mkdir(parents=True)
    for number in range(1, 12):
        image = neck((5.5, 5.5, 3.2), (float(number), 0.0, 0.0))
        plans.archive(place / f"pt_{number}.npz", image)
    patch = pytest.MonkeyPatch()
    patch.setenv("VERIDICAL_DATA", str(root / "data"))
    yield root
    patch.undo()


@pytest.fixture(scope="module")
def course(data: Path) -> DoseCourse:
    settings = DoseData(held_out=CALIBRATED, crop=(32, 24, 32), cache=str(data / "cache"))
    found = settings.course(DosePredictor, {}, 0, False)
    assert isinstance(found, DoseCourse)
    return found


def test_patients_are_those_of_the_split_that_are_not_held_out(course: DoseCourse) -> None:
    assert len(list(of_split("train"))) == 11
    assert list(of_split("val")) == []
    assert course.patients() == {"openkbp": 2}


def test_a_crop_has_its_size_and_the_same_step_gives_the_same(course: DoseCourse) -> None:
    one, again, other = course[5], course[5], course[6]
    assert one.dose.shape[2] == 32
    assert np.array_equal(one.features, again.features)
    assert one.features.shape != other.features.shape or not np.array_equal(
        one.features, other.features
    )


def test_the_cache_holds_what_was_computed(course: DoseCourse, data: Path) -> None:
    again = course.data.course(DosePredictor, {}, 0, False)
    assert sorted(file.name for file in (data / "cache").iterdir()) == ["pt_1.npz", "pt_2.npz"]
    assert np.array_equal(again[0].features, course[0].features)


def test_a_mirrored_patient_has_his_parotids_exchanged(course: DoseCourse) -> None:
    patient = course.known[0]
    flipped = patient.mirror()
    right, left = (STRUCTURES.index(f"{side}Parotid") for side in ("Right", "Left"))
    moved = (flipped.structures >> right & 1)[::-1]
    assert np.array_equal(moved, patient.structures >> left & 1)
    assert moved.any()
    assert np.array_equal(flipped.mirror().structures, patient.structures)
    assert np.array_equal(flipped.mirror().features, patient.features)


def test_histograms_do_not_see_where_a_dose_lies() -> None:
    rng = np.random.default_rng(0)
    bits = torch.full((6, 5, 4), 1 << STRUCTURES.index("PTV70"))
    dose = torch.from_numpy(rng.random((6, 5, 4)))
    mixed = dose.flatten()[torch.randperm(120)].reshape(dose.shape)
    assert float(histogram_difference(mixed, dose, bits)) == pytest.approx(0)
    assert float(histogram_difference(dose + 0.1, dose, bits)) == pytest.approx(0.1)
    assert float(histogram_difference(dose, dose, 0 * bits)) == 0


def test_it_trains_resumes_and_is_calibrated(data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "dose.toml"
    recipe.write_text(
        f"""
        limits = "Made-up necks."
        [model]
        name = "dose-predictor"
        widths = [8, 8]
        blocks = 1
        [data]
        held_out = {json.dumps(CALIBRATED)}
        crop = [32, 32, 32]
        cache = "{data / "cache"}"
        [training]
        steps = 4
        checkpoint = 2
        workers = 0
        validate = 2
        """
    )
    first = train(recipe, tmp_path / "run", steps=2)
    path = train(recipe, tmp_path / "run", resume=True)
    assert path == first
    log = (tmp_path / "run" / "log.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert lines[-1]["dose_gy"] > 0
    found = calibrate_weights(str(path))["plan"]
    assert found.patients == len(CALIBRATED)
    card = json.loads(path.with_suffix(".json").read_text())
    low, high = card["patient_ranges"]["target_ml"]
    assert 0 < low <= high


def test_wrong_tables_are_refused(course: DoseCourse) -> None:
    with pytest.raises(SettingError, match="learns from"):
        DoseData(sources={"openms": 1.0})
    with pytest.raises(SettingError, match="three sides"):
        DoseData(crop=(8, 8, 8))
    every = tuple(f"pt_{n}" for n in range(1, 12))
    with pytest.raises(InputError, match="No training patient"):
        DoseData(held_out=every, cache=course.data.cache).course(DosePredictor, {}, 0, False)
