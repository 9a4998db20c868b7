"""Where a NIfTI lies: sform, qform where that is broken, spacing alone, nothing; and what was
assumed is said.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import veridical
from veridical.errors import GeometryError, SettingError
from veridical.io.nifti import nifti

AFFINE = np.array([[0, -1.5, 0, 90], [1.5, 0, 0, -120], [0, 0, 2, -72], [0, 0, 0, 1.0]])
SHAPE = (6, 5, 4)


def put(path: Path, shape: tuple[int, ...] = SHAPE, affine: Any = AFFINE, **fields: Any) -> Path:
    """A file with sform and qform of code 1 and the same place; `fields` of the header are changed
    after that.
    """
    picture = nib.Nifti1Image(
        np.random.default_rng(0).normal(size=shape).astype(np.float32), affine
    )
    picture.set_sform(affine, 1)
    picture.set_qform(affine, 1)
    nib.save(picture, path)
    whole = path.read_bytes()
    header = nib.Nifti1Header(whole[:348], check=False)
    for key, value in fields.items():
        header[key] = value
    path.write_bytes(header.binaryblock + whole[348:])
    return path


ZERO = {"srow_x": 0, "srow_y": 0, "srow_z": 0}


@pytest.mark.parametrize(
    "broken", [ZERO, {"srow_x": [np.nan, 0, 0, 0]}, {"srow_z": 0}], ids=["zeros", "nan", "singular"]
)
def test_a_broken_sform_gives_way_to_the_qform_with_a_note(
    tmp_path: Path, broken: dict[str, Any]
) -> None:
    read = nifti(put(tmp_path / "x_T1w.nii", **broken))
    np.testing.assert_allclose(read.geometry.affine, AFFINE, atol=1e-4)
    assert "the sform is singular or not finite; the qform (code 1) was used" in " ".join(
        read.header["notes"]
    )


@pytest.mark.parametrize(
    "qform", [{"qform_code": 0}, {"quatern_b": np.nan}, {"pixdim": [1, 0, 0, 0, 1, 1, 1, 1]}]
)
def test_where_both_are_broken_the_message_names_both(
    tmp_path: Path, qform: dict[str, Any]
) -> None:
    with pytest.raises(GeometryError, match=r"neither sform .code 1. nor qform"):
        nifti(put(tmp_path / "x_T1w.nii", **ZERO, **qform))


@pytest.mark.parametrize("excess", [1.00001, 1.002])
def test_a_quaternion_a_little_longer_than_one_is_normalized(tmp_path: Path, excess: float) -> None:
    half = np.sqrt(0.5) * excess
    read = nifti(
        put(tmp_path / "x_T1w.nii", sform_code=0, quatern_b=half, quatern_c=half, quatern_d=0)
    )
    np.testing.assert_allclose(
        read.geometry.affine[:3, :3], [[0, 1.5, 0], [1.5, 0, 0], [0, 0, -2]], atol=1e-4
    )


def test_a_quaternion_that_is_no_rotation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="qform"):
        nifti(put(tmp_path / "x_T1w.nii", sform_code=0, quatern_b=3.0))


def test_forms_that_disagree_are_noted_with_their_distance_and_equal_ones_are_not(
    tmp_path: Path,
) -> None:
    read = nifti(put(tmp_path / "x_T1w.nii", qoffset_x=95.0))
    assert read.geometry.affine[0, 3] == 90
    assert "sform (code 1) and qform (code 1) differ by up to 5 mm; the sform was used" in " ".join(
        read.header["notes"]
    )
    assert "notes" not in nifti(put(tmp_path / "y_T1w.nii")).header


@pytest.mark.parametrize("flip", [1, -1])
def test_the_sign_of_the_quaternion_frame_is_that_of_nibabel(tmp_path: Path, flip: int) -> None:
    affine = AFFINE @ np.diag([1, 1, flip, 1])
    path = put(tmp_path / "x_T1w.nii", affine=affine, sform_code=0)
    np.testing.assert_allclose(nifti(path).geometry.affine, nib.load(path).affine, atol=1e-4)


def test_a_slice_without_a_thickness_has_1_mm_and_says_so(tmp_path: Path) -> None:
    read = nifti(
        put(tmp_path / "x_T1w.nii", (6, 5, 1), sform_code=0, pixdim=[1, 1.5, 1.5, 0, 1, 1, 1, 1])
    )
    assert read.geometry.spacing == pytest.approx((1.5, 1.5, 1.0))
    assert "1 mm was assumed" in " ".join(read.header["notes"])


@pytest.mark.parametrize(
    "sizes", [[1, 0, 0, 0], [1, 1, 1, 1], [1, 2, 0, 2]], ids=["zeros", "ones", "one zero"]
)
def test_a_voxel_size_that_is_not_stated_is_said_and_can_be_given(
    tmp_path: Path, sizes: list[float]
) -> None:
    path = put(
        tmp_path / "x_T1w.nii",
        sform_code=0,
        qform_code=0,
        xyzt_units=0,
        pixdim=[*sizes, 1, 1, 1, 1],
    )
    silent = veridical.read(path)
    assert silent.geometry.frame == "index"
    assert "does not state its voxel size: --spacing 1,1,2" in " ".join(silent.header["notes"])
    given = veridical.read(path, spacing=(1, 1, 2))
    assert (given.geometry.spacing, given.geometry.frame) == ((1.0, 1.0, 2.0), "local")
    again = veridical.read(**{**given.header["source"]})
    assert again.geometry == given.geometry


@pytest.mark.parametrize("spacing", ["1,1", "1,1,0", "one,1,1", (1, 1, float("nan"))])
def test_a_spacing_that_cannot_be_is_refused(tmp_path: Path, spacing: Any) -> None:
    path = put(tmp_path / "x_T1w.nii", sform_code=0, qform_code=0, xyzt_units=0, pixdim=np.ones(8))
    with pytest.raises(SettingError, match="expected three sizes in mm"):
        veridical.read(path, spacing=spacing)


def test_a_spacing_for_a_file_that_states_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--spacing is for files that do not"):
        veridical.read(put(tmp_path / "x_T1w.nii"), spacing="1,1,1")
