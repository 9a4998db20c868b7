"""Bare arrays with a geometry file or a trajectory: what is said is read, and what does not fit is
refused.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import veridical
from veridical.errors import BudgetError, FormatError, GeometryError, InputError, SettingError
from veridical.io.npy import npy
from veridical.physics.fan_beam import FanBeam, full_turn
from veridical.physics.pet import PET
from veridical.types import Measurement

REAL = (
    Path(os.environ.get("VERIDICAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "kspace_sigpy_tutorial"
    / "data"
)
FAN = """
operator = "fan-beam"
shape = [12, 15]
spacing = [1.5, 1.0]
source = 40.0
views = 10
detectors = 31
pitch = 1.2
"""
PET_FILE = """
operator = "pet"
shape = [12, 15]
spacing = [2.0, 2.0]
views = 10
detectors = 21
scale = 3.0
attenuation = "survival.npy"
background = "parts/background.npy"
noise = {kind = "poisson"}
units = "Bq/ml"
"""


def saved(folder: Path, text: str, array: np.ndarray) -> tuple[Path, Path]:
    (folder / "geometry.toml").write_text(text)
    np.save(folder / "data.npy", array)
    return folder / "data.npy", folder / "geometry.toml"


def sinogram(slices: int | None = None) -> np.ndarray:
    shape = (10, 31) if slices is None else (slices, 10, 31)
    return np.random.default_rng(0).random(shape)


def read(data: Path, **options: Any) -> Measurement:
    found = veridical.read(data, **options)
    assert isinstance(found, Measurement)
    return found


def test_the_operator_of_the_file_and_its_grid_come_with_the_data(tmp_path: Path) -> None:
    data, geometry = saved(tmp_path, FAN, sinogram())
    scan = read(data, geometry=geometry, contrast="CT")
    expected = FanBeam((12, 15), (1.5, 1.0), full_turn(10), 40.0, 31, 1.2)
    assert isinstance(scan.operator, FanBeam)
    torch.testing.assert_close(scan.operator.angles, expected.angles)
    assert {**scan.operator.describe(), "angles": ""} == {**expected.describe(), "angles": ""}
    assert scan.data.dtype == np.float32
    np.testing.assert_allclose(scan.data, sinogram()[None], rtol=1e-6)
    assert scan.geometry.shape == (15, 12, 1)
    assert scan.geometry.spacing[:2] == (1.0, 1.5)
    assert scan.header["contrast"] == "CT"
    assert "slice thickness not stated" in scan.header["grid"]
    assert scan.noise.kind == "unknown"


def test_several_slices_need_their_distance(tmp_path: Path) -> None:
    data, geometry = saved(tmp_path, FAN, sinogram(3))
    with pytest.raises(SettingError, match=r"3 slices; expected slice_spacing"):
        read(data, geometry=geometry)
    geometry.write_text(FAN + "slice_spacing = 2.5\n")
    scan = read(data, geometry=geometry)
    assert scan.data.shape == (3, 10, 31)
    assert scan.geometry.spacing == (1.0, 1.5, 2.5)


def test_photons_noise_and_units_are_kept(tmp_path: Path) -> None:
    data, geometry = saved(
        tmp_path, FAN + 'photons = 1e5\nelectronic = 3\nunits = "1/mm"\n', sinogram()
    )
    scan = read(data, geometry=geometry)
    assert (scan.header["photons"], scan.header["electronic"], scan.header["units"]) == (
        1e5,
        3.0,
        "1/mm",
    )
    assert scan.noise.kind == "poisson_gaussian"
    geometry.write_text(FAN + 'noise = {kind = "gaussian", level = 0.02}\n')
    noise = read(data, geometry=geometry).noise
    assert (noise.kind, noise.level) == ("gaussian", 0.02)


def test_arrays_are_named_relative_to_the_geometry_file(tmp_path: Path) -> None:
    data, geometry = saved(tmp_path, PET_FILE, np.ones((10, 21), np.int32))
    np.save(tmp_path / "survival.npy", np.full((10, 21), 0.5))
    (tmp_path / "parts").mkdir()
    np.save(tmp_path / "parts" / "background.npy", np.full((10, 21), 2.0))
    scan = read(data, geometry=geometry)
    assert isinstance(scan.operator, PET)
    torch.testing.assert_close(
        scan.operator.expected(torch.zeros(12, 15)), torch.full((10, 21), 2.0)
    )
    assert float(scan.operator.attenuation.max()) == 0.5
    assert scan.noise.kind == "poisson"
    assert scan.header["units"] == "Bq/ml"
    (tmp_path / "survival.npy").unlink()
    with pytest.raises(InputError, match=r"survival.npy does not exist"):
        read(data, geometry=geometry)


def test_the_source_reads_it_again_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, FAN, sinogram())
    monkeypatch.chdir(tmp_path)
    scan = read(Path("data.npy"), geometry="geometry.toml")
    source = dict(scan.header["source"])
    assert source["geometry"] == str(tmp_path / "geometry.toml")
    monkeypatch.chdir("/")
    again = read(source.pop("path"), **source)
    np.testing.assert_array_equal(again.data, scan.data)
    assert again.operator.describe() == scan.operator.describe()
    assert again.header == scan.header


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            FAN.replace("source", "sorce"),
            r"geometry.toml: fan-beam: a geometry file has no key 'sorce'. Did you mean 'source'",
        ),
        (
            FAN.replace("source = 40.0", ""),
            r"geometry.toml: fan-beam: the geometry file does not give source",
        ),
        (
            FAN.replace("fan-beam", "fan-beem"),
            r"No operator is called 'fan-beem'. Did you mean 'fan-beam'",
        ),
        (
            FAN.replace('operator = "fan-beam"', ""),
            r"names no operator; expected a line such as operator",
        ),
        (FAN.replace("fan-beam", "identity"), r"identity cannot be described"),
        (FAN + "noise = 3", r"noise = 3; expected a table"),
        (FAN + "noise = {sort = 'gaussian'}", r"noise has no key 'sort'"),
        (FAN + "noise = {kind = 'gausian'}", r"Did you mean 'gaussian'"),
        (
            FAN + "noise = {kind = 'gaussian', level = -1}",
            r"noise level = -1; expected a number of at least 0",
        ),
        (FAN + "photons = 0", r"photons = 0; expected a number above 0"),
        (FAN + "units = 3", r"units = 3; expected a word"),
        (FAN + "slice_spacing = 0", r"slice_spacing = 0; expected a number above 0"),
    ],
)
def test_wrong_keys_and_values_are_named(tmp_path: Path, text: str, message: str) -> None:
    data, geometry = saved(tmp_path, text, sinogram())
    with pytest.raises(SettingError, match=message):
        read(data, geometry=geometry)


def test_geometry_that_cannot_be_is_refused_with_the_file(tmp_path: Path) -> None:
    data, geometry = saved(tmp_path, FAN.replace("40.0", "4.0"), sinogram())
    with pytest.raises(GeometryError, match=r"geometry.toml: fan-beam: the source is 4 mm"):
        read(data, geometry=geometry)


@pytest.mark.parametrize("shape", [(31, 10), (10, 32), (2, 2, 10, 31), (31,)])
def test_an_array_of_another_shape_is_refused_with_the_right_one(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    data, geometry = saved(tmp_path, FAN, np.ones(shape))
    with pytest.raises(GeometryError, match=r"measures \(10, 31\), or \(slice, 10, 31\)"):
        read(data, geometry=geometry)


def test_complex_nan_and_too_large_data_are_refused(tmp_path: Path) -> None:
    data, geometry = saved(tmp_path, FAN, sinogram() + 1j)
    with pytest.raises(InputError, match="real numbers"):
        read(data, geometry=geometry)
    np.save(data, np.where(sinogram() > 0.99, np.nan, sinogram()))
    with pytest.raises(FormatError, match="NaN"):
        read(data, geometry=geometry)
    np.save(data, sinogram())
    with pytest.raises(BudgetError):
        read(data, geometry=geometry, budget=1000)


def test_a_geometry_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    data, geometry = saved(tmp_path, "operator: fan-beam", sinogram())
    with pytest.raises(FormatError, match="not a TOML file"):
        read(data, geometry=geometry)
    geometry.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="not a TOML file"):
        read(data, geometry=geometry)


def test_options_that_say_the_same_twice_are_refused(tmp_path: Path) -> None:
    data, geometry = saved(tmp_path, FAN, sinogram())
    with pytest.raises(SettingError, match="--axes is given beside --geometry"):
        read(data, geometry=geometry, axes="y,x")
    with pytest.raises(SettingError, match="--trajectory is given beside --geometry"):
        read(data, geometry=geometry, trajectory=data)
    with pytest.raises(SettingError, match="--mask is given beside --trajectory"):
        read(data, trajectory=data, mask=data)


def test_without_either_nothing_has_changed(tmp_path: Path) -> None:
    data, _ = saved(tmp_path, FAN, sinogram())
    with pytest.raises(InputError, match="say what its axes are"):
        read(data)


def spokes(readouts: int = 5, samples: int = 16, matrix: int = 16) -> np.ndarray:
    angle = np.arange(readouts)[:, None] * math.pi / readouts
    radius = (np.arange(samples) - samples / 2) * matrix / samples
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], -1)


def kspace(shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


@pytest.mark.parametrize(
    "axes", ["slice,coil,readout,sample", "sample,readout,coil,slice", "coil,readout,slice,sample"]
)
def test_samples_of_any_order_of_axes_meet_their_place_in_k_space(
    tmp_path: Path, axes: str
) -> None:
    data = kspace((2, 3, 5, 16))
    order = ("slice", "coil", "readout", "sample")
    np.save(tmp_path / "k.npy", data.transpose([order.index(name) for name in axes.split(",")]))
    np.save(tmp_path / "coord.npy", spokes())
    scan = read(tmp_path / "k.npy", axes=axes, trajectory=tmp_path / "coord.npy", contrast="T1w")
    np.testing.assert_array_equal(scan.data, data.reshape(2, 3, 80))
    assert scan.operator.name == "noncartesian-mri"
    assert scan.operator.matrix == (16, 16)  # type: ignore[attr-defined]
    trajectory = scan.operator.trajectory  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        trajectory, np.broadcast_to(spokes().reshape(1, 80, 2), (2, 80, 2)), atol=1e-5
    )
    assert scan.geometry.shape == (16, 16, 2)
    assert scan.header["source"]["trajectory"] == str(tmp_path / "coord.npy")


@pytest.mark.parametrize(
    ("axes", "data", "coordinates"),
    [
        ("coil,sample", (3, 80), (80, 2)),
        ("sample", (80,), (80, 2)),
        ("readout,sample", (5, 16), (80, 2)),
        ("slice,coil,sample", (2, 3, 80), (2, 80, 2)),
        ("slice,readout,sample", (2, 5, 16), (2, 5, 16, 2)),
    ],
)
def test_trajectories_of_every_shape_that_fits(
    tmp_path: Path, axes: str, data: tuple[int, ...], coordinates: tuple[int, ...]
) -> None:
    np.save(tmp_path / "k.npy", kspace(data))
    np.save(tmp_path / "coord.npy", np.resize(spokes(), coordinates))
    scan = npy(tmp_path / "k.npy", axes=axes, trajectory=tmp_path / "coord.npy")
    slices = 2 if "slice" in axes else 1
    assert scan.data.shape == (slices, 3 if "coil" in axes else 1, 80)
    assert scan.operator.trajectory.shape == (slices, 80, 2)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("axes", "coordinates", "error", "message"),
    [
        (None, spokes(), InputError, "--axes coil,readout,sample"),
        ("coil,y,x", spokes(), InputError, "no axis is called 'y'"),
        ("coil,readout", spokes(), InputError, "expected sample once"),
        ("coil,sample", spokes(), InputError, "names 2"),
        (
            "coil,readout,sample",
            spokes(4),
            GeometryError,
            r"expected real \(readout, sample, 2\) = \(5, 16, 2\)",
        ),
        ("coil,readout,sample", spokes()[..., :1], GeometryError, "expected real"),
        ("coil,readout,sample", spokes() + 0j, GeometryError, "expected real"),
        ("coil,readout,sample", spokes() / 16, InputError, "cycles per field of view"),
        ("coil,readout,sample", spokes() * np.nan, FormatError, "NaN"),
    ],
)
def test_trajectories_that_do_not_fit_are_refused(
    tmp_path: Path, axes: str | None, coordinates: np.ndarray, error: type[Exception], message: str
) -> None:
    np.save(tmp_path / "k.npy", kspace((3, 5, 16)))
    np.save(tmp_path / "coord.npy", coordinates)
    with pytest.raises(error, match=message):
        npy(tmp_path / "k.npy", axes=axes, trajectory=tmp_path / "coord.npy")


def test_the_matrix_is_the_extent_rounded_up_to_even(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", kspace((5, 16)))
    np.save(tmp_path / "coord.npy", spokes(matrix=16) * np.array([1.3, 1.0]))
    scan = npy(tmp_path / "k.npy", axes="readout,sample", trajectory=tmp_path / "coord.npy")
    reach = np.abs(spokes()[..., 0]).max() * 1.3
    assert scan.operator.matrix == (2 * math.ceil(reach), 16)  # type: ignore[attr-defined]


@pytest.mark.real
@pytest.mark.skipif(not REAL.exists(), reason="no real data")
def test_the_published_projection_trajectory_has_96_spokes_of_a_256_matrix(tmp_path: Path) -> None:
    """SigPy's tutorial: 96 x 512 samples in [-128, 128] cycles per field of view; its k-space is
    not among the data.
    """
    np.save(tmp_path / "k.npy", kspace((2, 96, 512)))
    scan = read(
        tmp_path / "k.npy", axes="coil,readout,sample", trajectory=REAL / "projection_coord.npy"
    )
    assert scan.operator.matrix == (256, 256)  # type: ignore[attr-defined]
    assert scan.data.shape == (1, 2, 96 * 512)
