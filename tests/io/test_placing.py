"""Where lines lie: by counters and by the sample that is the centre of k-space; what cannot be is
refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rawfiles import acquisition, cartesian_rows, kspace, write_mrd, xml

from veridical.errors import FormatError, InputError
from veridical.io.ismrmrd import ismrmrd

FULL = kspace((1, 3, 10, 8))
PLAIN = xml((8, 10, 1), (8, 10, 1), (200, 250, 5), (200, 250, 5))
EVERY = list(range(10))


def test_a_centre_off_the_middle_shifts_the_line_and_drops_what_lies_beyond(tmp_path: Path) -> None:
    rows = cartesian_rows(FULL, EVERY, center_sample=3)
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", rows, PLAIN))
    np.testing.assert_array_equal(read.data[0, :, :, 1:], FULL[0, :, :, :-1])
    assert not read.operator.mask[0, :, 0].any()  # type: ignore[attr-defined]
    assert any(
        "In 10 readouts up to 1 samples lie beyond the encoded matrix" in note
        for note in read.header["notes"]
    )


def test_a_centre_of_zero_in_complete_readouts_is_taken_as_not_set(tmp_path: Path) -> None:
    read = ismrmrd(
        write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, EVERY, center_sample=0), PLAIN)
    )
    np.testing.assert_array_equal(read.data[0], FULL[0])
    assert any("taken as not set" in note for note in read.header["notes"])


def test_a_centre_of_zero_in_half_echoes_is_the_centre(tmp_path: Path) -> None:
    rows = cartesian_rows(FULL[..., 4:], EVERY, center_sample=0)
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", rows, PLAIN))
    np.testing.assert_array_equal(read.data[0, :, :, 4:], FULL[0, :, :, 4:])
    assert not read.data[..., :4].any()


@pytest.mark.parametrize(
    ("centre", "message"),
    [(8, "center_sample is 8"), (7, "columns reach from -3"), (1, "to 10 in a matrix")],
)
def test_a_centre_that_cannot_be_is_refused(tmp_path: Path, centre: int, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        ismrmrd(
            write_mrd(tmp_path / "a.mrd", cartesian_rows(FULL, EVERY, center_sample=centre), PLAIN)
        )


def test_discards_of_a_reversed_line_are_in_the_order_of_acquisition(tmp_path: Path) -> None:
    row = acquisition(
        FULL[0, :, 5, ::-1],
        kspace_encode_step_1=5,
        center_sample=3,
        discard_pre=2,
        discard_post=1,
        bits=(22,),
    )
    read = ismrmrd(write_mrd(tmp_path / "a.mrd", [row], PLAIN))
    assert read.operator.mask[0, 5].tolist() == [False] + [True] * 5 + [False] * 2  # type: ignore[attr-defined]
    np.testing.assert_array_equal(read.data[0, :, 5, 1:6], FULL[0, :, 5, 1:6])


def described(ramp: int, delay: int) -> str:
    entries = {"rampUpTime": ramp, "flatTopTime": 80, "acqDelayTime": delay, "numSamples": 8}
    long = "".join(
        f"<userParameterLong><name>{name}</name><value>{value}</value></userParameterLong>"
        for name, value in entries.items()
    )
    double = "<userParameterDouble><name>dwellTime</name><value>10</value></userParameterDouble>"
    header = xml((8, 10, 1), (8, 10, 1), (200, 250, 5), (200, 250, 5), trajectory="epi")
    return header.replace(
        "</encoding>", f"<trajectoryDescription>{long}{double}</trajectoryDescription></encoding>"
    )


def test_an_epi_readout_on_the_flat_top_is_cartesian_and_one_on_the_ramps_is_refused(
    tmp_path: Path,
) -> None:
    rows = cartesian_rows(FULL, EVERY)
    np.testing.assert_array_equal(
        ismrmrd(write_mrd(tmp_path / "a.mrd", rows, described(20, 20))).data, FULL
    )
    for header in (described(20, 0), xml((8, 10, 1), (8, 10, 1), trajectory="epi")):
        with pytest.raises(
            InputError, match="name the trajectory cartesian or describe its timing"
        ):
            ismrmrd(write_mrd(tmp_path / "b.mrd", rows, header))
