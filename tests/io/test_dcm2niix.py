"""Geometry and values are those of dcm2niix, an independent converter, on every file of pydicom's
wheel and every real series that both read.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from veridical.errors import VeridicalError
from veridical.io.dicom import dicom
from veridical.types import Array, Image

WHEEL = Path(pydicom.__file__).parent / "data" / "test_files"
READ = (
    "693_J2KI.dcm",
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "examples_overlay.dcm",
    "dicomdirtests/77654033/CT2/17106",
    "dicomdirtests/98892001/CT2N/6293",
    "dicomdirtests/98892001/CT5N/2062",
    "dicomdirtests/98892003/MR1/15820",
    "dicomdirtests/98892003/MR2/15970",
    "dicomdirtests/98892003/MR700/4558",
)
"""Files of which both make a volume; of the folders of dicomdirtests one each. Where the two differ
by intent, J2K_pixelrep_mismatch.dcm, a single slice of a tilted gantry, is told below.
"""


@cache
def tool() -> str:
    found = shutil.which("dcm2niix", path=str(Path(sys.executable).parent))
    found = found or shutil.which("dcm2niix")
    if found is None:
        pytest.skip("dcm2niix is not installed")
    return found


def converted(files: list[Path], folder: Path) -> list[tuple[Array, Array, float]]:
    """Affine, values and the step of the stored integers of every volume that dcm2niix makes."""
    inside, outside = folder / "in", folder / "out"
    inside.mkdir()
    outside.mkdir()
    for number, file in enumerate(files):
        shutil.copy(file, inside / f"{number}.dcm")
    subprocess.run(
        [tool(), "-z", "n", "-b", "n", "-o", str(outside), str(inside)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    found = []
    for file in sorted(outside.glob("*.nii")):
        if "_ROI" not in file.name:
            image = nibabel.load(file)
            slope = float(image.dataobj.slope)
            found.append((image.affine, np.asarray(image.dataobj), slope))
    return found


def assert_equal(ours: Image, theirs: tuple[Array, Array, float]) -> None:
    """The same voxel, possibly in another order of the axes, lies at the same place and has the
    same value.
    """
    affine, data, step = theirs
    move = np.linalg.inv(affine) @ ours.geometry.affine
    turn = np.rint(move[:3, :3])
    assert np.abs(np.linalg.det(turn)) == 1
    index = np.stack(np.meshgrid(*map(np.arange, ours.geometry.shape), indexing="ij"), -1)
    there = np.rint(index @ move[:3, :3].T + move[:3, 3]).astype(int)
    assert there.min() >= 0
    assert (there.max((0, 1, 2)) == np.array(data.shape) - 1).all()
    shift = np.rint(move[:3, 3])
    same = affine @ np.vstack([np.column_stack([turn, shift]), [0, 0, 0, 1]])
    np.testing.assert_allclose(ours.geometry.affine, same, atol=1e-3)
    values = data[tuple(np.moveaxis(there, -1, 0))]
    assert np.abs(values - ours.data[0]).max() <= step / 2 + 1e-3


@pytest.mark.parametrize("name", READ)
def test_a_file_of_the_wheel_reads_as_dcm2niix_reads_it(name: str, tmp_path: Path) -> None:
    file = WHEEL / name
    if not file.exists():
        pytest.skip(f"this build of pydicom comes without {name}")
    assert_equal(dicom(file), converted([file], tmp_path)[0])


def test_every_grey_file_with_a_place_in_the_wheel_is_read() -> None:
    """What dcm2niix converts and we refuse has no place in the patient, or is in colour."""
    refused = {}
    for file in sorted(WHEEL.glob("*.dcm")):
        try:
            dicom(file)
        except VeridicalError as error:
            refused[file.name] = str(error)
    assert not set(READ) & set(refused)
    because = (
        "expected grey values", "ImagePositionPatient", "not DICOM", "holds no DICOM image",
        "does not state where they lie", "truncated", "deflated", "claims", "damaged",
    )  # fmt: skip
    assert [name for name, why in refused.items() if not any(one in why for one in because)] == []


def test_where_the_two_differ_by_intent_the_codestream_and_the_plane_are_right(
    tmp_path: Path,
) -> None:
    """dcm2niix makes a single slice of a tilted gantry thick along the table, where the slab of
    X-rays lies across it. It takes the sign of 13 bits from the header, which the codestream
    contradicts: its air is at 6192 HU.
    """
    file = WHEEL / "J2K_pixelrep_mismatch.dcm"
    ours, (affine, data, _) = dicom(file), converted([file], tmp_path)[0]
    np.testing.assert_allclose(ours.geometry.affine[:3, 0], affine[:3, 0], atol=1e-3)
    np.testing.assert_allclose(ours.geometry.affine[:3, 1], -affine[:3, 1], atol=1e-3)
    apart = data - ours.data[0, :, ::-1]
    assert set(np.unique(apart).tolist()) == {0.0, 8192.0}
    assert (ours.data.min(), data[0, 0, 0]) == (-2000, 6192)


@pytest.mark.real
@pytest.mark.parametrize(
    "place",
    [
        "sts_mr_ct_pet/dicom/STS_002/CT/image",
        "sts_mr_ct_pet/dicom/STS_002/MR_T1/image",
        "sts_mr_ct_pet/dicom/STS_002/PET/image",
        "dicom_rt_dicompyler/example_data",
    ],
)
def test_a_real_series_reads_as_dcm2niix_reads_it(
    real_data: Path, place: str, tmp_path: Path
) -> None:
    files = sorted((real_data / place).glob("*.dcm"))
    assert_equal(dicom(real_data / place), converted(files, tmp_path)[0])


@pytest.mark.real
def test_a_real_tilted_series_with_a_gap_lies_where_dcm2niix_puts_it(
    real_data: Path, tmp_path: Path
) -> None:
    """Both straighten the slices within their planes, and both interpolate: on other grids, so the
    centre of what is dense is compared, and the spacing of the planes.
    """
    files = sorted((real_data / "ct_head_ge").glob("*.dcm"))[:14]
    ours = dicom(real_data / "ct_head_ge", slices=(1, 14))
    volumes = converted(files, tmp_path)
    affine, data, _ = max(volumes, key=lambda one: one[1].shape[1])
    assert np.linalg.norm(affine[:3, 2]) == pytest.approx(ours.geometry.spacing[2], rel=0.01)
    extents = [
        np.ptp(np.argwhere(values > 300), axis=0) * np.linalg.norm(grid[:3, :3], axis=0)
        for values, grid in ((data, affine), (ours.data[0], ours.geometry.affine))
    ]
    np.testing.assert_allclose(extents[0], extents[1], atol=3.0)
