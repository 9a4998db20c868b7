"""Intervals for estimates of other generators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from veridical.apps.cli import main
from veridical.errors import CalibrationError, GeometryError, InputError
from veridical.io.nifti import write_nifti
from veridical.io.stored_results import stored_result
from veridical.types import Geometry, Image
from veridical.workflow.calibrated_interval import CalibratedInterval

SHAPE = (12, 12, 3)
GRID = Geometry(SHAPE, np.diag([2.0, 2.0, 3.0, 1.0]))


def patient(seed: int, wrong: float = 1.0) -> dict[str, Image]:
    """Return truth, estimate, spread and labels: spread half of the error, a sixth in label 2."""
    rng = np.random.default_rng(seed)
    labels = np.ones(SHAPE, np.float32)
    labels[:4] = 2
    truth = rng.uniform(80, 120, SHAPE).astype(np.float32)
    truth[:, :2] = 0  # air
    spread = rng.uniform(1, 3, SHAPE).astype(np.float32)
    error = wrong * spread * np.where(labels == 2, 6, 2) * rng.standard_normal(SHAPE)
    arrays = {"truth": truth, "estimate": truth + error, "spread": spread, "labels": labels}
    return {
        name: Image(
            one[None].astype(np.float32), GRID, "label" if name == "labels" else "a.u.", ("T1w",)
        )
        for name, one in arrays.items()
    }


def written(folder: Path, count: int) -> Path:
    for number in range(count):
        for name, one in patient(number).items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            write_nifti(one, folder / name / f"sub-{number:02d}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("patients"), 20)


def inside(made: dict[str, Image], given: CalibratedInterval) -> np.ndarray:
    band = given(made["estimate"], made["spread"]).interval
    assert band is not None
    truth = made["truth"].data
    return np.asarray((truth >= band.lower) & (truth <= band.upper))[0]


def test_new_patients_lie_inside_as_often_as_promised(patients: Path) -> None:
    given = CalibratedInterval(patients)
    found = [inside(patient(100 + n), given)[:, 2:].mean() for n in range(10)]
    assert 0.89 < float(np.mean(found)) < 0.96


def test_with_labels_each_region_has_a_band_of_its_own(patients: Path, tmp_path: Path) -> None:
    write_nifti(patient(0)["labels"], tmp_path / "labels.nii.gz")
    several = [patient(200 + n) for n in range(5)]
    whole = np.mean([inside(new, CalibratedInterval(patients)) for new in several], 0)
    labels = tmp_path / "labels.nii.gz"
    own = np.mean([inside(new, CalibratedInterval(patients, labels=labels)) for new in several], 0)
    assert whole[:4, 2:].mean() < 0.85
    assert own[:4, 2:].mean() > 0.88
    assert own[4:, 2:].mean() < whole[4:, 2:].mean()


def test_too_few_patients_are_refused(tmp_path: Path) -> None:
    new = patient(3)
    with pytest.raises(CalibrationError, match="at least 9"):
        CalibratedInterval(written(tmp_path, 8))(new["estimate"], new["spread"])


def test_what_does_not_fit_is_named(patients: Path, tmp_path: Path) -> None:
    new = patient(3)
    other = Image(new["spread"].data[..., :2], Geometry((12, 12, 2), GRID.affine), "a.u.", ("T1w",))
    with pytest.raises(GeometryError, match="spread"):
        CalibratedInterval(patients)(new["estimate"], other)
    (tmp_path / "truth").mkdir()
    with pytest.raises(InputError, match="estimate"):
        CalibratedInterval(tmp_path)(new["estimate"], new["spread"])


def test_the_command_writes_a_result(
    patients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = patient(7)
    for name in ("estimate", "spread"):
        write_nifti(new[name], tmp_path / f"{name}.nii.gz")
    words = ["interval", tmp_path / "estimate.nii.gz", tmp_path / "out", "--quiet"]
    words += ["--spread", tmp_path / "spread.nii.gz", "--patients", patients, "--level", "0.8"]
    assert main([str(word) for word in words]) == 0
    assert "80%" in capsys.readouterr().out
    stored = stored_result(tmp_path / "out").interval
    assert stored is not None
    assert (stored.lower <= stored.upper).all()
    (step,) = stored_result(tmp_path / "out").steps
    assert step.task == "interval"
    assert {"estimate", "spread", "error of sub-00"} <= set(step.inputs)
    assert main([str(word) for word in words]) == 2
