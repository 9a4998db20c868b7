"""Arrays in `.npy` and `.npz` files: their shapes from the headers, one array, or row after row;
pickles are never loaded.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from veridical.errors import FormatError, InputError
from veridical.io.guards import BUDGET, existing, within
from veridical.types import Array

Shape = tuple[tuple[int, ...], np.dtype[Any]]
DAMAGE = (
    *(
        ValueError,
        OSError,
        EOFError,
        SyntaxError,
        TokenError,
        KeyError,
        RuntimeError,
        OverflowError,
        struct.error,
    ),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def names_of(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays; a `.npy` has one, without a name.

    Raises:
        FormatError: damaged.
    """
    file = existing(path)
    if not zipfile.is_zipfile(file):
        return ("",)
    try:
        with zipfile.ZipFile(file) as archive:
            return tuple(
                name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")
            )
    except DAMAGE as error:
        raise _damaged(file, error) from error


def shapes_of(path: Path) -> dict[str, Shape]:
    """Return name -> shape and type of every array, from the headers.

    Raises:
        FormatError: damaged, not numpy, pickled objects, or a `.npy` shorter than its header says.
    """
    names = names_of(path)
    at = path.stat()
    return dict(_shapes(path, names, (at.st_mtime_ns, at.st_size)))


@lru_cache(maxsize=64)
def _shapes(path: Path, names: tuple[str, ...], _state: tuple[int, int]) -> dict[str, Shape]:
    found = {}
    for name in names:
        with _opened(path, name) as stream:
            found[name] = shape, dtype = _header(stream, path)[0]
            end = stream.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize
            if not name and end > path.stat().st_size:
                raise FormatError(
                    f"{path} is truncated: its array ends at byte {end}, the file before. Copy it "
                    "again."
                )
    return found


def array_of(path: Path, name: str = "", budget: int = BUDGET) -> Array:
    """Return one array; `name` is empty for `.npy`.

    Raises:
        InputError: there is no array of that name.
        FormatError: damaged, truncated or pickled.
        BudgetError: it is larger than `budget`.
    """
    (shape, dtype), fortran = _described(path, name)
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    within(size, budget, path)
    with _opened(path, name) as stream:
        _header(stream, path)
        flat = np.frombuffer(_exactly(stream, size, path), dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def rows_of(path: Path, name: str) -> Iterator[Array]:
    """Yield an array along its first axis, one row in memory at a time.

    Raises:
        FormatError: damaged, truncated, pickled, or in Fortran order.
    """
    (shape, dtype), fortran = _described(path, name)
    if fortran or not shape:
        raise FormatError(
            f"{path}: {name!r} is a number or in Fortran order and has no rows. Save it with "
            "numpy.ascontiguousarray."
        )
    size = int(np.prod(shape[1:], dtype=object)) * dtype.itemsize
    with _opened(path, name) as stream:
        _header(stream, path)
        for _ in range(shape[0]):
            yield np.frombuffer(_exactly(stream, size, path), dtype).reshape(shape[1:])


def _described(path: Path, name: str) -> tuple[Shape, bool]:
    with _opened(existing(path), name) as stream:
        return _header(stream, path)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a `.npy`, or one member of a `.npz`; damage met while it is open is a FormatError."""
    try:
        if not name:
            with path.open("rb") as stream:
                yield stream
            return
        with zipfile.ZipFile(path) as archive:
            member = name if name.endswith(".npy") else f"{name}.npy"
            if member not in archive.namelist():
                raise InputError(
                    f"{path} holds no array {name!r}; it holds {', '.join(archive.namelist()[:8])}."
                )
            with archive.open(member) as packed:
                yield packed
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _header(stream: IO[bytes], path: Path) -> tuple[Shape, bool]:
    version = npy_format.read_magic(stream)
    reader = (
        npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    )
    shape, fortran, dtype = reader(stream)
    if dtype.hasobject:
        raise FormatError(
            f"{path} holds pickled Python objects, which are never loaded. Save plain numbers with "
            "numpy.save."
        )
    return (tuple(int(n) for n in shape), dtype), fortran


def _exactly(stream: IO[bytes], size: int, path: Path) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise FormatError(
            f"{path} is truncated: an array ends {size - len(content)} bytes early. Copy it again."
        )
    return content


def _damaged(path: Path, error: Exception) -> FormatError:
    return FormatError(f"{path} is damaged or no numpy file ({error}). Copy or download it again.")
