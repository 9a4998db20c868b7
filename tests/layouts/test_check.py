"""A check of a sound set finds nothing; each kind of damage is found, named, and laid to the right
file.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from made_sets import AFFINE, MAKERS, brats, mask, picture, put, put_dicom, tomogram

from veridical.errors import BudgetError, InputError
from veridical.layouts import check as module
from veridical.layouts.brats import Brats
from veridical.layouts.check import check
from veridical.layouts.check_report import Report
from veridical.layouts.issues import Issue

CASE = "BraTS20_Training_002"


def file_of(root: Path, name: str, case: str = CASE) -> Path:
    return root / case / f"{case}_{name}.nii.gz"


def found(report: Report, level: str = "error") -> list[tuple[str, str]]:
    return [(one.code, one.path) for one in report.findings if one.level == level]


def only(report: Report, code: str, level: str = "error") -> Issue:
    """The one finding of a code; nothing else is as grave."""
    (one,) = [one for one in report.findings if one.level == level]
    assert one.code == code, one
    return one


@pytest.mark.parametrize("name", MAKERS)
def test_a_sound_set_of_every_layout_is_sound_and_counted(name: str, tmp_path: Path) -> None:
    layout, make, count = MAKERS[name]
    make(tmp_path / "set")
    report = check(tmp_path / "set")
    assert report.match is not None
    assert report.match.layout == layout
    assert (report.sound, report.patients) == (True, count)
    assert [one for one in report.findings if one.level != "note"] == []
    assert json.loads(json.dumps(report.to_dict()))["sound"] is True
    assert report.lines()[-1].strip().startswith("Sound: 0 errors, 0 warnings")


def test_the_counts_and_the_reason_are_in_the_report(tmp_path: Path) -> None:
    brats(tmp_path)
    report = check(tmp_path)
    assert (report.dataset, report.visits, report.slices) == ("BraTS2020", 3, 60)
    assert report.images == {"T1w": 3, "T1c": 3, "T2w": 3, "FLAIR": 3}
    assert report.labels == {"tumour": 3}
    assert report.match is not None
    assert report.match.reason == "15 of 15 data files have its names"
    assert report.runner_up is not None
    assert report.runner_up.layout == "volumes"
    assert "T1w: 8 x 7 x 5, voxels of 1 x 1 x 3 mm" in "\n".join(report.lines())
    assert report.read == "Headers of 15 of 15 entries read; voxels of all 15 read."


Damage = Callable[[Path], None]


def lost(root: Path) -> None:
    file_of(root, "t2").unlink()


def cut(root: Path) -> None:
    path = file_of(root, "t1")
    path.write_bytes(path.read_bytes()[:-200])


def cut_unpacked(root: Path) -> None:
    """A whole gzip file of half the voxels."""
    path = file_of(root, "t1")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))


def empty_file(root: Path) -> None:
    file_of(root, "t1").write_bytes(b"")


def no_nifti(root: Path) -> None:
    file_of(root, "t1").write_bytes(gzip.compress(b"<html>Not found</html>" * 40))


def zeros(root: Path) -> None:
    put(file_of(root, "t1ce"), np.zeros((8, 7, 5), np.int16))


def nothing_but_nan(root: Path) -> None:
    put(file_of(root, "t1ce"), np.full((8, 7, 5), np.nan, np.float32))


def other_patient(root: Path) -> None:
    for name in ("t1", "t1ce", "t2", "flair"):
        shutil.copy(file_of(root, name, "BraTS20_Training_001"), file_of(root, name))


def packed_again(root: Path) -> None:
    """The same image under another name, its file differing in every byte."""
    put(
        file_of(root, "flair"),
        np.asanyarray(nibabel.load(file_of(root, "t1")).dataobj).astype(np.float64),
    )


def twin(root: Path) -> None:
    shutil.copy(file_of(root, "t1"), file_of(root, "flair"))


def image_as_mask(root: Path) -> None:
    put(file_of(root, "seg"), picture("x").astype(np.float32) / 7)


def strange_labels(root: Path) -> None:
    put(file_of(root, "seg"), mask("x", (0, 1, 7)))


def smaller(root: Path) -> None:
    put(file_of(root, "t2"), picture("x", (8, 7, 4)))


def shifted(root: Path) -> None:
    affine = AFFINE.copy()
    affine[0, 3] = 12.0
    put(file_of(root, "t2"), picture("x"), affine)


def no_spacing(root: Path) -> None:
    path = file_of(root, "t2")
    image = nibabel.Nifti1Image(picture("x"), None)
    raw = bytearray(image.to_bytes())
    raw[76 + 12 : 76 + 16] = np.float32(0).tobytes()  # pixdim[3]
    raw[252:256] = bytes(4)  # qform and sform codes
    path.write_bytes(gzip.compress(bytes(raw)))


def metres(root: Path) -> None:
    for name in ("t1", "t1ce", "t2", "flair", "seg"):
        data = np.asanyarray(nibabel.load(file_of(root, name)).dataobj)
        put(file_of(root, name), data, np.diag([0.001, 0.001, 0.003, 1.0]))


def tomogram_as_mr(root: Path) -> None:
    put(file_of(root, "t1"), tomogram("x"))


def dangling(root: Path) -> None:
    file_of(root, "t1").unlink()
    file_of(root, "t1").symlink_to("../.git/annex/objects/none.nii.gz")


@pytest.mark.parametrize(
    ("damage", "code", "where", "words"),
    [
        (lost, "missing", CASE, f"T2w of {CASE} is not there: expected {CASE}/{CASE}_t2.nii.gz"),
        (cut, "unreadable", "t1", "T1w cannot be read"),
        (cut_unpacked, "unreadable", "t1", "truncated"),
        (empty_file, "unreadable", "t1", "empty"),
        (no_nifti, "unreadable", "t1", "NIfTI header"),
        (dangling, "unreadable", "t1", "Fetch it first"),
        (zeros, "empty", "t1ce", "T1c is the same number everywhere"),
        (nothing_but_nan, "unreadable", "t1ce", "NaN"),
        (twin, "mislabelled", "t1", "holds the same image as FLAIR"),
        (packed_again, "mislabelled", "t1", "holds the same image as FLAIR"),
        (image_as_mask, "mislabelled", "seg", "holds fractions"),
        (strange_labels, "label_values", "seg", "got 7; expected 0, 1, 2, 3, 4"),
        (smaller, "grid", "t2", "T2w lies on another grid"),
        (shifted, "grid", "t2", "12.0 mm apart"),
        (no_spacing, "grid", "t2", "lies on another grid"),
        (tomogram_as_mr, "mislabelled", "t1", "T1w has the values of a CT"),
    ],
)
def test_a_damaged_file_is_found_named_and_nothing_else_is(
    damage: Damage, code: str, where: str, words: str, tmp_path: Path
) -> None:
    brats(tmp_path)
    damage(tmp_path)
    report = check(tmp_path)
    issue = only(report, code)
    assert issue.path == (where if where == CASE else f"{CASE}/{CASE}_{where}.nii.gz")
    assert words in str(issue)
    assert str(tmp_path) not in str(issue)
    assert not report.sound
    assert "Not sound: 1 error" in report.lines()[-1]


def test_a_whole_case_of_another_patient_is_four_copies(tmp_path: Path) -> None:
    brats(tmp_path)
    other_patient(tmp_path)
    report = check(tmp_path)
    assert found(report) == [
        ("duplicate", f"{CASE}/{CASE}_{name}.nii.gz") for name in ("flair", "t1", "t1ce", "t2")
    ]
    assert "BraTS20_Training_001/BraTS20_Training_001_t1.nii.gz" in report.findings[1].got


def test_metres_for_millimetres_are_found_in_every_file(tmp_path: Path) -> None:
    brats(tmp_path)
    metres(tmp_path)
    assert {code for code, _ in found(check(tmp_path))} == {"spacing"}


def test_a_mask_that_most_have_is_warned_of_and_one_that_none_have_is_not(tmp_path: Path) -> None:
    brats(tmp_path)
    file_of(tmp_path, "seg").unlink()
    issue = only(check(tmp_path), "missing", "warn")
    assert "tumour" in issue.what
    for case in tmp_path.glob("BraTS*"):
        for seg in case.glob("*_seg.nii.gz"):
            seg.unlink()
    assert check(tmp_path).findings == ()


def test_an_empty_mask_is_a_note_and_two_of_them_are_no_copies(tmp_path: Path) -> None:
    brats(tmp_path)
    for number in (1, 2):
        case = f"BraTS20_Training_{number:03d}"
        put(file_of(tmp_path, "seg", case), np.zeros((8, 7, 5), np.uint8))
    report = check(tmp_path)
    assert report.sound
    assert [code for code, _ in found(report, "note")] == ["empty_label", "empty_label"]


def test_a_misnamed_mask_leaves_a_file_that_nothing_reads(tmp_path: Path) -> None:
    """As in BraTS 2020, case 355, whose mask is called W39_1998.09.19_Segm.nii."""
    brats(tmp_path)
    file_of(tmp_path, "seg").rename(tmp_path / CASE / "W39_1998.09.19_Segm.nii.gz")
    warned = found(check(tmp_path), "warn")
    assert warned == [("missing", CASE), ("unread", CASE)]


def test_rows_without_files_and_files_without_rows_are_found(tmp_path: Path) -> None:
    brats(tmp_path)
    table = tmp_path / "name_mapping.csv"
    table.write_text(table.read_text().replace("BraTS20_Training_002", "BraTS20_Training_009"))
    report = check(tmp_path)
    assert found(report, "warn") == [
        ("file_without_row", "name_mapping.csv"),
        ("row_without_files", "name_mapping.csv"),
    ]
    assert "BraTS20_Training_002" in report.findings[0].got
    assert "BraTS20_Training_009" in report.findings[1].got


def test_a_table_of_many_more_patients_says_that_this_is_a_part(tmp_path: Path) -> None:
    brats(tmp_path)
    with (tmp_path / "name_mapping.csv").open("a") as table:
        table.writelines(f"HGG,BraTS20_Training_{n:03d}\n" for n in range(100, 120))
    report = check(tmp_path)
    assert report.sound
    assert found(report, "note") == [("row_without_files", "name_mapping.csv")]


def test_a_patient_in_two_splits_is_a_leak_by_name_and_by_what_the_file_says(
    tmp_path: Path,
) -> None:
    MAKERS["acdc"][1](tmp_path / "acdc")
    (tmp_path / "acdc/testing/patient101").rename(tmp_path / "acdc/training/patient101")
    shutil.copytree(tmp_path / "acdc/training/patient101", tmp_path / "acdc/testing/patient101")
    codes = {code for code, _ in found(check(tmp_path / "acdc"))}
    assert "split_leak" in codes
    MAKERS["fastmri"][1](tmp_path / "fastmri")
    with h5py.File(next((tmp_path / "fastmri/multicoil_val").iterdir()), "r+") as file:
        file.attrs["patient_id"] = "hash-0"
    issue = only(check(tmp_path / "fastmri"), "split_leak")
    assert "hash-0" not in str(issue)
    assert "multicoil_val" in issue.got


def test_a_contrast_that_the_attribute_contradicts_and_hdf5_without_kspace_are_found(
    tmp_path: Path,
) -> None:
    MAKERS["fastmri"][1](tmp_path)
    one, other = sorted((tmp_path / "multicoil_train").iterdir())
    with h5py.File(one, "r+") as file:
        file.attrs["acquisition"] = "AXT1POST"
    with h5py.File(other, "r+") as file:
        del file["kspace"]
    assert [code for code, _ in found(check(tmp_path))] == ["mislabelled", "unreadable"]


def test_a_sidecar_that_contradicts_the_name_is_found(tmp_path: Path) -> None:
    MAKERS["bids"][1](tmp_path)
    side = tmp_path / "sub-02/anat/sub-02_T1w.json"
    side.write_text(json.dumps({"Modality": "MR", "SeriesDescription": "ax t2 flair"}))
    issue = only(check(tmp_path), "mislabelled")
    assert issue.path == "sub-02/anat/sub-02_T1w.nii.gz"
    assert "means FLAIR" in issue.got


def test_a_ct_without_air_and_a_folder_that_the_header_contradicts_are_found(
    tmp_path: Path,
) -> None:
    for case in ("p1", "p2", "p3"):
        put_dicom(tmp_path / case / "CT", tomogram(case, (4, 8, 6)), case)
    put_dicom(tmp_path / "p2/CT", picture("x", (4, 8, 6)), "p2")
    put_dicom(tmp_path / "p3/CT", picture("y", (4, 8, 6)), "p3", modality="MR", name="ax T2")
    report = check(tmp_path)
    assert [path for code, path in found(report) if code == "mislabelled"] == ["p2/CT", "p3/CT"]


def test_echo_times_of_dicom_are_milliseconds_and_a_folder_of_two_modalities_means_neither(
    tmp_path: Path,
) -> None:
    data = picture("x", (4, 8, 6))
    put_dicom(
        tmp_path / "CT-MR-study/p1/t1",
        data,
        "p1",
        modality="MR",
        name="ax T1",
        EchoTime=9,
        SeriesNumber=2,
    )
    put_dicom(
        tmp_path / "CT-MR-study/p2/7", picture("y", (4, 8, 6)), "p2", modality="MR", EchoTime=90
    )
    assert check(tmp_path).sound
    put_dicom(
        tmp_path / "CT-MR-study/p3/t1", picture("z", (4, 8, 6)), "p3", modality="MR", EchoTime=90
    )
    assert only(check(tmp_path), "mislabelled").got == "an echo time of 90 ms"


def test_what_is_too_large_to_read_is_a_note_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BudgetError("it needs 9 GiB of memory")

    brats(tmp_path)
    monkeypatch.setattr(Brats, "load", refuse)
    report = check(tmp_path)
    assert report.sound
    assert {one.code for one in report.findings} == {"too_large"}


def test_a_series_with_a_lost_slice_a_copy_a_second_series_or_a_tilt_is_found(
    tmp_path: Path,
) -> None:
    for case in ("gap", "twice", "two", "tilt", "broken"):
        put_dicom(tmp_path / case, tomogram(case, (6, 8, 6)), case)
    (tmp_path / "gap" / "000003.dcm").unlink()
    shutil.copy(tmp_path / "twice" / "000003.dcm", tmp_path / "twice" / "000009.dcm")
    put_dicom(tmp_path / "other", tomogram("more", (2, 8, 6)), "two")
    for file in (tmp_path / "other").iterdir():
        file.rename(tmp_path / "two" / f"more{file.name}")
    (tmp_path / "other").rmdir()
    (tmp_path / "broken" / "000002.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"nonsense")
    turned = [1, 0, 0, 0, float(np.cos(0.3)), float(np.sin(0.3))]
    put_dicom(
        tmp_path / "tilt", tomogram("tilt", (6, 8, 6)), "tilt", ImageOrientationPatient=turned
    )
    report = check(tmp_path)
    by_path = {(one.path.split("/")[0], one.code) for one in report.findings}
    assert {
        ("gap", "uneven"),
        ("twice", "duplicate"),
        ("two", "several_series"),
        ("tilt", "tilt"),
    } <= by_path
    assert ("broken", "unreadable") in by_path
    assert "17.2 degrees" in next(one.got for one in report.findings if one.code == "tilt")


def test_leaks_copies_and_empty_images_within_one_archive_are_found(tmp_path: Path) -> None:
    MAKERS["medmnist"][1](tmp_path)
    file = tmp_path / "breastmnist.npz"
    arrays = dict(np.load(file))
    arrays["test_images"][0] = arrays["train_images"][2]
    arrays["val_images"][1] = 0
    arrays["train_labels"] = arrays["train_labels"][:3]
    np.savez_compressed(file, **arrays)
    assert [code for code, _ in found(check(tmp_path))] == ["empty", "missing", "split_leak"]


def test_a_lost_visit_image_and_its_orphaned_transform_are_named(tmp_path: Path) -> None:
    MAKERS["openms"][1](tmp_path)
    (tmp_path / "longitudinal_raw/patient03/study2_T1W.nii.gz").unlink()
    (tmp_path / "longitudinal_raw/patient01/study1_FLAIR_to_common_space.txt").unlink()
    report = check(tmp_path)
    assert found(report) == [
        ("missing", "longitudinal_raw/patient01/study1_FLAIR_to_common_space.txt"),
        ("missing", "longitudinal_raw/patient03"),
    ]
    assert report.findings[1].expected == "longitudinal_raw/patient03/study2_T1W.nii.gz"
    assert found(report, "note") == [
        ("orphan", "longitudinal_raw/patient03/study2_T1W_intrastudy_to_FLAIR.txt")
    ]


def test_a_contrast_that_is_a_copy_of_another_within_one_array_is_found(tmp_path: Path) -> None:
    MAKERS["lgg tcga"][1](tmp_path)
    index = tmp_path / "index.csv"
    index.write_text(
        index.read_text().replace("TCGA_DU_7013_19860523,4,0,1,0", "TCGA_DU_7013_19860523,4,1,1,1")
    )
    issue = only(check(tmp_path), "mislabelled")
    assert issue.path == "TCGA_DU_7013_19860523.npz"
    assert "FLAIR holds the same image as T1w" in issue.what


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    MAKERS["lgg tcga"][1](tmp_path)
    file = tmp_path / "TCGA_CS_4941_19960909.npz"
    np.savez(file, image=np.array([{"a": 1}], object), mask=np.zeros(1))
    assert {code for code, _ in found(check(tmp_path))} == {"unreadable"}


def test_of_a_large_set_a_stated_sample_is_read_and_all_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 13):
        case = f"BraTS2021_{number:05d}"
        for name in ("t1", "t1ce", "t2", "flair"):
            put(tmp_path / case / f"{case}_{name}.nii.gz", picture((case, name)))
    monkeypatch.setattr(module, "SMALL", 1000)
    report = check(tmp_path)
    assert "voxels of 3 of 12 patients (12 of 48 entries); --all reads all" in report.read
    assert "voxels of all 48 read" in check(tmp_path, everything=True).read


def test_progress_is_reported_and_ends_with_the_end(tmp_path: Path) -> None:
    brats(tmp_path)
    calls: list[tuple[str, int, int]] = []
    check(tmp_path, progress=lambda *call: calls.append(call))
    for what in ("reading headers", "reading voxels"):
        done = [number for word, number, total in calls if word == what and total == 15]
        assert done == list(range(16))


def test_a_folder_of_several_sets_is_listed_set_by_set(tmp_path: Path) -> None:
    for name in ("brats", "ixi", "table"):
        MAKERS[name][1](tmp_path / name)
    zeros(tmp_path / "brats")
    report = check(tmp_path)
    assert [one.dataset for one in report.sets] == [
        "BraTS2020",
        "IXI Dataset",
        "a table of patients",
    ]
    assert [one.sound for one in report.sets] == [False, True, True]
    assert not report.sound
    assert report.lines()[0].endswith("3 data sets")
    assert len(json.loads(json.dumps(report.to_dict()))["sets"]) == 3


def test_many_findings_of_one_kind_are_printed_in_part_and_kept_in_full(tmp_path: Path) -> None:
    for number in range(1, 13):
        case = f"BraTS2021_{number:05d}"
        for name in ("t1", "t1ce", "t2"):
            put(tmp_path / case / f"{case}_{name}.nii.gz", picture((case, name)))
    report = check(tmp_path)
    assert len(report.findings) == len(report.to_dict()["findings"]) == 12
    assert sum("error missing" in line for line in report.lines()) == 9
    assert any("and 4 more of this kind" in line for line in report.lines())


def test_nothing_known_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(InputError, match="no layout that is known"):
        check(tmp_path)
    brats(tmp_path / "set")
    before = {path: os.stat(path).st_mtime_ns for path in tmp_path.rglob("*")}
    check(tmp_path / "set")
    assert {path: os.stat(path).st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "errors", "warnings", "notes"),
    [
        ("ct_head_ge", [], ["uneven"], ["tilt"]), ("dicom_rt_dicompyler", [], [], []), ("ixi_t1_2mm", [], [], []),  # noqa: E501
        ("koma_labels", [], [], []), ("kspace_brain_8ch", [], [], ["axes"]), ("kspace_sigpy_tutorial", [], [], ["axes"]),  # noqa: E501
        ("lgg_tcga", [], [], ["row_without_files"] * 2), ("openms/cross_sectional_MNI", [], [], []),
        ("openms/longitudinal_raw", ["missing"], [], ["orphan"]), ("openms", ["missing"], [], ["orphan", "row_without_files"]),  # noqa: E501
        ("pneumoniamnist_modified", ["split_leak"], ["duplicate"] * 2, ["unknown_patients"]),
        ("sts_mr_ct_pet", [], [], ["row_without_files"]), ("tcga_fg_6692", [], [], []),
        ("text_tcga_glioma", [], [], ["no_ids"]),
    ],
)  # fmt: skip
def test_the_right_thing_is_said_of_the_real_sets(
    folder: str,
    errors: list[str],
    warnings: list[str],
    notes: list[str],
    real_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SMALL", 2**24)
    report = check(real_data / folder)
    for level, codes in (("error", errors), ("warn", warnings), ("note", notes)):
        assert [code for code, _ in found(report, level)] == codes, level
    by_code = {one.code: one for one in report.findings}
    if folder == "ct_head_ge":
        assert by_code["tilt"].got == "18.5 degrees"
        assert by_code["uneven"].got == "slices 1-14 every 4.00 mm, 15-28 every 7.00 mm"
    if folder == "openms/longitudinal_raw":
        assert by_code["missing"].path == "patient03"
        assert by_code["missing"].expected == "patient03/study1_T1W.nii.gz"


@pytest.mark.real
def test_the_folder_of_all_real_sets_is_recognised_as_twelve(real_data: Path) -> None:
    from veridical.layouts.discovery import find

    assert {one.listing.root.name: one.layout.name for one in find(real_data)} == {
        "ct_head_ge": "dicom-collection",
        "dicom_rt_dicompyler": "dicom-collection",
        "ixi_t1_2mm": "ixi",
        "koma_labels": "koma",
        "kspace_brain_8ch": "arrays",
        "kspace_sigpy_tutorial": "arrays",
        "lgg_tcga": "lgg-tcga",
        "openms": "openms",
        "pneumoniamnist_modified": "medmnist",
        "sts_mr_ct_pet": "sarcoma",
        "tcga_fg_6692": "volumes",
        "text_tcga_glioma": "table",
    }
