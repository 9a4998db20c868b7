"""BART files: a `.hdr` of dimensions beside a `.cfl` of complex64 in Fortran order
(mrirecon.github.io/bart).

BART's order of dimensions: 0 readout, 1 phase encoding, 2 second phase encoding, 3 coils, 13
slices.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from veridical.errors import FormatError, InputError
from veridical.io.guards import BUDGET, existing, within
from veridical.io.kspace import arrange, damaged, measurement, parse_axes, room
from veridical.types import Array, Measurement

DEFAULT = {0: "x", 1: "y", 2: "z", 3: "coil", 13: "slice"}


def recognises(path: Path) -> bool:
    """Say whether this is one of the pair, or the common name of both."""
    header = _base(path).with_name(_base(path).name + ".hdr")
    if path.suffix == ".cfl":
        return True
    return header.is_file() and header.read_bytes()[:12].startswith(b"# Dimensions")


def bart(
    path: str | Path,
    *,
    axes: str | None = None,
    mask: str | Path | Array | None = None,
    contrast: str | None = None,
    budget: int = BUDGET,
) -> Measurement:
    """Read Cartesian k-space from a BART pair.

    Args: path: the `.cfl`, the `.hdr`, or their common name. axes: names of all axes longer than 1,
        in BART's order. By default BART's convention (`x,y,coil`, slices in dimension 13). It must
        be given when dimension 2 is longer than 1: `x,y,z,coil` for a 3D scan, `x,y,slice,coil` for
        a stack of slices, `x,y,coil` for one plane of a 3D scan, where dimension 0 is 1. mask:
        `.npy` file or array, 1 where sampled; otherwise from exact zeros. contrast: e.g. `T1w`,
        kept in the header. budget: bytes of memory that the read may take.

    Returns: Measurement with data `(slice, coil, ky, kx)` complex64 on an index grid (BART keeps no
        spacing).

    Raises:
        FormatError: a part of the pair is missing or of the wrong size, or holds NaN.
        InputError: the axes are not those of 2D slices, or dimension 2 is ambiguous.
        BudgetError: it would take more memory than `budget`.
    """
    shape, numbers = _pair(Path(path))
    kept = [index for index, length in enumerate(shape) if length > 1]
    names = _names(axes, shape, kept, numbers)
    room(shape, 8 + 24 * ("z" in names), budget, numbers)
    array = array_in(numbers, budget).reshape([shape[index] for index in kept], order="F")
    data, taken, said = arrange(array, names, numbers)
    return measurement(
        data,
        numbers,
        {**({"contrast": contrast} if contrast else {}), **said},
        taken=taken,
        mask=mask,
    )


def array_in(path: str | Path, budget: int) -> Array:
    """Return the array of a BART pair, with all its dimensions.

    Raises:
        FormatError: a part of the pair is missing or of the wrong size.
        BudgetError: it is larger than `budget`.
    """
    shape, numbers = _pair(Path(path))
    within(numbers.stat().st_size, budget, numbers)
    try:
        return np.fromfile(numbers, "<c8").reshape(shape, order="F")
    except (OSError, ValueError) as error:
        raise damaged(numbers, error, "the samples") from error


def _pair(path: Path) -> tuple[tuple[int, ...], Path]:
    """Return the dimensions and the file of the numbers, whose size they fit."""
    base = _base(path)
    header, numbers = (
        existing(base.with_name(base.name + ".hdr")),
        existing(base.with_name(base.name + ".cfl")),
    )
    shape = _dimensions(header)
    size, expected = numbers.stat().st_size, 8 * int(np.prod(shape, dtype=object))
    if size != expected:
        raise FormatError(
            f"{numbers} has {size} bytes; the dimensions {shape} in {header.name} need {expected}. "
            "Copy both again."
        )
    return shape, numbers


def _base(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in (".cfl", ".hdr") else path


def _names(
    axes: str | None, shape: tuple[int, ...], kept: list[int], path: Path
) -> tuple[str, ...]:
    lengths = tuple(shape[index] for index in kept)
    if axes is not None:
        return parse_axes(axes, lengths, path)
    several = {0, 1, 2, 13} <= set(kept)  # volumes
    strange = [index for index in kept if index not in DEFAULT or (several and index == 13)]
    if strange:
        raise InputError(
            f"{path} has dimensions {shape}; expected readout, phase, coils (3), and slices (2 or "
            "13). Take one part out of "
            f"the others: {', '.join(f'bart slice {index} 0 IN OUT' for index in strange)}."
        )
    if len({0, 1, 2} & set(kept)) < 2:
        raise InputError(
            f"{path} has dimensions {shape}; expected a plane of k-space: two of the first three "
            "longer than 1. Check the file."
        )
    if 2 in kept or not {0, 1} <= set(kept):
        raise InputError(f"{path} has dimensions {shape}. Say what they are: {_hint(kept)}.")
    return parse_axes(",".join(DEFAULT[index] for index in kept), lengths, path)


def _hint(kept: list[int]) -> str:
    """Return what may be said of these dimensions where BART's convention leaves it open; each of
    it is accepted.
    """
    plane = [index for index in kept if index in (0, 1, 2)]
    if len(plane) == 3:
        volume = ",".join(DEFAULT[index] for index in kept)
        stack = ",".join("slice" if index == 2 else DEFAULT[index] for index in kept)
        return (
            f"--axes {volume} when dimension 2 is a second phase encoding (3D scan), --axes "
            f"{stack} when it holds slices"
        )
    named = dict(zip(plane, ("x", "y"), strict=False))
    return "--axes " + ",".join(named.get(index, DEFAULT[index]) for index in kept)


def _dimensions(header: Path) -> tuple[int, ...]:
    lines = header.read_bytes()[:65536].decode("ascii", "replace").splitlines()
    if not lines or not lines[0].startswith("# Dimensions") or len(lines) < 2:
        raise FormatError(
            f"{header} does not start with '# Dimensions' and a line of numbers; it is not a BART "
            "header."
        )
    try:
        shape = tuple(int(word) for word in lines[1].split())
    except ValueError as error:
        raise FormatError(
            f"{header}: the dimensions are {lines[1][:80]!r}; expected whole numbers."
        ) from error
    if not shape or min(shape) < 1 or len(shape) > 32:
        raise FormatError(
            f"{header}: the dimensions are {shape}; expected up to 32 positive numbers."
        )
    return shape
