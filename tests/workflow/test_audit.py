"""The audit of results, images and sets: which checks are asked, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from veridical.errors import InputError, SettingError
from veridical.evaluation.signature import verify
from veridical.io.nifti import write_nifti
from veridical.io.stored_results import stored_result
from veridical.provenance import outputs
from veridical.tasks.enhance import Enhance
from veridical.testing.subjects import image
from veridical.workflow.audit import Audit


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a denoised image, whose input is a file."""
    folder = tmp_path_factory.mktemp("result")
    write_nifti(image(), folder / "T1w.nii.gz")
    from veridical import read

    made = Enhance(draws=2)(read(folder / "T1w.nii.gz", contrast="T1w"))
    made.save(folder / "made", "sub-01")
    return folder / "made"


def test_a_stored_result_has_the_same_arrays_and_findings(result: Path) -> None:
    from veridical import read

    again = Enhance(draws=2)(read(result.parent / "T1w.nii.gz", contrast="T1w"))
    stored = stored_result(result)
    assert outputs(stored) == outputs(again)
    assert [one.check for one in stored.findings] == [one.check for one in again.findings]


def test_an_audit_writes_a_signed_page(result: Path, tmp_path: Path) -> None:
    found = Audit()(result, tmp_path / "audit")
    written = json.loads((tmp_path / "audit" / "report.json").read_text())
    assert [one["check"] for one in written["findings"]] == [one.check for one in found.findings]
    assert verify(tmp_path / "audit" / "report.json") == ()
    page = (tmp_path / "audit" / "report.html").read_text()
    assert "not for each voxel" in page
    changed = (tmp_path / "audit" / "report.json").read_text().replace("consistency", "Consistency")
    (tmp_path / "audit" / "report.json").write_text(changed)
    assert verify(tmp_path / "audit" / "report.json")


def test_only_the_checks_that_are_asked_for_are_run(result: Path) -> None:
    assert {one.check for one in Audit(checks=("consistency",))(result).findings} == {"consistency"}
    with pytest.raises(SettingError, match="consistency"):
        Audit(checks=("consistancy",))(result)


def test_the_input_of_a_result_is_found_again(result: Path) -> None:
    study = Audit(checks=("consistency",))(result).study
    assert list(study.visit()) == ["T1w"]
    assert study.again is not None
    repeated = study.again(study, stored_result(result).steps[0].seed)
    assert np.array_equal(repeated.image.data, stored_result(result).image.data)


def test_a_folder_of_images_is_audited_as_a_set(tmp_path: Path) -> None:
    for number in range(3):
        write_nifti(image(), tmp_path / f"sub-{number}.nii.gz")
    found = Audit()(tmp_path)
    assert len(found.study.generated) == 3
    assert "consistency" not in {one.check for one in found.findings}


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="CSV"):
        Audit(table=tmp_path / "none.csv")(image())


def test_a_check_that_was_asked_for_and_does_not_apply_says_so() -> None:
    (found,) = Audit(checks=("hallucination",))(image()).findings
    assert (found.check, found.verdict) == ("hallucination", "not_run")
    assert "does not apply" in found.reason


def test_every_image_of_a_set_is_in_the_signed_hashes(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / "made").mkdir(exist_ok=True)
        (tmp_path / "real").mkdir(exist_ok=True)
        write_nifti(image(), tmp_path / "made" / f"sub-{number}.nii.gz")
        write_nifti(image(), tmp_path / "real" / f"sub-{number}.nii.gz")
    found = Audit(training=tmp_path / "real", checks=("fairness",))(tmp_path / "made")
    wanted = {f"memory:{role}/sub-{n}" for role in ("set", "training") for n in range(2)}
    assert wanted <= set(found.inputs)
