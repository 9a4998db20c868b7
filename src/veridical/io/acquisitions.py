"""ISMRMRD acquisitions, one readout each: which are imaging, where each belongs on the grid, and the grid filled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, InputError
from veridical.io.hdf5 import Encoding
from veridical.io.kspace import MOST_COILS
from veridical.types import Array

# Bits of `flags`, counted from 1 as in ismrmrd.h.
NOISE, CALIBRATION, CALIBRATION_AND_IMAGING, REVERSE = 19, 20, 21, 22
NOT_IMAGING = {
    "navigator": (23,),
    "phase correction": (24,),
    "feedback": (26, 28),
    "dummy": (27,),
    "surface coil correction": (29,),
    "phase stabilization": (30, 31),
}
ALONE = ("contrast", "phase", "repetition", "set")
OFF_GRID = 0.01
"""Largest distance of a trajectory point from the grid, in samples."""


@dataclass(frozen=True)
class Lines:
    """The place of every imaging acquisition.

    Args:
        slice, kz, ky: index of the line.
        start: column of the leftmost sample, once reversed lines are turned.
        reverse: taken from right to left.
    """

    slice: Array
    kz: Array
    ky: Array
    start: Array
    reverse: Array


def sort(rows: Array, path: Path) -> tuple[Array, Array, dict[str, Any]]:
    """Return imaging acquisitions, noise acquisitions, and how many of which kind were left out.

    Raises:
        InputError: nothing is left, or there are several contrasts, phases, repetitions, sets or encoding spaces.
        FormatError: the number of channels changes, or samples are missing.
    """
    flags = rows["head"]["flags"].astype(np.uint64)
    noise = _bit(flags, NOISE)
    kinds = {name: np.any([_bit(flags, bit) for bit in bits], axis=0) for name, bits in NOT_IMAGING.items()}
    kinds["separate calibration"] = _bit(flags, CALIBRATION) & ~_bit(flags, CALIBRATION_AND_IMAGING)
    left_out = {name: int((found & ~noise).sum()) for name, found in kinds.items() if (found & ~noise).any()}
    imaging = rows[~(noise | np.any(list(kinds.values()), axis=0))]
    if not len(imaging):
        raise InputError(f"{path} holds no imaging acquisition among its {len(rows)}. Check which scan it is.")
    heads = imaging["head"]
    several = {name: len(np.unique(heads["idx"][name])) for name in ALONE}
    several = {name: count for name, count in several.items() if count > 1}
    if several or len(np.unique(heads["encoding_space_ref"])) > 1:
        what = ", ".join(f"{count} {name}s" for name, count in several.items()) or "several encoding spaces"
        raise InputError(f"{path} holds {what}; expected one image series a file. Split it first.")
    coils = np.unique(heads["active_channels"])
    if len(coils) != 1 or not 0 < int(coils[0]) <= MOST_COILS:
        raise FormatError(f"{path}: acquisitions have {coils.tolist()} channels; expected one number up to {MOST_COILS}.")
    for row in imaging:
        expected = 2 * int(row["head"]["number_of_samples"]) * int(coils[0])
        if len(row["data"]) != expected or not expected:
            raise FormatError(f"{path}: an acquisition has {len(row['data'])} numbers, its head says {expected}.")
    return imaging, rows[noise], {"left_out": left_out} if left_out else {}


def place(imaging: Array, encoding: Encoding, path: Path) -> tuple[Lines, dict[str, Any]]:
    """Find the place of every line: by the encoding counters of a Cartesian scan, else by its trajectory.

    Raises:
        FormatError: the places do not fit the matrix of the header.
        InputError: the trajectory does not lie on a regular grid.
    """
    heads = imaging["head"]
    slices = np.unique(heads["idx"]["slice"], return_inverse=True)[1]
    samples = heads["number_of_samples"].astype(int)
    said: dict[str, Any] = {}
    if encoding.trajectory == "cartesian":
        ky, kz = (_counter(heads["idx"][f"kspace_encode_step_{n + 1}"], encoding, n, path) for n in (0, 1))
        reverse = _bit(heads["flags"].astype(np.uint64), REVERSE)
        echo = np.where(reverse, samples - 1 - heads["center_sample"].astype(int), heads["center_sample"].astype(int))
        start = np.where(samples == encoding.matrix[0], 0, encoding.matrix[0] // 2 - echo)
    else:
        column, ky = _on_grid(imaging, encoding, path)
        kz, reverse, start = np.zeros(len(ky), int), column[:, -1] < column[:, 0], column.min(1)
        said["placed_by"] = "trajectory coordinates, which lie on a regular grid"
    for name, low, high, size in (
        ("columns", start, start + samples - 1, encoding.matrix[0]),
        ("encode step 1", ky, ky, encoding.matrix[1]),
        ("encode step 2", kz, kz, encoding.matrix[2]),
    ):
        if low.min() < 0 or high.max() >= size:
            raise FormatError(
                f"{path}: {name} reach from {low.min()} to {high.max()} in a matrix of {size}; "
                "the header does not belong to these data."
            )
    if reverse.any():
        said["reversed_lines"] = int(reverse.sum())
    return Lines(slices, kz, ky, start, reverse), said


def fill(imaging: Array, lines: Lines, shape: tuple[int, ...], path: Path) -> tuple[Array, Array]:
    """Put all lines on the grid.

    Args:
        imaging: the acquisitions.
        lines: their places.
        shape: `(slice, coil, kz, ky, kx)`.
        path: for messages.

    Returns:
        K-space of that shape, complex64, the mean where a sample was taken several times; and how often each was taken,
        `(slice, kz, ky, kx)`.
    """
    kspace = np.zeros(shape, np.complex64)
    count = np.zeros((shape[0], *shape[2:]), np.int32)
    for number, row in enumerate(imaging):
        line = row["data"].astype(np.float32, copy=False).view(np.complex64).reshape(shape[1], -1)
        before, after = int(row["head"]["discard_pre"]), int(row["head"]["discard_post"])
        if before + after >= line.shape[1]:
            raise FormatError(f"{path}: acquisition {number} says to discard {before + after} of {line.shape[1]} samples.")
        if lines.reverse[number]:
            line, before, after = line[:, ::-1], after, before
        first, last = before, line.shape[1] - after
        columns = slice(int(lines.start[number]) + first, int(lines.start[number]) + last)
        where = (lines.slice[number], lines.kz[number], lines.ky[number], columns)
        kspace[where[0], :, where[1], where[2], columns] += line[:, first:last]
        count[where] += 1
    kspace /= np.maximum(count, 1)[:, None]
    return kspace, count


def _bit(flags: Array, position: int) -> Array:
    return np.asarray((flags >> np.uint64(position - 1)) & np.uint64(1), dtype=bool)


def _counter(counter: Array, encoding: Encoding, which: int, path: Path) -> Array:
    size, centre = encoding.matrix[1 + which], encoding.centres[which]
    if centre is None:
        if size == 1 and not counter.any():
            return counter.astype(int)
        raise FormatError(f"{path}: the header has no centre for encode step {which + 1}; lines cannot be placed.")
    return counter.astype(int) - centre + size // 2


def _on_grid(imaging: Array, encoding: Encoding, path: Path) -> tuple[Array, Array]:
    """Return `(line, sample)` columns and the `(line,)` ky of a trajectory, or refuse one that is not on a regular grid."""
    refusal = InputError(
        f"{path}: the trajectory ({encoding.trajectory or 'not named'}) does not lie on a regular grid, line by line; this "
        "reader takes Cartesian scans. A non-Cartesian one needs the extra, pip install 'veridical[mri]', and its operator "
        "with these coordinates."
    )
    heads = imaging["head"]
    lengths, axes = {int(n) for n in heads["number_of_samples"]}, {int(n) for n in heads["trajectory_dimensions"]}
    if len(lengths) != 1 or min(lengths) < 2 or axes not in ({2}, {3}):
        raise refusal
    if any(len(row["traj"]) != min(lengths) * min(axes) for row in imaging):
        raise refusal
    points = np.stack([row["traj"].reshape(-1, min(axes)) for row in imaging]).astype(np.float64)
    levels = np.unique(points[:, 0, 1].round(9))
    step = float(np.abs(np.diff(points[:, :, 0], axis=1)).mean())
    gap = float(np.diff(levels).min()) if len(levels) > 1 else step
    if not np.isfinite(points).all() or step <= 0 or np.ptp(points[..., 2:]) > 0 if min(axes) == 3 else step <= 0:
        raise refusal
    column, line = points[..., 0] / step, points[..., 1] / gap
    jumps = np.diff(column, axis=1)
    far = max(np.abs(column - column.round()).max(), np.abs(line - line.round()).max(), np.abs(line - line[:, :1]).max())
    if not far <= OFF_GRID or not np.abs(np.abs(jumps) - 1).max() <= OFF_GRID or np.ptp(np.sign(jumps), axis=1).max() > 0:
        raise refusal
    return column.round().astype(int) + encoding.matrix[0] // 2, line[:, 0].round().astype(int) + encoding.matrix[1] // 2
