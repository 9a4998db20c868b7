"""Which acquisitions are read: selections that are not there and headers that do not fit are
refused by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rawfiles import acquisition, cartesian_rows, kspace, write_mrd, xml

from veridical.errors import FormatError, GeometryError, InputError, SettingError
from veridical.io.acquisitions import parse_selection
from veridical.io.ismrmrd import ismrmrd

FULL = kspace((2, 3, 10, 8))
PLAIN = xml((8, 10, 1), (8, 10, 1), (200, 250, 5), (200, 250, 5))
EVERY = list(range(10))


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("repetitions=1", "nothing is chosen by 'repetitions'.*repetition"),
        ("repetition", "expected a number from 0, as in --select repetition=0"),
        ("set=-1", "expected a number"),
        ("repetition=2", "it has repetition 0 to 0"),
        ("encoding=1", "has images of encoding space 0"),
        ("slice=7", "it has slice 0 to 1"),
    ],
)
def test_a_selection_that_is_not_there_is_refused(
    tmp_path: Path, select: str, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        ismrmrd(write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, EVERY), PLAIN), select=select)


def test_a_selection_is_names_and_numbers() -> None:
    assert parse_selection("encoding=1, repetition=2") == {"encoding": 1, "repetition": 2}
    assert parse_selection(None) == {}


def test_one_slice_of_several_orientations_can_be_chosen_as_the_error_says(tmp_path: Path) -> None:
    rows = cartesian_rows(FULL, EVERY)
    for row in rows[10:]:
        row["head"]["read_dir"], row["head"]["slice_dir"] = (0, 0, 1), (1, 0, 0)
    path = write_mrd(tmp_path / "a.mrd", rows, PLAIN)
    with pytest.raises(GeometryError, match="--select slice=0"):
        ismrmrd(path)
    np.testing.assert_array_equal(ismrmrd(path, select="slice=0").data, FULL[:1])
    np.testing.assert_array_equal(ismrmrd(path, select="slice=1").data, FULL[1:])


def test_slabs_of_a_3d_scan_are_read_one_by_one(tmp_path: Path) -> None:
    slabs = kspace((2, 4, 3, 10, 8))
    rows: list[Any] = [
        acquisition(slabs[s, z, :, y], slice=s, kspace_encode_step_1=y, kspace_encode_step_2=z)
        for s in range(2)
        for z in range(4)
        for y in EVERY
    ]
    path = write_mrd(
        tmp_path / "a.mrd", rows, xml((8, 10, 4), (8, 10, 4), (200, 250, 20), (200, 250, 20))
    )
    with pytest.raises(InputError, match=r"2 slabs.*--select slice=0"):
        ismrmrd(path)
    assert ismrmrd(path, select="slice=1").data.shape == (4, 3, 10, 8)


def test_an_encoding_space_that_the_header_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="encoding space 1; the header describes 1"):
        ismrmrd(
            write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, EVERY, encoding_space_ref=1), PLAIN)
        )


def test_a_single_partition_off_the_centre_is_refused(tmp_path: Path) -> None:
    rows = cartesian_rows(FULL[:1], EVERY, kspace_encode_step_2=3)
    header = xml((8, 10, 4), (8, 10, 4), (200, 250, 20), (200, 250, 20))
    with pytest.raises(FormatError, match="encode step 2 = 3 alone of an encoded matrix of 4"):
        ismrmrd(write_mrd(tmp_path / "a.mrd", rows, header))


def test_what_there_is_instead_of_an_image_is_counted(tmp_path: Path) -> None:
    rows = [acquisition(FULL[0, :, 1], bits=(bit,)) for bit in (19, 23, 23)]
    with pytest.raises(
        InputError, match=r"no imaging acquisition among its 3 \(1 noise, 2 navigator\)"
    ):
        ismrmrd(write_mrd(tmp_path / "a.mrd", rows, PLAIN))


def test_calibration_of_other_coils_is_left_out_and_said(tmp_path: Path) -> None:
    rows = cartesian_rows(FULL, EVERY) + cartesian_rows(FULL[:, :2], [4, 5], bits=(20,))
    header = PLAIN.replace(
        "</encoding>",
        "<parallelImaging><calibrationMode>separate</calibrationMode></parallelImaging></encoding>",
    )
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", rows, header))
    assert any(
        "4 calibration lines were left out: they have other coils" in note
        for note in read.header["notes"]
    )
    assert read.operator.coils.calibration is None  # type: ignore[attr-defined]
