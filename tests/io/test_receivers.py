"""Coil maps and noise scans from other files: what fits is used and recorded, what does not is
refused by its shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mri_scans import file, header, lines, scanned, sensitivities
from rawfiles import acquisition, kspace, write_bart

import veridical
from veridical import provenance
from veridical.errors import FormatError, GeometryError, InputError, SettingError
from veridical.types import Measurement, Study

MAPS = sensitivities(64, 48).astype(np.complex64)
FULL = scanned(64, 48)[1]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return file(tmp_path / "a.mrd", lines(FULL), header(64, 48))


def maps_of(path: Path, **options: Any) -> np.ndarray:
    read = veridical.read(path, **options)
    assert isinstance(read, Measurement)
    return np.asarray(read.operator.coils.maps)  # type: ignore[attr-defined]


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e5])
def test_maps_have_unit_norm_whatever_their_scale(scan: Path, scale: float) -> None:
    found = maps_of(scan, maps=scale * MAPS)
    assert found.shape == (1, 1, 4, 64, 48)
    np.testing.assert_allclose(found[0, 0], MAPS, atol=1e-5)


def test_maps_are_read_from_npy_and_from_bart_alike(scan: Path, tmp_path: Path) -> None:
    two = np.stack([MAPS, 0.5 * MAPS[::-1]])
    np.save(tmp_path / "maps.npy", two)
    write_bart(tmp_path / "maps", two.transpose(3, 2, 1, 0)[:, :, None])
    expected = maps_of(scan, maps=tmp_path / "maps.npy")
    assert expected.shape == (1, 2, 4, 64, 48)
    np.testing.assert_allclose(maps_of(scan, maps=tmp_path / "maps.cfl"), expected)
    np.testing.assert_allclose(maps_of(scan, maps=tmp_path / "maps"), expected)


def test_every_slice_has_its_own_maps(tmp_path: Path) -> None:
    rows = [row for k in range(3) for row in lines(FULL, slice=k, position=(0, 0, 5.0 * k))]
    path = file(tmp_path / "a.mrd", rows, header(64, 48))
    each = np.stack([MAPS, MAPS[::-1], 1j * MAPS])
    assert maps_of(path, maps=each).shape == (3, 1, 4, 64, 48)
    np.testing.assert_allclose(maps_of(path, maps=each[:, None])[:, 0], each, atol=1e-5)
    with pytest.raises(GeometryError, match=r"data want \(slice, coil, y, x\) = \(3, 4, 64, 48\)"):
        maps_of(path, maps=MAPS)


@pytest.mark.parametrize(
    ("maps", "error", "message"),
    [
        (
            MAPS[:3],
            GeometryError,
            r"shape \(3, 64, 48\); the data want \(coil, y, x\) = \(4, 64, 48\)",
        ),
        (MAPS.swapaxes(1, 2), GeometryError, "Transpose or crop"),
        (MAPS[0], GeometryError, "the data want"),
        (np.stack([MAPS] * 3), GeometryError, "with the sets first"),
        (np.abs(MAPS), InputError, r"expected complex numbers.*a\[\.\.\., 0\]"),
        (np.stack([MAPS.real, MAPS.imag], -1), InputError, "expected complex"),
        (MAPS * np.nan, FormatError, "NaN"),
        (0 * MAPS, InputError, "all zero"),
    ],
)
def test_maps_that_do_not_fit_are_refused(
    scan: Path, tmp_path: Path, maps: np.ndarray, error: type[Exception], message: str
) -> None:
    np.save(tmp_path / "maps.npy", maps)
    with pytest.raises(error, match=message):
        maps_of(scan, maps=tmp_path / "maps.npy")


def test_maps_of_other_dimensions_of_bart_are_refused(scan: Path, tmp_path: Path) -> None:
    write_bart(tmp_path / "maps", kspace((48, 64, 1, 4, 1, 3)))
    with pytest.raises(GeometryError, match="bart slice"):
        maps_of(scan, maps=tmp_path / "maps.cfl")


def test_files_beside_the_data_are_recorded_and_identify_the_input(
    scan: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "maps.npy", MAPS)
    np.save(tmp_path / "noise.npy", kspace((4, 200)))
    options = {"maps": tmp_path / "maps.npy", "noise_scan": tmp_path / "noise.npy"}
    read = veridical.read(scan, **options)
    source = dict(read.header["source"])
    assert {key: source[key] for key in options} == {
        key: str(path) for key, path in options.items()
    }
    again = veridical.read(source.pop("path"), **source)
    before = provenance.inputs(Study.of(read))
    assert provenance.inputs(Study.of(again)) == before
    np.save(tmp_path / "maps.npy", MAPS[::-1])
    changed = provenance.inputs(Study.of(veridical.read(scan, **options)))
    assert [key.rpartition(", ")[2] for key in before if before[key] != changed[key]] == [
        "operator coil maps"
    ]
    assert "source" not in veridical.read(scan, maps=MAPS).header


@pytest.mark.parametrize(
    ("noise", "error", "message"),
    [
        (kspace((3, 200)), GeometryError, r"shape \(3, 200\); the data have 4 coils"),
        (kspace((4, 7)), GeometryError, "at least 8 samples"),
        (kspace((4, 200)).real, InputError, "expected complex noise"),
        (kspace((4, 200)) * np.nan, FormatError, "NaN"),
    ],
)
def test_a_noise_scan_that_does_not_fit_is_refused(
    scan: Path, tmp_path: Path, noise: np.ndarray, error: type[Exception], message: str
) -> None:
    np.save(tmp_path / "noise.npy", noise)
    with pytest.raises(error, match=message):
        veridical.read(scan, noise_scan=tmp_path / "noise.npy")


def test_a_noise_scan_of_another_scanner_is_refused(scan: Path, tmp_path: Path) -> None:
    other = file(tmp_path / "noise.mrd", [acquisition(kspace((3, 200)), bits=(19,))], header())
    with pytest.raises(GeometryError, match="no noise acquisitions of 4 coils"):
        veridical.read(scan, noise_scan=other)


def test_an_assumed_dwell_time_is_said(scan: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "noise.npy", kspace((4, 200)))
    notes = veridical.read(scan, noise_scan=tmp_path / "noise.npy").header["notes"]
    assert any("assumed to have the dwell time of the data" in note for note in notes)


def test_images_have_no_coils(tmp_path: Path) -> None:
    from veridical.types import Geometry, Image

    image = Image(
        np.ones((1, 4, 3, 2), np.float32), Geometry((4, 3, 2), np.eye(4)), "a.u.", ("T1w",)
    )
    path = veridical.write(image, tmp_path / "x.nii.gz")
    for name in ("maps", "noise_scan"):
        with pytest.raises(
            SettingError,
            match=f"--{name.replace('_', '-')} is for raw MR data; the input is an image",
        ):
            veridical.read(path, **{name: MAPS})
