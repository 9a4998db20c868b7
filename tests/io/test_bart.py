"""BART pairs: its order of dimensions, and nothing malformed passes."""

from __future__ import annotations

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
def test_readout_is_x_phase_is_y_and_dimension_3_is_coils(pair: tuple[Path, np.ndarray], end: str) -> None:
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
    np.testing.assert_array_equal(bart(base, axes="x,y,slice,coil").data, data.transpose(2, 3, 1, 0))
    assert bart(base, axes="x,y,z,coil").header["decoupled"] == "z"


def test_dimensions_that_are_no_slices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected readout, phase, coils"):
        bart(write_bart(tmp_path / "k", kspace((6, 8, 1, 3, 2))))


@pytest.mark.parametrize("kept", [0, 1, 500, 1151])
def test_a_truncated_cfl_is_refused(pair: tuple[Path, np.ndarray], kept: int) -> None:
    numbers = pair[0].with_name("k.cfl")
    numbers.write_bytes(numbers.read_bytes()[:kept])
    with pytest.raises(FormatError, match=r"empty|need 1152"):
        bart(pair[0])


@pytest.mark.parametrize(
    "text", ["", "# Dimensions\n", "6 8 1 3\n", "# Dimensions\nsix 8\n", "# Dimensions\n6 -8 1 3\n", "# Dimensions\n6 8 1 4\n"]
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
