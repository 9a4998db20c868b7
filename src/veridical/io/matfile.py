"""Plain numeric arrays in MATLAB 5 files (MAT-File Format, The MathWorks): sizes are checked before
anything is unpacked.

Cells, structures, objects, sparse and complex arrays are passed over; MATLAB 7.3 files are HDF5 and
are not read here.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from veridical.errors import FormatError
from veridical.io.guards import existing, within
from veridical.types import Array

MATRIX, COMPRESSED = 14, 15
NUMBERS = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
"""Type of stored data -> numpy's."""
CLASSES = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}
"""Class of an array -> numpy's; the others are no plain numbers."""
COMPLEX = 0x800
HEADER = 128
LIMIT = 2**28
"""Bytes that a file, or what it unpacks to, may have unless told otherwise."""


def arrays_in(path: str | Path, budget: int = LIMIT) -> dict[str, Array]:
    """Return name -> array of all plain numeric arrays, axes as in MATLAB (row, column, ...).

    Raises:
        FormatError: not MATLAB 5, truncated or damaged.
        BudgetError: file or arrays are larger than `budget`.
    """
    file = existing(path)
    within(file.stat().st_size, budget, file)
    content = file.read_bytes()
    mark = content[126:128]
    if content[:10] == b"MATLAB 7.3":
        raise FormatError(
            f"{file} is a MATLAB 7.3 file, which is HDF5; expected MATLAB 5. Save it with -v7 or "
            "-v6."
        )
    if len(content) < HEADER or mark not in (b"IM", b"MI"):
        raise FormatError(
            f"{file} is no MATLAB 5 file, or is truncated. Save it with -v7 or -v6, or copy it "
            "again."
        )
    order = "<" if mark == b"IM" else ">"
    found: dict[str, Array] = {}
    place, left = HEADER, budget
    try:
        while place < len(content):
            kind, body, place = _element(content, place, order, padded=False)
            if kind == COMPRESSED:
                kind, body, _ = _element(_unpacked(body, left), 0, order, padded=False)
            left -= len(body)
            within(budget - left, budget, file)
            if kind == MATRIX and (named := _matrix(body, order)):
                found[named[0]] = named[1]
    except (ValueError, zlib.error) as error:
        raise FormatError(
            f"{file} is damaged or truncated ({error}). Copy or download it again."
        ) from error
    return found


def _element(content: bytes, place: int, order: str, padded: bool = True) -> tuple[int, bytes, int]:
    """Return type and data of the element at `place`, and where the next one begins."""
    if place + 8 > len(content):
        raise ValueError(f"it ends within a tag at byte {place}")
    word, size = (int(n) for n in np.frombuffer(content, f"{order}u4", 2, place))
    if word >> 16:
        kind, size, start, end = word & 0xFFFF, word >> 16, place + 4, place + 8
        if size > 4:
            raise ValueError(f"a small element of {size} bytes")
    else:
        kind, start = word, place + 8
        end = start + size + (-size % 8 if padded else 0)
    if start + size > len(content):
        raise ValueError(
            f"an element of {size} bytes at byte {place}, of which {max(0, len(content) - start)} "
            "are there"
        )
    return kind, content[start : start + size], end


def _unpacked(packed: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(packed, max(most, 1))
    if not unpacker.eof:
        raise ValueError("a packed element is cut off, or larger than allowed")
    return plain


def _matrix(body: bytes, order: str) -> tuple[str, Array] | None:
    """Return name and numbers of an array, None where it is not of plain numbers."""
    _, flags, place = _element(body, 0, order)
    if len(flags) < 8:
        raise ValueError("an array without flags")
    said = int(np.frombuffer(flags, f"{order}u4", 1)[0])
    kind = CLASSES.get(said & 0xFF)
    if kind is None or said & COMPLEX:
        return None
    _, sizes, place = _element(body, place, order)
    _, name, place = _element(body, place, order)
    stored, numbers, _ = _element(body, place, order)
    if stored not in NUMBERS or len(sizes) % 4:
        raise ValueError(f"numbers of the type {stored}")
    shape = tuple(int(n) for n in np.frombuffer(sizes, f"{order}i4"))
    values = np.frombuffer(numbers, order + NUMBERS[stored])
    if min(shape, default=-1) < 0 or np.prod(shape, dtype=object) != values.size:
        raise ValueError(f"an array of {shape} with {values.size} numbers")
    return name.decode("latin-1").rstrip("\0"), values.astype(kind).reshape(shape, order="F")
