"""fastMRI files: their axes, their mask, their oversampled readout."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from rawfiles import kspace, write_fastmri, xml

from veridical.errors import BudgetError, FormatError, GeometryError, InputError
from veridical.io.fastmri import fastmri, recognises


@pytest.fixture
def scan() -> np.ndarray:
    """`(slice, coil, readout, phase)` with every other column never taken."""
    data = kspace((2, 3, 16, 10))
    data[..., 1::2] = 0
    return data


def header() -> str:
    return xml((16, 10, 1), (8, 10, 1), (400, 250, 4), (200, 250, 4))


def test_axes_contrast_and_mask_are_read(tmp_path: Path, scan: np.ndarray) -> None:
    read = fastmri(write_fastmri(tmp_path / "f.h5", scan))
    np.testing.assert_array_equal(read.data, scan)
    assert read.header["contrast"] == "FLAIR"
    np.testing.assert_array_equal(read.operator.mask[0, 0], np.arange(10) % 2 == 0)  # type: ignore[attr-defined]
    assert read.geometry.frame == "index"
    assert "secret" not in str(read.header)


def test_single_coil_files_get_one_coil(tmp_path: Path, scan: np.ndarray) -> None:
    np.testing.assert_array_equal(
        fastmri(write_fastmri(tmp_path / "f.h5", scan[:, 0])).data, scan[:, :1]
    )


def test_the_mask_in_the_file_counts(tmp_path: Path, scan: np.ndarray) -> None:
    own = np.arange(10) < 5
    read = fastmri(write_fastmri(tmp_path / "f.h5", scan, mask=own))
    np.testing.assert_array_equal(read.operator.mask[0, 0], own & (np.arange(10) % 2 == 0))  # type: ignore[attr-defined]
    assert not read.data[..., 5:].any()
    with pytest.raises(GeometryError, match="its mask has shape"):
        fastmri(write_fastmri(tmp_path / "g.h5", scan, mask=np.ones(7)))


def test_oversampling_is_cut_from_the_image_not_from_kspace(
    tmp_path: Path, scan: np.ndarray
) -> None:
    read = fastmri(write_fastmri(tmp_path / "f.h5", scan, header()))

    def image(data: np.ndarray) -> np.ndarray:
        return np.fft.fftshift(
            np.fft.ifft2(np.fft.ifftshift(data, (-2, -1)), norm="ortho"), (-2, -1)
        )

    np.testing.assert_allclose(image(read.data), image(scan)[..., 4:12, :], atol=1e-5)
    assert read.data.shape == (2, 3, 8, 10)
    assert not read.data[..., 1::2].any()
    assert read.header["readout_oversampling"] == "removed: 16 to 8"


def test_spacing_comes_from_the_field_of_view(tmp_path: Path, scan: np.ndarray) -> None:
    read = fastmri(write_fastmri(tmp_path / "f.h5", scan, header()))
    assert read.geometry.spacing == (25, 25, 4)
    assert read.geometry.shape == (10, 8, 2)
    assert read.geometry.frame == "local"
    assert read.header["field"] == 2.89
    assert "DOE" not in str(read.header)


def test_partial_readouts_keep_their_oversampling(tmp_path: Path, scan: np.ndarray) -> None:
    scan[..., :3, :] = 0
    read = fastmri(write_fastmri(tmp_path / "f.h5", scan, header()))
    assert read.data.shape == scan.shape
    assert "partial" in read.header["readout_oversampling"]
    assert read.geometry.spacing == (25, 25, 4)


@pytest.mark.parametrize("bad", ["<a", "<a/>", "<!DOCTYPE a><a/>", "<h><encoding/></h>"])
def test_a_wrong_header_is_refused(tmp_path: Path, scan: np.ndarray, bad: str) -> None:
    with pytest.raises(FormatError, match="ISMRMRD header"):
        fastmri(write_fastmri(tmp_path / "f.h5", scan, bad))


@pytest.mark.parametrize(
    "data", [np.ones((2, 3, 16, 10)), np.ones((3, 3), complex), np.ones((2, 0, 4, 4), complex)]
)
def test_a_wrong_shape_or_type_is_refused(tmp_path: Path, data: np.ndarray) -> None:
    with pytest.raises(FormatError, match="expected complex"):
        fastmri(write_fastmri(tmp_path / "f.h5", data))


def test_a_missing_dataset_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["volume"] = np.ones(3)
    assert not recognises(tmp_path / "f.h5")
    with pytest.raises(FormatError, match=r"no 'kspace'; it holds: volume"):
        fastmri(tmp_path / "f.h5")


def test_links_into_other_files_are_not_followed(tmp_path: Path, scan: np.ndarray) -> None:
    write_fastmri(tmp_path / "secret.h5", scan)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["kspace"] = h5py.ExternalLink("secret.h5", "kspace")
    with pytest.raises(FormatError, match="not followed"):
        fastmri(tmp_path / "f.h5")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, scan: np.ndarray, share: float) -> None:
    file = write_fastmri(tmp_path / "f.h5", scan, header())
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FormatError):
        fastmri(file)


def test_nan_and_zeros_are_refused(tmp_path: Path, scan: np.ndarray) -> None:
    with pytest.raises(InputError, match="no sample that is not zero"):
        fastmri(write_fastmri(tmp_path / "z.h5", scan * 0))
    scan[0, 0, 0, 0] = np.nan
    with pytest.raises(FormatError, match="NaN"):
        fastmri(write_fastmri(tmp_path / "f.h5", scan))


def test_the_budget_is_checked_from_the_header(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("kspace", (1000, 32, 2000, 2000), np.complex64, chunks=(1, 1, 100, 100))
    with pytest.raises(BudgetError, match="GiB"):
        fastmri(tmp_path / "f.h5")
