"""A folder of patients in DICOM: each result goes back beside its own series."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

import folders
from dicom_sources import errors, source_series
from fakes import Jitter
from veridical.errors import InputError
from veridical.workflow.cases import Keeping, Outcome
from veridical.workflow.dicom_folder import OBJECTS
from veridical.workflow.folder import run_folder

pytest.importorskip("highdicom")


IDS = {"patient0": "A 1", "patient1": "B 2"}


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Two patients, each with one series."""
    for number, (folder, patient) in enumerate(IDS.items()):
        place = tmp_path / "in" / folder / "study" / "series"
        source_series(place, ("MR", "CT")[number], number=number, PatientID=patient)
    return tmp_path / "in"


def run(root: Path, out: Path) -> list[Outcome]:
    return run_folder(Jitter(draws=2), root, out, keeping=Keeping(dicom=True))


def test_each_result_has_valid_objects_in_the_study_of_its_own_series(
    patients: Path, tmp_path: Path
) -> None:
    outcomes = run(patients, tmp_path / "out")
    assert [outcome.status for outcome in outcomes] == ["done"] * 2
    for outcome in outcomes:
        files = sorted((tmp_path / "out" / outcome.folder / OBJECTS).rglob("*.dcm"))
        assert {file.parent.name.split("-")[-1] for file in files} == {
            "estimate", "interval", "evidence", "report",
        }  # fmt: skip
        assert errors([file for file in files if file.name == "0001.dcm"]) == []
        assert pydicom.dcmread(files[0]).PatientID == IDS[outcome.case.removeprefix("sub-")]


def test_results_that_are_kept_get_objects_that_were_not_asked_for_before(
    patients: Path, tmp_path: Path
) -> None:
    run_folder(Jitter(draws=2), patients, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.dcm"))
    outcomes = run(patients, tmp_path / "out")
    assert {outcome.status for outcome in outcomes} == {"kept"}
    assert len(list((tmp_path / "out").rglob("report/0001.dcm"))) == 2


def test_a_folder_without_dicom_is_refused_before_the_work(tmp_path: Path) -> None:
    root = folders.bids(tmp_path / "in", 1, ("T1w",))
    with pytest.raises(InputError, match=r"--dicom writes beside DICOM series\. Leave it out"):
        run(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
