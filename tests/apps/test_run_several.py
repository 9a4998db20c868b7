"""On the command line: several files of one patient, a mask of lesions, and whole folders of
patients.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import folders
import veridical
from priors import BODY, weights
from veridical.apps.cli import main
from veridical.io import bids

Capture = pytest.CaptureFixture[str]
FAST = ("--draws", "2", "--steps", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return folders.bids(tmp_path / "in", 2, ("T1w", "T2w"))


def call(*words: str | Path) -> int:
    return main([str(word) for word in words])


def image(root: Path, name: str) -> Path:
    return root / "sub-01" / "anat" / f"sub-01_{name}.nii.gz"


def test_several_files_of_one_patient_are_channels_and_rerun_reads_them_again(
    root: Path, path: str, tmp_path: Path, capsys: Capture
) -> None:
    words = ("--beside", image(root, "T2w"), "--to", "FLAIR,PD", "--weights", path, *FAST)
    assert call("complete", image(root, "T1w"), tmp_path / "out", *words) == 0
    step = bids.load_provenance(tmp_path / "out").steps[0]
    assert [Path(file).name for file in step.source["paths"]] == [
        "sub-01_T1w.nii.gz",
        "sub-01_T2w.nii.gz",
    ]
    capsys.readouterr()
    assert call("rerun", tmp_path / "out") == 0
    assert capsys.readouterr().out.startswith("same bytes: estimate")
    image(root, "T2w").unlink()
    assert call("rerun", tmp_path / "out") == 2
    assert "cannot be read any more" in capsys.readouterr().err


def test_mr_and_ct_stand_beside_each_other_each_in_its_own_units(tmp_path: Path) -> None:
    path = weights(tmp_path, BODY)
    mr, ct = tmp_path / "leg_T1w.nii.gz", tmp_path / "leg_CT.nii.gz"
    folders.write(mr, folders.head(1))
    folders.write(ct, folders.head(2) - 1000, (1.0, 2.0, 4.0))
    assert (
        call(
            "translate",
            mr,
            tmp_path / "out",
            "--beside",
            ct,
            "--to",
            "PET",
            "--weights",
            path,
            *FAST,
        )
        == 0
    )
    record = bids.load_provenance(tmp_path / "out")
    assert record.image["units"] == "SUV"
    assert "CT, resampled" in record.steps[0].inputs
    assert call("rerun", tmp_path / "out") == 0


def test_a_mask_of_lesions_is_checked_and_contrasts_are_named_where_files_do_not(
    root: Path, path: str, tmp_path: Path
) -> None:
    plain, mask = tmp_path / "a.nii.gz", tmp_path / "marked.nii.gz"
    plain.write_bytes(image(root, "T1w").read_bytes())
    folders.write(mask, (folders.head(1) > 50).astype(np.uint8))
    words = ("--lesions", mask, "--contrast", "T1w", "--weights", path, *FAST)
    assert call("complete", plain, tmp_path / "out", *words) == 0
    reasons = [
        finding.reason
        for finding in bids.load_provenance(tmp_path / "out").findings
        if finding.check == "pathology"
    ]
    assert "marked lesions" in reasons[0]
    assert call("rerun", tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["T1w", "--beside", "T1w"], "Name each file"),
        (["T1w", "--beside", "T2w", "--contrast", "T1w"], "give one a file"),
        (["T1w", "--beside", "gone"], "does not exist"),
        (["T1w", "--beside", "T2w", "--slices", "1", "2"], "--slices is for a single file"),
        (["T1w", "--beside", "far"], "do not overlap"),
    ],
)
def test_files_that_do_not_go_together_are_refused_and_nothing_is_written(
    words: list[str], hint: str, root: Path, path: str, tmp_path: Path, capsys: Capture
) -> None:
    far = veridical.read(image(root, "T2w"))
    affine = np.array(far.geometry.affine)
    affine[0, 3] += 500
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.asarray(far.data[0]), affine), tmp_path / "far_T2w.nii.gz")
    files = {
        "T1w": image(root, "T1w"),
        "T2w": image(root, "T2w"),
        "gone": root / "no.nii.gz",
        "far": tmp_path / "far_T2w.nii.gz",
    }
    first, *rest = [
        str(files.get(word, word)) if i == 0 or words[i - 1] == "--beside" else word
        for i, word in enumerate(words)
    ]
    assert call("complete", first, tmp_path / "out", *rest, "--weights", path, *FAST) == 2
    assert hint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_is_done_case_by_case_and_the_json_has_all_of_them(
    root: Path, path: str, tmp_path: Path, capsys: Capture
) -> None:
    assert call("complete", root, tmp_path / "out", "--weights", path, *FAST, "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert [(one["case"], one["status"]) for one in found["cases"]] == [
        ("sub-01", "done"),
        ("sub-02", "done"),
    ]
    assert all(Path(found[file]).is_file() for file in ("table", "summary"))
    assert call("complete", root, tmp_path / "out", "--weights", path, *FAST) == 0
    out = capsys.readouterr().out
    assert "sub-01: FLAIR from T1w, T2w (was there already)" in out
    assert call("rerun", tmp_path / "out" / "sub-01" / "anat") == 0


def test_a_failed_case_is_exit_code_2_with_its_reason_and_the_others_are_there(
    root: Path, path: str, tmp_path: Path, capsys: Capture
) -> None:
    image(root, "T1w").write_bytes(b"nothing")
    assert call("complete", root, tmp_path / "out", "--weights", path, *FAST) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("veridical: 1 of 2 cases failed: sub-01: ")
    assert "cases.tsv" in captured.err
    assert "sub-02: FLAIR from T1w, T2w" in captured.out
    assert (tmp_path / "out" / "sub-02" / "anat" / "provenance.json").is_file()


@pytest.mark.parametrize(
    "words", [("--units", "HU"), ("--name", "x"), ("--slices", "1", "2"), ("--beside", "x.nii.gz")]
)
def test_flags_about_one_file_are_refused_for_a_folder(
    words: tuple[str, ...], root: Path, path: str, tmp_path: Path, capsys: Capture
) -> None:
    assert call("complete", root, tmp_path / "out", "--weights", path, *words) == 2
    assert f"{words[0]} is for one file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_contrast_chooses_what_of_a_folder_is_used_and_draws_are_kept_when_asked(
    root: Path, path: str, tmp_path: Path
) -> None:
    assert (
        call(
            "complete",
            root,
            tmp_path / "out",
            "--contrast",
            "T2w",
            "--keep-draws",
            "--weights",
            path,
            *FAST,
        )
        == 0
    )
    step = bids.load_provenance(tmp_path / "out" / "sub-01" / "anat").steps[0]
    assert step.source["images"] == ((0.0, "T2w"),)
    assert list((tmp_path / "out").rglob("*draws*"))


def test_enhancing_a_folder_makes_a_data_set_for_each_contrast(root: Path, tmp_path: Path) -> None:
    words = (
        "--job",
        "super-resolve",
        "--model",
        "zero-filled",
        "--contrast",
        "T2w",
        "--noise",
        "2",
    )
    assert call("enhance", root, tmp_path / "out", *words) == 0
    files = [
        file.relative_to(tmp_path / "out").as_posix()
        for file in (tmp_path / "out").rglob("*estimate*")
    ]
    assert sorted(files) == [f"T2w/sub-0{n}/anat/sub-0{n}_desc-estimate_T2w.nii.gz" for n in (1, 2)]
