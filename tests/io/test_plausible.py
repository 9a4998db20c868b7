"""What the values say: label maps are told from images, HU and SUV are checked against what they
can be.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import veridical
from veridical.errors import UnitsError
from veridical.types import Array, Geometry, Image

RNG = np.random.default_rng(0)
MASK = (np.indices((20, 20, 12)).sum(0) % 37 == 0).astype(np.uint8)
REGIONS = (np.indices((20, 20, 12))[0] // 5 * 10 + np.indices((20, 20, 12))[1] // 7).astype(
    np.int16
)
TISSUE = RNG.normal(40, 30, (20, 20, 12))
CT = np.where(np.indices((20, 20, 12))[0] < 8, -1000, TISSUE)


def put(path: Path, data: Array) -> Path:
    stored = data if data.dtype.kind in "iu" else data.astype(np.float32)
    nib.save(nib.Nifti1Image(stored, np.diag([2, 2, 3, 1])), path)
    return path


@pytest.mark.parametrize(
    "data", [MASK, MASK.astype(np.float32), REGIONS], ids=["mask", "mask as float", "regions"]
)
def test_a_label_map_is_read_as_labels_where_nothing_says_what_it_is(
    tmp_path: Path, data: Array
) -> None:
    read = veridical.read(put(tmp_path / "lesion.nii.gz", data))
    assert (read.units, read.data.dtype) == ("label", np.int32)
    np.testing.assert_array_equal(read.data[0], data)
    assert len(read.header["notes"]) == 1
    assert "--units a.u." in read.header["notes"][0]


@pytest.mark.parametrize("data", [MASK, REGIONS], ids=["mask", "regions"])
@pytest.mark.parametrize("given", [True, False])
def test_a_label_map_called_by_a_contrast_is_refused_unless_the_units_are_given(
    tmp_path: Path, data: Array, given: bool
) -> None:
    path = put(tmp_path / ("x.nii.gz" if given else "mask_T1w.nii.gz"), data)
    contrast = "T1w" if given else None
    with pytest.raises(UnitsError, match=r"as a label map does; expected an image .T1w."):
        veridical.read(path, contrast=contrast)
    assert veridical.read(path, contrast=contrast, units="a.u.").units == "a.u."
    assert veridical.read(path, contrast=contrast, units="label").units == "label"


@pytest.mark.parametrize(
    "data",
    [
        RNG.integers(0, 200, (20, 20, 12)).astype(np.uint8),
        np.where(np.indices((20, 20, 12))[0] < 10, 0, RNG.integers(90, 120, (20, 20, 12))).astype(
            np.int16
        ),
        np.zeros((20, 20, 12), np.int16),
        np.full((20, 20, 12), 7, np.int16),
    ],
    ids=["8 bits", "noise on a constant", "empty", "constant"],
)
def test_images_of_whole_numbers_are_no_label_maps(tmp_path: Path, data: Array) -> None:
    assert veridical.read(put(tmp_path / "x_T1w.nii.gz", data)).units == "a.u."


@pytest.mark.parametrize(
    "data",
    [CT / 1000, CT + 5000, (CT - CT.mean()) / CT.std()],
    ids=["divided", "shifted", "z-score"],
)
@pytest.mark.parametrize("units", [None, "HU"])
def test_values_that_cannot_be_hu_are_refused(
    tmp_path: Path, data: Array, units: str | None
) -> None:
    path = put(tmp_path / "x_CT.nii.gz", data)
    with pytest.raises(UnitsError, match="which cannot be HU"):
        veridical.read(path, units=units)
    assert veridical.read(path, units="1").units == "1"


def test_a_ct_in_hu_passes_and_one_without_air_is_noted(tmp_path: Path) -> None:
    assert "notes" not in veridical.read(put(tmp_path / "x_CT.nii.gz", CT)).header
    shifted = veridical.read(put(tmp_path / "y_CT.nii.gz", CT + 1024))
    assert "no value near -1000 HU" in " ".join(shifted.header["notes"])


def test_activity_called_suv_is_refused_and_suv_pass(tmp_path: Path) -> None:
    uptake = np.abs(RNG.gamma(1.0, 2.0, (20, 20, 12)))
    path = put(tmp_path / "x_pet.nii.gz", uptake)
    assert veridical.read(path, units="SUV").units == "SUV"
    assert "--units SUV" in " ".join(veridical.read(path).header["notes"])
    with pytest.raises(UnitsError, match="which cannot be SUV"):
        veridical.read(put(tmp_path / "y_pet.nii.gz", uptake * 5000), units="SUV")
    negative = veridical.read(put(tmp_path / "z_pet.nii.gz", uptake - 2), units="SUV")
    assert "are negative" in " ".join(negative.header["notes"])


def test_what_veridical_wrote_is_believed_with_a_note(tmp_path: Path) -> None:
    flat = Image((CT / 1000)[None].astype(np.float32), Geometry(CT.shape, np.eye(4)), "HU", ("CT",))
    read = veridical.read(veridical.write(flat, tmp_path / "x.nii.gz"))
    assert read.units == "HU"
    assert "although its header says so" in " ".join(read.header["notes"])
