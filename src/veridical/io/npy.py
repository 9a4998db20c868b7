"""Bare numpy arrays of raw data, `.npy` or `.npz`, with stated axes or a stated geometry.

An array carries no names, so the caller says what each axis is, or which operator measured it;
pickled objects are never loaded, and the header is read before the numbers.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from veridical.errors import FormatError, InputError, SettingError
from veridical.io import openkbp
from veridical.io.guards import BUDGET, existing, start_of, within
from veridical.io.kspace import arrange, damaged, measurement, parse_axes, room
from veridical.types import Array, Measurement

START = b"\x93NUMPY"


def recognises(path: Path) -> bool:
    """Say whether the first bytes are those of `.npy`, or whether it is called `.npz` and is no
    patient with a plan.
    """
    if path.suffix == ".npz":
        return not openkbp.recognises(path)
    return start_of(path).startswith(START) or path.suffix == ".npy"


def npy(
    path: str | Path,
    *,
    axes: str | None = None,
    mask: str | Path | Array | None = None,
    contrast: str | None = None,
    geometry: str | Path | None = None,
    trajectory: str | Path | None = None,
    budget: int = BUDGET,
) -> Measurement:
    """Read bare Cartesian k-space; or, as another file says, what any operator measured or k-space
    along a trajectory.

    Args: path: `.npy`, or `.npz` with one array or one called `kspace`. Complex, centred, exact
        zeros where not sampled. axes: what each axis is, in the order of the array: `coil,y,x`,
        `slice,coil,y,x`, `y,x,coil`; `z` in place of `slice` for a 3D scan whose third axis is
        still k-space. mask: `.npy` file or array, `(ky, kx)` or `(slice, ky, kx)`, 1 where sampled;
        otherwise from exact zeros. contrast: e.g. `T1w`, kept in the header. geometry: TOML file
        with the operator that measured the array, `(slice, *range)` or `(*range)`; see
        `io.stated_geometry.measured_by`. Then neither axes nor mask. trajectory: `.npy` file, real
        `(..., 2)`: `(ky, kx)` of every sample in cycles per field of view. Then the axes are
        `sample` and if need be `readout`, `coil` and `slice`; see
        `io.stated_geometry.along_trajectory`. No mask. budget: bytes of memory that the read may
        take.

    Returns: Measurement with data `(slice, coil, ky, kx)` complex64 on an index grid (no spacing is
        known); with `geometry` `(slice, *range)`, with `trajectory` `(slice, coil, sample)`.

    Raises:
        InputError: `axes` is missing or wrong, or the array is not complex.
        SettingError: options that do not go together, or a wrong key or value in the geometry file.
        GeometryError: array, mask, geometry and trajectory do not fit together.
        FormatError: not numpy, truncated, pickled objects, NaN or infinite samples.
        BudgetError: it would take more memory than `budget`.
    """
    file = existing(path)
    if geometry is not None or trajectory is not None:
        return _elsewhere(file, axes, mask, contrast, geometry, trajectory, budget)
    shape, dtype = _header(file)
    if axes is None:
        raise InputError(
            f"{file} is a bare array of shape {shape}; say what its axes are, e.g. --axes coil,y,x."
        )
    if dtype.kind != "c":
        raise InputError(
            f"{file} holds {dtype}; expected complex k-space. Join the parts first: a[..., 0] + 1j "
            "* a[..., 1]."
        )
    names = parse_axes(axes, shape, file)
    room(shape, dtype.itemsize + 24 * ("z" in names), budget, file)
    data, taken, said = arrange(load_npy(file, budget), names, file)
    header = {"axes": ",".join(names), **({"contrast": contrast} if contrast else {}), **said}
    return measurement(data, file, header, taken=taken, mask=mask)


def _elsewhere(
    file: Path,
    axes: str | None,
    mask: str | Path | Array | None,
    contrast: str | None,
    geometry: str | Path | None,
    trajectory: str | Path | None,
    budget: int,
) -> Measurement:
    """Read an array whose geometry or trajectory stands in another file."""
    from veridical.io.stated_geometry import along_trajectory, measured_by

    if geometry is not None:
        for name, value in (("axes", axes), ("mask", mask), ("trajectory", trajectory)):
            if value is not None:
                raise SettingError(
                    f"{file}: --{name} is given beside --geometry, which says how it was measured. "
                    "Leave one out."
                )
        return measured_by(file, geometry, contrast, budget)
    if trajectory is None or mask is not None:
        raise SettingError(
            f"{file}: --mask is given beside --trajectory, which holds sampled positions only. "
            "Leave one out."
        )
    return along_trajectory(file, trajectory, axes, contrast, budget)


def load_npy(path: Path, budget: int) -> Array:
    """Return the array of a `.npy` or `.npz` file; no pickle, and the size checked before it is
    read.

    Raises:
        FormatError: not numpy, truncated, or pickled objects.
        BudgetError: it is larger than `budget`.
    """
    shape, dtype = _header(path)
    within(int(np.prod(shape, dtype=object)) * dtype.itemsize, budget, path)
    try:
        if not zipfile.is_zipfile(path):
            return np.asarray(np.load(path, allow_pickle=False))
        with zipfile.ZipFile(path) as archive, archive.open(_member(archive, path)) as stream:
            return np.asarray(npy_format.read_array(stream, allow_pickle=False))
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, error, f"the array of shape {shape}") from error


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            return _parse(stream, path)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_member(archive, path)) as stream:
            return _parse(stream, path)
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
        raise damaged(path, error, "the archive") from error


def _parse(stream: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = npy_format.read_magic(stream)
        reader = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, _, dtype = reader(stream)
    except (ValueError, EOFError, SyntaxError, TokenError) as error:
        raise FormatError(
            f"{path} is not a numpy array file ({error}). Save it with numpy.save."
        ) from error
    if dtype.hasobject:
        raise FormatError(
            f"{path} holds pickled Python objects, which are never loaded. Save plain numbers with "
            "numpy.save."
        )
    return tuple(int(n) for n in shape), dtype


def _member(archive: zipfile.ZipFile, path: Path) -> str:
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    chosen = "kspace.npy" if "kspace.npy" in names else names[0] if len(names) == 1 else None
    if chosen is None:
        raise FormatError(
            f"{path} holds {len(names)} arrays ({', '.join(names[:8])}); expected one, or one "
            "called 'kspace'."
        )
    return chosen
