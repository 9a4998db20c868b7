"""Of several images of one contrast one is chosen by the stated rule, and what it was chosen among
is said.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_sets import picture, put, put_dicom

from veridical.layouts.discovery import studies
from veridical.types import Study

FINE, COARSE = np.diag([1.0, 1, 1, 1]), np.diag([2.0, 2, 2, 1])


def bids(root: Path, *names: str, **grids: tuple[np.ndarray, tuple[int, int, int]]) -> Path:
    """One patient with these images; `grids` gives affine and shape by the name before its first
    `_`.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    for name in names:
        affine, shape = grids.get(name.split("_")[0].replace("-", ""), (FINE, (8, 8, 8)))
        put(root / "sub-01" / "anat" / f"sub-01_{name}.nii.gz", picture(name, shape), affine)
    return root


def only(root: Path) -> Study:
    (study,) = studies(root)
    return study


def taken(study: Study, name: str = "T1w") -> str:
    return str(study.visits[0.0].entries[name].path.rpartition("/")[2])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("names", "grids", "first", "why"),
    [
        (("acq-localizer_T1w", "acq-mprage_T1w"), {"acqlocalizer": (FINE, (20, 20, 20))}, "acq-mprage", "a localizer"),  # noqa: E501
        (("acq-AAHeadScout_T1w", "T1w"), {}, "T1w", "a localizer"),
        (("acq-a_T1w", "acq-b_T1w"), {"acqa": (COARSE, (4, 4, 4))}, "acq-b", "coarser voxels"),
        (("acq-a_T2w", "acq-b_T2w"), {"acqa": (FINE / 4 + np.diag([0, 0, 0, 0.75]), (8, 8, 8)), "acqb": (FINE, (8, 8, 8))},  # noqa: E501
         "acq-b", "covers less"),
        (("run-1_T1w", "run-2_T1w"), {}, "run-2", "an earlier run"),
        (("run-2_T1w", "run-10_T1w"), {}, "run-10", "an earlier run"),
        (("rec-norm_T1w", "T1w"), {}, "T1w", "another reconstruction"),
        (("echo-1_T1w", "echo-2_T1w"), {}, "echo-1", "a later echo"),
        (("acq-x_T1w", "acq-y_T1w"), {}, "acq-x", "the first by name"),
    ],
)  # fmt: skip
def test_the_rule_decides_and_says_why(
    names: tuple[str, ...],
    grids: dict[str, tuple[np.ndarray, tuple[int, int, int]]],
    first: str,
    why: str,
    tmp_path: Path,
) -> None:
    study = only(bids(tmp_path, *names, **grids))
    contrast = names[0].rpartition("_")[2]
    assert first in taken(study, contrast)
    assert why in study.notes[0]
    assert study.notes[0].startswith(f"{contrast} is sub-01/anat/")
    assert all(name in study.notes[0] for name in names), "what it was chosen among is named"
    assert {taken(study, name) for name in study.visits[0.0]} == {
        f"sub-01_{name}.nii.gz" for name in names
    }


def test_an_image_that_stands_alone_is_no_choice(tmp_path: Path) -> None:
    assert only(bids(tmp_path, "T1w", "ce-gd_T1w", "T2w")).notes == ()


def test_phase_is_no_candidate_for_magnitude(tmp_path: Path) -> None:
    study = only(bids(tmp_path, "part-mag_T1w", "part-phase_T1w"))
    assert taken(study) == "sub-01_part-mag_T1w.nii.gz"
    assert list(study.visits[0.0]) == ["T1w"]


def test_a_damaged_candidate_is_not_preferred_and_stops_nothing(tmp_path: Path) -> None:
    bids(tmp_path, "run-1_T1w", "run-2_T1w")
    file = tmp_path / "sub-01" / "anat" / "sub-01_run-2_T1w.nii.gz"
    file.write_bytes(file.read_bytes()[:40])
    study = only(tmp_path)
    assert "run-1" in taken(study)
    assert "its header cannot be read" in study.notes[0]


def test_capitals_in_suffix_and_extension_mean_the_same(tmp_path: Path) -> None:
    bids(tmp_path, "T2w")
    made = put(tmp_path / "sub-01" / "anat" / "sub-01_T1W.nii.gz", picture("x"))
    made.rename(made.with_name("sub-01_T1W.NII.GZ"))
    study = only(tmp_path)
    assert sorted(study.visits[0.0]) == ["T1w", "T2w"]
    assert study.visits[0.0]["T1w"].geometry.shape == (8, 7, 5)


def test_of_a_dicom_folder_with_a_localizer_the_scan_is_taken_and_the_series_are_named(
    tmp_path: Path,
) -> None:
    put_dicom(
        tmp_path / "p1/a",
        picture(1, (3, 8, 6)),
        "p1",
        modality="MR",
        name="T1 localizer",
        SeriesNumber=1,
    )
    put_dicom(
        tmp_path / "p1/b",
        picture(2, (6, 8, 6)),
        "p1",
        modality="MR",
        name="t1_mprage_sag",
        SeriesNumber=4,
    )
    put_dicom(
        tmp_path / "p1/c",
        picture(3, (6, 8, 6)),
        "p1",
        modality="MR",
        name="t1_mprage_sag",
        SeriesNumber=7,
    )
    study = only(tmp_path)
    assert taken(study) == "c"
    assert "'T1 localizer' (a localizer)" in study.notes[0]
    assert "'t1_mprage_sag' (an earlier run)" in study.notes[0]


def test_several_series_in_one_folder_are_read_each_on_its_own(tmp_path: Path) -> None:
    for number, (name, count) in enumerate(
        (("AAHead_Scout T1", 3), ("ax T2", 5), ("t1_mpr", 7)), 1
    ):
        put_dicom(
            tmp_path / "x",
            picture(name, (count, 8, 6)),
            "p1",
            modality="MR",
            name=name,
            SeriesNumber=number,
        )
        for file in sorted((tmp_path / "x").glob("0*.dcm")):
            file.rename(tmp_path / f"{number}_{file.name}")
    study = only(tmp_path)
    shapes = {name: image.geometry.shape[2] for name, image in study.visits[0.0].items()}
    assert shapes == {"T1w": 7, "T2w": 5, "T1w.2": 3}


def test_series_of_two_patients_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    for patient in ("A", "B"):
        put_dicom(tmp_path / "x", picture(patient, (4, 8, 6)), patient, modality="MR", name="t1")
        for file in sorted((tmp_path / "x").glob("0*.dcm")):
            file.rename(tmp_path / f"{patient}_{file.name}")
    (visit,) = only(tmp_path).visits.values()
    with pytest.raises(Exception, match="2 series"):
        visit["T1w"]


def test_a_localizer_whose_contrast_nothing_tells_is_named_beside_the_scan(tmp_path: Path) -> None:
    put_dicom(
        tmp_path / "p1/a", picture(1, (3, 8, 6)), "p1", modality="MR", name="3-plane localizer"
    )
    put_dicom(tmp_path / "p1/b", picture(2, (6, 8, 6)), "p1", modality="MR", name="t1_mprage_sag")
    study = only(tmp_path)
    assert study.visits[0.0].names("image") == ("T1w",)  # type: ignore[attr-defined]
    assert study.notes == ("Left out: p1/a '3-plane localizer' is a localizer.",)
