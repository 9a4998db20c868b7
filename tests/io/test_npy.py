"""Bare arrays: axes are said, never guessed; masks come from exact zeros or from the caller."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from rawfiles import kspace

from veridical.errors import BudgetError, FormatError, GeometryError, InputError
from veridical.io.npy import npy


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """`(coil, y, x)` with every other row never taken."""
    data = kspace((3, 8, 6))
    data[:, 1::2] = 0
    np.save(tmp_path / "k.npy", data)
    return tmp_path / "k.npy", data


def test_the_mask_is_found_from_exact_zeros_over_all_coils(saved: tuple[Path, np.ndarray]) -> None:
    file, data = saved
    data[0, 2, 3] = 0
    np.save(file, data)
    read = npy(file, axes="coil,y,x", contrast="T1w")
    np.testing.assert_array_equal(read.data, data[None])
    expected = np.broadcast_to(np.arange(8)[:, None] % 2 == 0, (8, 6))
    np.testing.assert_array_equal(read.operator.mask[0], expected)  # type: ignore[attr-defined]
    assert read.header["contrast"] == "T1w"
    assert read.header["mask_source"] == "exact zeros"
    assert read.geometry.frame == "index"
    assert read.geometry.shape == (6, 8, 1)


@pytest.mark.parametrize(
    "axes", ["slice,coil,y,x", "y,x,coil,slice", "x,slice,ky,coil", "kx,ky,coil,slice"]
)
def test_any_order_of_axes_gives_the_same_measurement(tmp_path: Path, axes: str) -> None:
    standard = kspace((2, 3, 8, 6))
    names = [name.removeprefix("k") for name in axes.split(",")]
    np.save(
        tmp_path / "k.npy",
        standard.transpose([("slice", "coil", "y", "x").index(name) for name in names]),
    )
    np.testing.assert_array_equal(npy(tmp_path / "k.npy", axes=axes).data, standard)


def test_one_coil_needs_no_coil_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", kspace((2, 8, 6)))
    assert npy(tmp_path / "k.npy", axes="slice,y,x").data.shape == (2, 1, 8, 6)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (None, r"say what its axes are.*coil,y,x"),
        ("y,x", "names 2"),
        ("coil,y,x,slice", "names 4"),
        ("coil,y,row", "no axis is called 'row'"),
        ("coil,coil,x", "expected y and x"),
        ("slice,coil,y", "expected y and x"),
    ],
)
def test_missing_or_wrong_axes_are_refused(
    saved: tuple[Path, np.ndarray], axes: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        npy(saved[0], axes=axes)


def test_axes_that_make_hundreds_of_coils_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", kspace((8, 200, 4)))
    with pytest.raises(InputError, match="200 coils"):
        npy(tmp_path / "k.npy", axes="y,coil,x")


def test_a_given_mask_drops_what_lies_outside_it(
    saved: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    file, data = saved
    mask = np.zeros((8, 6), np.uint8)
    mask[:4] = 1
    np.save(tmp_path / "mask.npy", mask)
    for given in (mask, mask[None].astype(bool), mask[:, :1], mask[:, 0], tmp_path / "mask.npy"):
        read = npy(file, axes="coil,y,x", mask=given)
        np.testing.assert_array_equal(read.data[0], data * mask)
        np.testing.assert_array_equal(read.operator.mask[0], mask)  # type: ignore[attr-defined]
        assert read.header["samples_dropped"] == 12
        assert read.header["mask_source"] == "given"


def test_masks_that_do_not_fit_are_refused(saved: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    for mask in (np.ones((6, 8)), np.ones(7), np.ones((2, 8, 6))):
        with pytest.raises(GeometryError, match="mask has shape"):
            npy(saved[0], axes="coil,y,x", mask=mask)
    with pytest.raises(InputError, match="other than 0 and 1"):
        npy(saved[0], axes="coil,y,x", mask=np.full((8, 6), 0.5))
    with pytest.raises(InputError, match="nothing would be measured"):
        npy(saved[0], axes="coil,y,x", mask=np.zeros((8, 6)))
    with pytest.raises(InputError, match="does not exist"):
        npy(saved[0], axes="coil,y,x", mask=tmp_path / "none.npy")


def test_a_line_mask_that_fits_both_axes_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", kspace((3, 8, 8)))
    with pytest.raises(GeometryError, match="second axis"):
        npy(tmp_path / "k.npy", axes="coil,y,x", mask=np.ones(8))


def test_a_coil_that_measured_nothing_is_reported(saved: tuple[Path, np.ndarray]) -> None:
    file, data = saved
    data[1] = 0
    np.save(file, data)
    assert npy(file, axes="coil,y,x").header["silent_coils"] == [1]


@pytest.mark.parametrize("full", ["z", "x"])
def test_a_3d_scan_falls_into_slices_along_a_fully_sampled_axis(tmp_path: Path, full: str) -> None:
    objects = kspace((2, 4, 8, 6))
    data = np.fft.fftshift(
        np.fft.fftn(np.fft.ifftshift(objects, (1, 2, 3)), axes=(1, 2, 3), norm="ortho"), (1, 2, 3)
    )
    data[
        (slice(None), slice(None), slice(1, None, 2))
        if full == "z"
        else (slice(None), slice(1, None, 2))
    ] = 0
    np.save(tmp_path / "k.npy", data)
    read = npy(tmp_path / "k.npy", axes="coil,z,y,x")
    plane = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(objects, (2, 3)), norm="ortho"), (2, 3)
    ).swapaxes(0, 1)
    assert read.header["decoupled"] == full
    if full == "z":
        np.testing.assert_allclose(read.data[:, :, ::2], plane[:, :, ::2], atol=1e-5)
    assert read.data.shape == ((4, 2, 8, 6) if full == "z" else (6, 2, 4, 8))
    assert read.operator.mask.mean() == 0.5  # type: ignore[attr-defined]


def test_a_3d_scan_without_a_full_axis_is_refused(tmp_path: Path) -> None:
    data = kspace((2, 4, 8, 6))
    data[:, 1::2, :, ::2] = 0
    np.save(tmp_path / "k.npy", data)
    with pytest.raises(InputError, match="at least one must be full"):
        npy(tmp_path / "k.npy", axes="coil,z,y,x")


def test_npz_with_one_array_or_one_called_kspace_is_read(tmp_path: Path) -> None:
    data = kspace((3, 8, 6))
    np.savez_compressed(tmp_path / "a.npz", data)
    np.savez(tmp_path / "b.npz", kspace=data, other=np.ones(3))
    np.savez(tmp_path / "c.npz", a=data, b=data)
    for name in ("a.npz", "b.npz"):
        np.testing.assert_array_equal(npy(tmp_path / name, axes="coil,y,x").data[0], data)
    with pytest.raises(FormatError, match="holds 2 arrays"):
        npy(tmp_path / "c.npz", axes="coil,y,x")


@pytest.mark.parametrize("kept", [1, 5, 40, 127, 500, 1000])
@pytest.mark.parametrize("name", ["k.npy", "k.npz"])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int, name: str) -> None:
    (np.save if name == "k.npy" else np.savez)(tmp_path / name, kspace((3, 8, 6)))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:kept])
    with pytest.raises(FormatError):
        npy(tmp_path / name, axes="coil,y,x")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps([1]))
    with zipfile.ZipFile(tmp_path / "k.npz", "w") as archive:
        archive.write(tmp_path / "k.npy", "kspace.npy")
    for name in ("k.npy", "raw.npy", "k.npz"):
        with pytest.raises(FormatError):
            npy(tmp_path / name, axes="coil,y,x")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_samples_that_are_not_finite_are_refused(
    saved: tuple[Path, np.ndarray], value: float
) -> None:
    file, data = saved
    wide = data.astype(np.complex128)
    wide[0, 0, 0] = value
    np.save(file, wide)
    with pytest.raises(FormatError, match="NaN or infinite"):
        npy(file, axes="coil,y,x")


def test_real_or_empty_data_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "real.npy", np.ones((3, 8, 6)))
    np.save(tmp_path / "zero.npy", np.zeros((3, 8, 6), np.complex64))
    np.save(tmp_path / "none.npy", np.zeros((3, 0, 6), np.complex64))
    (tmp_path / "empty.npy").write_bytes(b"")
    with pytest.raises(InputError, match="expected complex k-space"):
        npy(tmp_path / "real.npy", axes="coil,y,x")
    with pytest.raises(InputError, match="no sample that is not zero"):
        npy(tmp_path / "zero.npy", axes="coil,y,x")
    with pytest.raises(InputError):
        npy(tmp_path / "none.npy", axes="coil,y,x")
    with pytest.raises(FormatError, match="empty"):
        npy(tmp_path / "empty.npy", axes="coil,y,x")


def test_the_budget_is_checked_from_the_header(tmp_path: Path) -> None:
    with (tmp_path / "k.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"shape": (8, 100_000, 100_000), "fortran_order": False, "descr": "<c8"}
        )
    with pytest.raises(BudgetError, match="GiB"):
        npy(tmp_path / "k.npy", axes="coil,y,x")


@pytest.mark.real
def test_real_scans_have_the_sampling_their_readme_tells(real_data: Path) -> None:
    brain = npy(real_data / "kspace_brain_8ch" / "kspace.npy", axes="coil,y,x")
    columns = np.flatnonzero(brain.operator.mask[0].all(0))  # type: ignore[attr-defined]
    assert (columns.min(), columns.max(), len(columns)) == (44, 211, 168)
    sparse = npy(
        real_data / "kspace_sigpy_tutorial" / "data" / "cartesian_ksp.npy", axes="coil,y,x"
    )
    assert sparse.operator.mask.mean() == pytest.approx(0.124, abs=1e-3)  # type: ignore[attr-defined]
