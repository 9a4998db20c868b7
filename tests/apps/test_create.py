"""`veridical synthesize OUTPUT`: patients from nothing or from a label map, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from label_balls import ball
from veridical.apps.cli import main

TINY = ["--spacing", "8", "--contrasts", "T1w", "--quiet"]


def test_it_makes_as_many_patients_as_asked_for_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "set")
    assert main(["synthesize", out, "--n", "2", "--age", "70", *TINY]) == 0
    printed = capsys.readouterr().out
    assert printed.count("made ") == 2
    assert "70" in printed
    assert main(["synthesize", out, "--n", "3", "--age", "70", "--json", *TINY]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one["status"] for one in said["patients"]] == ["kept", "kept", "made"]
    assert Path(said["table"]).exists()


def test_it_paints_a_label_map_that_veridical_wrote_without_being_told_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", str(tmp_path / "second")
    assert main(["synthesize", str(first), "--pathology", "ms", *TINY]) == 0
    mask = first / "sub-0001" / "anat" / "sub-0001_dseg.nii.gz"
    assert main(["synthesize", second, "--mask", str(mask), "--contrasts", "CT", "--quiet"]) == 0
    again = nibabel.load(Path(second) / "sub-0001" / "anat" / "sub-0001_dseg.nii.gz")
    np.testing.assert_array_equal(again.dataobj, nibabel.load(mask).dataobj)
    assert main(["rerun", str(Path(second) / "sub-0001" / "provenance.json"), "--quiet"]) == 0
    assert "same bytes" in capsys.readouterr().out


def test_unknown_labels_are_refused_by_number_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ball().labels.copy()
    labels[0, 0, 0] = 99
    mask = tmp_path / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), mask)
    out = tmp_path / "out"
    assert main(["synthesize", str(out), "--mask", str(mask), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "99" in error
    assert "freesurfer does not name" in error
    assert not list(out.glob("sub-*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--n", "0"], "1 patient or more"),
        (["--contrasts", "T3w"], "T2w"),
        (["--age", "4"], "--age 4"),
        (["--mask", "nowhere.nii.gz"], "does not exist"),
    ],
)
def test_wishes_out_of_range_end_with_one_message(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["synthesize", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err


def test_its_help_explains_settings_and_running(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthesize", "--help"]) == 0
    helped = capsys.readouterr().out
    for flag in ("OUTPUT", "--n", "--mask", "--age", "--lesion-load", "--seed"):
        assert flag in helped
    assert "--axes" not in helped
