"""Bare numpy arrays of k-space, `.npy` or `.npz`, with stated axes.

An array carries no names, so the caller says what each axis is; pickled objects are never loaded, and the header is read
before the numbers.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from veridical.errors import FormatError, InputError
from veridical.io.guards import BUDGET, existing, start_of, within
from veridical.io.kspace import arrange, damaged, measurement, parse_axes, room
from veridical.types import Array, Measurement

START = b"\x93NUMPY"


def recognises(path: Path) -> bool:
    """Say whether the first bytes are those of `.npy`, or of a zip archive called `.npz`."""
    start = start_of(path)
    return start.startswith(START) or path.suffix in (".npy", ".npz")


def npy(
    path: str | Path,
    *,
    axes: str | None = None,
    mask: str | Path | Array | None = None,
    contrast: str | None = None,
    budget: int = BUDGET,
) -> Measurement:
    """Read bare Cartesian k-space.

    Args:
        path: `.npy`, or `.npz` with one array or one called `kspace`. Complex, centred, exact zeros where not sampled.
        axes: what each axis is, in the order of the array: `coil,y,x`, `slice,coil,y,x`, `y,x,coil`; `z` in place of `slice`
            for a 3D scan whose third axis is still k-space.
        mask: `.npy` file or array, `(ky, kx)` or `(slice, ky, kx)`, 1 where sampled; otherwise from exact zeros.
        contrast: e.g. `T1w`, kept in the header.
        budget: bytes of memory that the read may take.

    Returns:
        Measurement with data `(slice, coil, ky, kx)` complex64 on an index grid (no spacing is known).

    Raises:
        InputError: `axes` is missing or wrong, or the array is not complex.
        FormatError: not numpy, truncated, pickled objects, NaN or infinite samples.
        BudgetError: it would take more memory than `budget`.
    """
    file = existing(path)
    shape, dtype = _header(file)
    if axes is None:
        raise InputError(
            f"{file} is a bare array of shape {shape}; say what its axes are, e.g. axes='coil,y,x' (--axes coil,y,x)."
        )
    if dtype.kind != "c":
        raise InputError(f"{file} holds {dtype}; expected complex k-space. Join the parts first: a[..., 0] + 1j * a[..., 1].")
    names = parse_axes(axes, shape, file)
    room(shape, dtype.itemsize + 24 * ("z" in names), budget, file)
    data, taken, said = arrange(load_npy(file, budget), names, file)
    header = {"axes": ",".join(names), **({"contrast": contrast} if contrast else {}), **said}
    return measurement(data, file, header, taken=taken, mask=mask)


def load_npy(path: Path, budget: int) -> Array:
    """Return the array of a `.npy` or `.npz` file; no pickle, and the size checked before it is read.

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
        reader = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = reader(stream)
    except (ValueError, EOFError, SyntaxError, TokenError) as error:
        raise FormatError(f"{path} is not a numpy array file ({error}). Save it with numpy.save.") from error
    if dtype.hasobject:
        raise FormatError(f"{path} holds pickled Python objects, which are never loaded. Save plain numbers with numpy.save.")
    return tuple(int(n) for n in shape), dtype


def _member(archive: zipfile.ZipFile, path: Path) -> str:
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    chosen = "kspace.npy" if "kspace.npy" in names else names[0] if len(names) == 1 else None
    if chosen is None:
        raise FormatError(f"{path} holds {len(names)} arrays ({', '.join(names[:8])}); expected one, or one called 'kspace'.")
    return chosen
