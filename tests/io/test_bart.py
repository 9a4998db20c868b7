"""BART pairs: its order of dimensions, and nothing malformed passes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from rawfiles import kspace, write_bart

from veridical.errors import BudgetError, FormatError, InputError
from veridical.io.bart import bart, recognises


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """`(readout, phase, 1, coil)`."""
    data = kspace((6, 8, 1, 3))
    return write_bart(tmp_path / "k", data), data


@pytest.mark.parametrize("end", ["", ".cfl", ".hdr"])
def test_readout_is_x_phase_is_y_and_dimension_3_is_coils(
    pair: tuple[Path, np.ndarray], end: str
) -> None:
    base, data = pair
    path = base.with_name(base.name + end)
    assert recognises(path)
    np.testing.assert_array_equal(bart(path).data[0], data[:, :, 0].transpose(2, 1, 0))


def test_dimension_13_is_slices(tmp_path: Path) -> None:
    data = kspace((6, 8, 1, 3, *[1] * 9, 2))
    read = bart(write_bart(tmp_path / "k", data))
    np.testing.assert_array_equal(read.data, data.squeeze().transpose(3, 2, 1, 0))


def test_dimension_2_must_be_said(tmp_path: Path) -> None:
    data = kspace((6, 8, 4, 3))
    base = write_bart(tmp_path / "k", data)
    with pytest.raises(InputError, match=r"x,y,z,coil.*x,y,slice,coil"):
        bart(base)
    np.testing.assert_array_equal(
        bart(base, axes="x,y,slice,coil").data, data.transpose(2, 3, 1, 0)
    )
    assert bart(base, axes="x,y,z,coil").header["decoupled"] == "z"


@pytest.mark.parametrize(
    "shape",
    [
        (6, 8, 4, 3), (6, 8, 4), (6, 1, 4, 3), (1, 8, 4, 3), (1, 8, 4), (6, 8, 4, 3, *[1] * 9, 2), (1, 8, 4, 3, *[1] * 9, 2),  # noqa: E501
        (6, 1, 1, 3), (6, 1, 1, 1, *[1] * 9, 2),
    ],
)  # fmt: skip
def test_every_hint_on_axes_is_accepted_and_there_is_one(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    data = kspace(shape)
    base = write_bart(tmp_path / "k", data)
    with pytest.raises(InputError) as caught:
        bart(base)
    hints = re.findall(r"--axes ([a-z,]+)", str(caught.value))
    if len(shape) > 13 and min(shape[:3]) > 1:
        assert "bart slice 13 0 IN OUT" in str(caught.value)
        return
    if sorted(length > 1 for length in shape[:3]) == [False, False, True]:
        assert "a plane of k-space" in str(caught.value)
        return
    assert hints
    for hint in hints:
        read = bart(base, axes=hint)
        assert read.data.size == data.size
        assert read.data.shape[1] == (shape[3] if len(shape) > 3 else 1)


def test_a_plane_of_a_3d_scan_is_read_as_its_hint_says(tmp_path: Path) -> None:
    data = kspace((1, 8, 4, 3))
    np.testing.assert_array_equal(
        bart(write_bart(tmp_path / "k", data), axes="x,y,coil").data[0], data[0].transpose(2, 1, 0)
    )


def test_numbers_with_their_bytes_in_the_other_order_are_named(tmp_path: Path) -> None:
    base = write_bart(tmp_path / "k", kspace((32, 24, 1, 3)))
    numbers = base.with_name("k.cfl")
    np.fromfile(numbers, "<f4").astype(">f4").tofile(numbers)
    with pytest.raises(FormatError, match="bytes in the other order"):
        bart(base)


def test_dimensions_that_are_no_slices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected readout, phase, coils.*bart slice 4 0 IN OUT"):
        bart(write_bart(tmp_path / "k", kspace((6, 8, 1, 3, 2))))


@pytest.mark.parametrize("kept", [0, 1, 500, 1151])
def test_a_truncated_cfl_is_refused(pair: tuple[Path, np.ndarray], kept: int) -> None:
    numbers = pair[0].with_name("k.cfl")
    numbers.write_bytes(numbers.read_bytes()[:kept])
    with pytest.raises(FormatError, match=r"empty|need 1152"):
        bart(pair[0])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Dimensions\n",
        "6 8 1 3\n",
        "# Dimensions\nsix 8\n",
        "# Dimensions\n6 -8 1 3\n",
        "# Dimensions\n6 8 1 4\n",
    ],
)
def test_a_wrong_header_is_refused(pair: tuple[Path, np.ndarray], text: str) -> None:
    pair[0].with_name("k.hdr").write_text(text)
    with pytest.raises(FormatError):
        bart(pair[0])


def test_half_a_pair_is_refused(pair: tuple[Path, np.ndarray]) -> None:
    pair[0].with_name("k.hdr").unlink()
    with pytest.raises(InputError, match=r"k\.hdr does not exist"):
        bart(pair[0].with_name("k.cfl"))


def test_samples_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    data = kspace((6, 8, 1, 3))
    data[0, 0, 0, 0] = np.nan
    with pytest.raises(FormatError, match="NaN"):
        bart(write_bart(tmp_path / "k", data))


def test_the_budget_holds(pair: tuple[Path, np.ndarray]) -> None:
    with pytest.raises(BudgetError, match="budget"):
        bart(pair[0], budget=1000)
