"""Enhanced multi-frame objects and Siemens mosaics: every frame and tile lies where the file
says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicomfiles import PLACES, mosaic, of_nibabel, write_enhanced
from pydicom.uid import EnhancedCTImageStorage

from veridical.errors import FormatError, InputError
from veridical.io.dicom import dicom

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def frames(count: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 900, (count, 5, 7)).astype(np.int16)


def test_frames_of_an_enhanced_object_are_sorted_by_position_and_rescaled_each_by_its_own_slope(
    tmp_path: Path,
) -> None:
    stored, order = frames(), [3, 0, 4, 1, 2]
    said = [{"position": PLACES[k], "slope": k + 1, "intercept": -k} for k in order]
    write_enhanced(tmp_path / "a.dcm", stored[order], said)
    read = dicom(tmp_path / "a.dcm")
    expected = np.stack([stored[k] * (k + 1.0) - k for k in range(5)]).transpose(2, 1, 0)
    np.testing.assert_allclose(read.data[0], expected)
    np.testing.assert_allclose(
        read.geometry.affine, [[-0.75, 0, 0, 10], [0, -0.5, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]]
    )


def test_enhanced_ct_is_in_hu(tmp_path: Path) -> None:
    stored = frames()
    said = [{"position": place, "slope": 2, "intercept": -1024} for place in PLACES]
    write_enhanced(tmp_path / "a.dcm", stored, said, EnhancedCTImageStorage)
    one = pydicom.dcmread(tmp_path / "a.dcm")
    one.Modality = "CT"
    for item in one.PerFrameFunctionalGroupsSequence:
        item.PixelValueTransformationSequence[0].RescaleType = "HU"
    one.save_as(tmp_path / "a.dcm")
    read = dicom(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read.data[0], 2.0 * stored.transpose(2, 1, 0) - 1024)
    assert (read.units, read.channels) == ("HU", ("CT",))


def test_echoes_of_an_enhanced_object_are_listed_and_one_is_chosen(tmp_path: Path) -> None:
    stored = frames(10)
    said = [{"position": PLACES[k % 5], "echo": 12.0 if k < 5 else 90.0} for k in range(10)]
    write_enhanced(tmp_path / "a.dcm", stored, said)
    with pytest.raises(
        InputError,
        match=r"differ in echo time: 1: 5 x echo time 12.0; 2: 5 x echo time 90.0.*--stack 1",
    ):
        dicom(tmp_path / "a.dcm")
    second = dicom(tmp_path / "a.dcm", stack=2)
    np.testing.assert_array_equal(second.data[0], stored[5:].transpose(2, 1, 0))
    assert second.header["echo_time"] == 90.0
    assert "Stack 2 was read" in " ".join(second.header["notes"])
    with pytest.raises(InputError, match="expected 1 to 2"):
        dicom(tmp_path / "a.dcm", stack=3)


def test_stacks_of_several_orientations_are_told_apart(tmp_path: Path) -> None:
    stored = frames(6)
    turned = [
        {"position": (3.0 * k, 0, 0), "orientation": [0, 1, 0, 0, 0, 1], "stack": "2"}
        for k in range(3)
    ]
    write_enhanced(
        tmp_path / "a.dcm", stored, [{"position": place} for place in PLACES[:3]] + turned
    )
    with pytest.raises(InputError, match="differ in orientation"):
        dicom(tmp_path / "a.dcm")
    read = dicom(tmp_path / "a.dcm", stack=2)
    np.testing.assert_array_equal(read.data[0], stored[3:].transpose(2, 1, 0))
    np.testing.assert_allclose(read.geometry.affine[:3, 2], [-3, 0, 0])


def test_frames_without_places_and_groups_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "a.dcm", frames(), [{"position": place} for place in PLACES])
    one = pydicom.dcmread(tmp_path / "a.dcm")
    one.PerFrameFunctionalGroupsSequence.pop()
    one.save_as(tmp_path / "b.dcm")
    with pytest.raises(FormatError, match="5 frames and functional groups of 4"):
        dicom(tmp_path / "b.dcm")
    del one.PerFrameFunctionalGroupsSequence
    one.save_as(tmp_path / "c.dcm")
    with pytest.raises(
        FormatError, match="multi-frame object of 5 frames that does not state where they lie"
    ):
        dicom(tmp_path / "c.dcm")


@pytest.mark.parametrize("count", [4, 7])
def test_the_tiles_of_a_mosaic_are_cut_and_the_first_lies_where_it_was_measured(
    tmp_path: Path, count: int
) -> None:
    tiles = frames(count)
    pydicom.dcmwrite(
        tmp_path / "a.dcm",
        mosaic(tiles, int(np.ceil(np.sqrt(count))), (-10, 20, 30)),
        enforce_file_format=True,
    )
    read = dicom(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read.data[0], tiles.transpose(2, 1, 0))
    np.testing.assert_allclose(
        read.geometry.affine, [[-0.75, 0, 0, 10], [0, -0.5, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]]
    )


def test_a_mosaic_that_lost_its_private_tags_is_refused(tmp_path: Path) -> None:
    one = mosaic(frames(4), 2, (0, 0, 0))
    del one[0x0019, 0x100A]
    pydicom.dcmwrite(tmp_path / "a.dcm", one, enforce_file_format=True)
    with pytest.raises(FormatError, match="NumberOfImagesInMosaic"):
        dicom(tmp_path / "a.dcm")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "contrast"), [("siemens_dwi_0.dcm.gz", "DTI"), ("philips_mprage.dcm.gz", "T1w")]
)
def test_files_of_two_scanners_read_as_nibabel_reads_them(
    tmp_path: Path, name: str, contrast: str
) -> None:
    from nibabel.nicom.dicomwrappers import wrapper_from_file

    path = of_nibabel(name, tmp_path)
    read, other = dicom(path), wrapper_from_file(str(path))
    np.testing.assert_allclose(read.data[0], other.get_data().transpose(1, 0, 2))
    affine: Any = RAS @ other.affine
    np.testing.assert_allclose(read.geometry.affine[:3, :2], affine[:3, [1, 0]], atol=1e-6)
    ends = np.array([[0, 0, 0, 1], [0, 0, read.data.shape[3] - 1, 1]]).T
    ours, theirs = read.geometry.affine @ ends, affine @ ends
    np.testing.assert_allclose(np.sort(ours, 1), np.sort(theirs, 1), atol=0.01)
    assert read.channels == (contrast,)
