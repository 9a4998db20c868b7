"""All objects of a patient are one study: series, doses, segmentations, structures, plans."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

import veridical
from dicom_sources import source_series
from veridical.errors import FormatError, GeometryError, InputError
from veridical.io.dicom_series import LPS
from veridical.io.dicom_structures import filled, outlined, plan, structures
from veridical.io.dicom_study import read_study
from veridical.types import Geometry, Image

WHEEL = Path(pydicom.__file__).parent / "data" / "test_files"
GRID = Geometry(
    (20, 16, 4), LPS @ np.array([[1.5, 0, 0, -8], [0, 2, 0, 9], [0, 0, 3, 20], [0, 0, 0, 1.0]])
)


def test_series_of_two_days_are_two_visits(tmp_path: Path) -> None:
    source_series(tmp_path / "ct", "CT", number=1)
    source_series(tmp_path / "mr", "MR", number=2)
    source_series(tmp_path / "later", "MR", number=3, StudyDate="20200115")
    study = read_study(tmp_path)
    assert study.days == (0.0, 14.0)
    assert set(study.visit(0.0)) == {"CT", "T1w"}
    assert set(study.visit(14.0)) == {"T1w"}
    ct = study.visit(0.0)["CT"]
    np.testing.assert_array_equal(ct.data, veridical.read(tmp_path / "ct").data)


def test_stacks_of_one_series_are_several_images(tmp_path: Path) -> None:
    """Two echoes in one series: 4D is split."""
    source_series(tmp_path / "a", "MR", number=1)
    source_series(tmp_path / "b", "MR", number=1, seed=1, EchoTime=80, SeriesInstanceUID="2.25.601")
    visit = read_study(tmp_path).visit()
    assert list(visit) == ["T1w", "T1w.2"]
    assert {image.header["echo_time"] for image in visit.values()} == {10.0, 80.0}


def test_a_zip_of_everything_is_the_same_study(tmp_path: Path) -> None:
    source_series(tmp_path / "in" / "ct", "CT", number=1)
    source_series(tmp_path / "in" / "mr", "MR", number=2)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in sorted((tmp_path / "in").rglob("*.dcm")):
            archive.write(file, file.relative_to(tmp_path))
    whole, unpacked = read_study(tmp_path / "all.zip"), read_study(tmp_path / "in")
    assert set(whole.visit()) == set(unpacked.visit())
    np.testing.assert_array_equal(whole.visit()["CT"].data, unpacked.visit()["CT"].data)


def test_a_series_with_a_gap_is_a_note_and_the_others_are_read(tmp_path: Path) -> None:
    source_series(tmp_path / "ct", "CT", size=(12, 10, 6), number=1)
    (tmp_path / "ct" / "002.dcm").unlink()
    source_series(tmp_path / "mr", "MR", number=2)
    study = read_study(tmp_path)
    assert set(study.visit()) == {"T1w"}
    assert "Slices are missing: 1 between" in " ".join(study.notes)
    whole = read_study(tmp_path, allow_gaps=True)
    assert set(whole.visit()) == {"CT", "T1w"}
    assert "interpolated" in " ".join(whole.notes)


def test_files_of_two_patients_are_refused(tmp_path: Path) -> None:
    source_series(tmp_path / "a", "CT", number=1)
    source_series(tmp_path / "b", "CT", number=2, PatientID="another")
    with pytest.raises(InputError, match="2 patients"):
        read_study(tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_a_mask_drawn_as_contours_and_filled_again_is_the_same_mask(seed: int) -> None:
    """Holes, islands in holes and voxels that touch at a corner, up to the border of the grid."""
    rng = np.random.default_rng(seed)
    mask = rng.random(GRID.shape) < (0.2, 0.4, 0.6, 0.9)[seed]
    contours = tuple(points for _, points in outlined(mask, GRID))
    np.testing.assert_array_equal(filled(contours, GRID, "mask"), mask)


def test_contours_that_cross_slices_are_refused() -> None:
    lps = LPS @ GRID.affine
    corners = np.array([[2, 2, 0], [8, 2, 0], [8, 8, 3.0], [2, 8, 3]])
    points = corners @ lps[:3, :3].T + lps[:3, 3]
    with pytest.raises(GeometryError, match=r"slices 0\.00 to 3\.00"):
        filled((points,), GRID, "liver")


def test_doses_and_segmentations_of_the_wheel_are_read() -> None:
    dose = veridical.read(WHEEL / "rtdose.dcm")
    stored = pydicom.dcmread(WHEEL / "rtdose.dcm")
    assert isinstance(dose, Image)
    assert dose.geometry.spacing == (10.0, 10.0, 5.0)
    expected = stored.pixel_array.transpose(2, 1, 0) * float(stored.DoseGridScaling)
    np.testing.assert_allclose(dose.data[0], expected, rtol=1e-6)
    for other in ("rtdose_rle.dcm", "rtdose_expb.dcm"):
        np.testing.assert_array_equal(veridical.read(WHEEL / other).data, dose.data)
    liver = veridical.read(WHEEL / "liver_1frame.dcm")
    assert isinstance(liver, Image)
    assert liver.units == "label"
    assert liver.header["labels"] == {0: "background", 1: "Liver"}
    assert liver.data.sum() == pydicom.dcmread(WHEEL / "liver_1frame.dcm").pixel_array.sum()


def test_a_damaged_dose_is_refused_by_an_error_of_ours(tmp_path: Path) -> None:
    whole = (WHEEL / "rtdose.dcm").read_bytes()
    for share in (0.3, 0.6, 0.95):
        (tmp_path / "d.dcm").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(FormatError):
            veridical.read(tmp_path / "d.dcm")


@pytest.mark.real
@pytest.mark.parametrize(("series", "mask"), [("CT", "CT"), ("MR_T1", "MR_T1"), ("PET", "PET")])
def test_a_real_structure_set_is_the_mask_that_others_made_of_it(
    real_data: Path, series: str, mask: str
) -> None:
    root = real_data / "sts_mr_ct_pet"
    folder = root / "dicom" / "STS_002" / series
    drawn = structures(next((folder / "mask").glob("*.dcm")))
    image = veridical.read(folder / "image")
    made = drawn.on(image.geometry)
    given = veridical.read(
        root / "nifti" / "STS_002" / f"{mask}_mask.nii.gz", units="label", contrast="mask"
    )
    np.testing.assert_array_equal(made.data[0] > 0, given.data[0] > 0)


@pytest.mark.real
def test_a_real_patient_is_one_study_with_its_structures(real_data: Path) -> None:
    study = read_study(real_data / "sts_mr_ct_pet" / "dicom" / "STS_002")
    names = {name for day in study.days for name in study.visit(day)}
    assert {"CT", "PET", "T1w", "GTV_Mass_CT", "GTV_Mass_PET", "GTV_Mass_MR_T1"} <= names


@pytest.mark.real
def test_a_real_plan_says_what_it_prescribes_and_nothing_of_the_patient(real_data: Path) -> None:
    found = plan(real_data / "dicom_rt_dicompyler" / "example_data" / "rtplan.dcm")
    assert (found["fractions"], found["prescribed"], len(found["beams"])) == (7, 14.0, 4)
    assert found["beams"][0]["energy"] == 10.0
    assert "atient" not in str(found)
