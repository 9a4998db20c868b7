"""BART files: a `.hdr` of dimensions beside a `.cfl` of complex64 in Fortran order (mrirecon.github.io/bart).

BART's order of dimensions: 0 readout, 1 phase encoding, 2 second phase encoding, 3 coils, 13 slices.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from veridical.errors import FormatError, InputError
from veridical.io.guards import BUDGET, existing
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

    Args:
        path: the `.cfl`, the `.hdr`, or their common name.
        axes: names of all axes longer than 1, in BART's order. By default BART's convention (`x,y,coil`, slices in
            dimension 13). It must be given when dimension 2 is longer than 1: `x,y,z,coil` for a 3D scan, `x,y,slice,coil`
            for a stack of slices.
        mask: `.npy` file or array, 1 where sampled; otherwise from exact zeros.
        contrast: e.g. `T1w`, kept in the header.
        budget: bytes of memory that the read may take.

    Returns:
        Measurement with data `(slice, coil, ky, kx)` complex64 on an index grid (BART keeps no spacing).

    Raises:
        FormatError: a part of the pair is missing or of the wrong size, or holds NaN.
        InputError: the axes are not those of 2D slices, or dimension 2 is ambiguous.
        BudgetError: it would take more memory than `budget`.
    """
    base = _base(Path(path))
    header, numbers = existing(base.with_name(base.name + ".hdr")), existing(base.with_name(base.name + ".cfl"))
    shape = _dimensions(header)
    size, expected = numbers.stat().st_size, 8 * int(np.prod(shape, dtype=object))
    if size != expected:
        raise FormatError(
            f"{numbers} has {size} bytes; the dimensions {shape} in {header.name} need {expected}. Copy both again."
        )
    kept = [index for index, length in enumerate(shape) if length > 1]
    names = _names(axes, shape, kept, numbers)
    room(shape, 8 + 24 * ("z" in names), budget, numbers)
    try:
        flat = np.fromfile(numbers, "<c8")
    except (OSError, ValueError) as error:
        raise damaged(numbers, error, "the samples") from error
    array = flat.reshape(shape, order="F").reshape([shape[index] for index in kept], order="F")
    data, taken, said = arrange(array, names, numbers)
    return measurement(data, numbers, {**({"contrast": contrast} if contrast else {}), **said}, taken=taken, mask=mask)


def _base(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in (".cfl", ".hdr") else path


def _names(axes: str | None, shape: tuple[int, ...], kept: list[int], path: Path) -> tuple[str, ...]:
    if axes is not None:
        return parse_axes(axes, tuple(shape[index] for index in kept), path)
    if len(shape) > 2 and shape[2] > 1:
        raise InputError(
            f"{path}: dimension 2 is {shape[2]} long. Say what it is: axes='x,y,z,coil' when it is a second phase encoding "
            "(3D scan), axes='x,y,slice,coil' when slices were stacked there."
        )
    strange = [index for index in kept if index not in DEFAULT]
    if strange:
        raise InputError(
            f"{path} has dimensions {shape}; expected readout, phase, coils (3) and slices (13). Slice out {strange} first."
        )
    return parse_axes(",".join(DEFAULT[index] for index in kept), tuple(shape[index] for index in kept), path)


def _dimensions(header: Path) -> tuple[int, ...]:
    lines = header.read_bytes()[:65536].decode("ascii", "replace").splitlines()
    if not lines or not lines[0].startswith("# Dimensions") or len(lines) < 2:
        raise FormatError(f"{header} does not start with '# Dimensions' and a line of numbers; it is not a BART header.")
    try:
        shape = tuple(int(word) for word in lines[1].split())
    except ValueError as error:
        raise FormatError(f"{header}: the dimensions are {lines[1][:80]!r}; expected whole numbers.") from error
    if not shape or min(shape) < 1 or len(shape) > 32:
        raise FormatError(f"{header}: the dimensions are {shape}; expected up to 32 positive numbers.")
    return shape
