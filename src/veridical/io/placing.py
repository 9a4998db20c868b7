"""Where the lines of a Cartesian ISMRMRD scan lie on the grid, and the grid filled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veridical.errors import FormatError, InputError
from veridical.io.acquisitions import bit
from veridical.io.hdf5 import Encoding
from veridical.types import Array

REVERSE = 22
"""Bit of `flags`, counted from 1: the line was taken from right to left."""
OFF_GRID = 0.01
"""Largest distance of a trajectory point from the grid, in samples."""
OVERHANG = 0.25
"""Share of the matrix that may lie beyond its edge for a `center_sample` to be believed: readouts
have their centre a sample or a few off the middle, or are asymmetric echoes, which are shorter.
"""


@dataclass(frozen=True)
class Lines:
    """The place of every imaging acquisition.

    Args: slice, kz, ky: index of the line. start: column of its leftmost sample, once reversed
        lines are turned; may lie outside of the matrix. first, last: the samples that are kept,
        counted from the left, `first <= sample < last`: those that are not to be discarded and lie
        within the matrix. reverse: taken from right to left.
    """

    slice: Array
    kz: Array
    ky: Array
    start: Array
    first: Array
    last: Array
    reverse: Array


def place(imaging: Array, encoding: Encoding, slices: Array, path: Path) -> tuple[Lines, list[str]]:
    """Find the place of every line: by the encoding counters and `center_sample`, else by its
    trajectory.

    `center_sample` counts in the order of acquisition, in reversed lines too.

    Args:
        imaging: the acquisitions.
        encoding: their encoding space.
        slices: `(acquisition,)` index of the slice of each, from 0.
        path: for messages.

    Returns:
        The places, and what is to be said of them.

    Raises:
        FormatError: the places do not fit the matrix of the header.
        InputError: the trajectory does not lie on a regular grid.
    """
    heads, notes = imaging["head"], list[str]()
    samples = heads["number_of_samples"].astype(int)
    if encoding.even:
        ky = _counter(heads["idx"]["kspace_encode_step_1"], encoding, 0, path)
        reverse = bit(heads["flags"].astype(np.uint64), REVERSE)
        start = encoding.matrix[0] // 2 - _echo(heads, samples, reverse, encoding, notes, path)
    else:
        column, ky = _on_grid(imaging, encoding, path)
        reverse, start = column[:, -1] < column[:, 0], column.min(1)
        notes.append(
            "Lines were placed by their trajectory coordinates, which lie on a regular grid."
        )
    kz = _counter(heads["idx"]["kspace_encode_step_2"], encoding, 1, path)
    first, last = _kept(heads, samples, reverse, path)
    for name, low, high, size in (
        ("1", ky, ky, encoding.matrix[1]),
        ("2", kz, kz, encoding.matrix[2]),
    ):
        if low.min() < 0 or high.max() >= size:
            raise FormatError(
                f"{path}: encode step {name} reach from {low.min()} to {high.max()} in a matrix of "
                f"{size}; "
                "the header does not belong to these data."
            )
    first, last = _inside(start, first, last, encoding.matrix[0], notes, path)
    if reverse.any():
        notes.append(
            f"{reverse.sum()} reversed lines were turned; no phase difference between them and the "
            "others was corrected."
        )
    return Lines(slices, kz, ky, start, first, last, reverse), notes


def fill(imaging: Array, lines: Lines, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Put all lines on the grid.

    Args:
        imaging: the acquisitions.
        lines: their places.
        shape: `(slice, coil, kz, ky, kx)`.

    Returns: K-space of that shape, complex64, the mean where a sample was taken several times; and
        how often each was taken, `(slice, kz, ky, kx)`.
    """
    kspace = np.zeros(shape, np.complex64)
    count = np.zeros((shape[0], *shape[2:]), np.int32)
    for number, row in enumerate(imaging):
        line = row["data"].astype(np.float32, copy=False).view(np.complex64).reshape(shape[1], -1)
        line = line[:, ::-1] if lines.reverse[number] else line
        start, first, last = (
            int(lines.start[number]),
            int(lines.first[number]),
            int(lines.last[number]),
        )
        columns = slice(start + first, start + last)
        where = (lines.slice[number], lines.kz[number], lines.ky[number], columns)
        kspace[where[0], :, where[1], where[2], columns] += line[:, first:last]
        count[where] += 1
    kspace /= np.maximum(count, 1)[:, None]
    return kspace, count


def _echo(
    heads: Array, samples: Array, reverse: Array, encoding: Encoding, notes: list[str], path: Path
) -> Array:
    """Return which sample of every line, counted from the left, is the centre of k-space."""
    centre = heads["center_sample"].astype(int)
    if not centre.any() and (samples == encoding.matrix[0]).all() and encoding.matrix[0] > 1:
        notes.append(
            "center_sample is 0 in all readouts, which are complete: it was taken as not set, and "
            "their middle used."
        )
        return samples // 2
    if (centre >= samples).any():
        worst = int(np.argmax(centre - samples))
        raise FormatError(
            f"{path}: acquisition {worst} has {samples[worst]} samples and its center_sample is "
            f"{centre[worst]}; expected one "
            "of its samples, counted from 0. Write the file again."
        )
    return np.where(reverse, samples - 1 - centre, centre)


def _kept(heads: Array, samples: Array, reverse: Array, path: Path) -> tuple[Array, Array]:
    """Return the first and one after the last sample that is not to be discarded, in lines that
    have been turned.
    """
    before, after = heads["discard_pre"].astype(int), heads["discard_post"].astype(int)
    if (before + after >= samples).any():
        worst = int(np.argmax(before + after - samples))
        raise FormatError(
            f"{path}: acquisition {worst} says to discard {before[worst] + after[worst]} of "
            f"{samples[worst]} samples."
        )
    return np.where(reverse, after, before), samples - np.where(reverse, before, after)


def _inside(
    start: Array, first: Array, last: Array, width: int, notes: list[str], path: Path
) -> tuple[Array, Array]:
    """Leave out samples beyond the edge of the matrix, or refuse when there are too many for the
    header to be right.
    """
    over = np.maximum(0, -(start + first)) + np.maximum(0, start + last - width)
    if (last - first).max() > width or over.max() > OVERHANG * width:
        low, high = int((start + first).min()), int((start + last).max()) - 1
        raise FormatError(
            f"{path}: columns reach from {low} to {high} in a matrix of {width}; the header or "
            "center_sample does not belong "
            "to these data."
        )
    if over.any():
        notes.append(
            f"In {(over > 0).sum()} readouts up to {over.max()} samples lie beyond the encoded "
            "matrix, by their center_sample; "
            "they were left out."
        )
    return np.maximum(first, -start), np.minimum(last, width - start)


def _counter(counter: Array, encoding: Encoding, which: int, path: Path) -> Array:
    size, centre = encoding.matrix[1 + which], encoding.centres[which]
    if size == 1 and len(np.unique(counter)) == 1:
        return np.zeros(len(counter), int)
    if centre is None:
        raise FormatError(
            f"{path}: the header has no centre for encode step {which + 1}; lines cannot be placed."
        )
    return np.asarray(counter.astype(int) - centre + size // 2)


def _on_grid(imaging: Array, encoding: Encoding, path: Path) -> tuple[Array, Array]:
    """Return `(line, sample)` columns and the `(line,)` ky of a trajectory, or refuse one that is
    not on a regular grid.
    """
    refusal = InputError(
        f"{path}: the trajectory ({encoding.trajectory or 'not named'}) does not lie on a regular "
        "grid, line by line."
    )
    heads = imaging["head"]
    lengths, axes = (
        {int(n) for n in heads["number_of_samples"]},
        {int(n) for n in heads["trajectory_dimensions"]},
    )
    if len(lengths) != 1 or min(lengths) < 2 or axes not in ({2}, {3}):
        raise refusal
    if any(len(row["traj"]) != min(lengths) * min(axes) for row in imaging):
        raise refusal
    points = np.stack([row["traj"].reshape(-1, min(axes)) for row in imaging]).astype(np.float64)
    levels = np.unique(points[:, 0, 1].round(9))
    step = float(np.abs(np.diff(points[:, :, 0], axis=1)).mean())
    gap = float(np.diff(levels).min()) if len(levels) > 1 else step
    if (
        not np.isfinite(points).all()
        or step <= 0
        or (min(axes) == 3 and np.ptp(points[..., 2]) > 0)
    ):
        raise refusal
    column, line = points[..., 0] / step, points[..., 1] / gap
    jumps = np.diff(column, axis=1)
    far = max(
        np.abs(column - column.round()).max(),
        np.abs(line - line.round()).max(),
        np.abs(line - line[:, :1]).max(),
    )
    if (
        not far <= OFF_GRID
        or not np.abs(np.abs(jumps) - 1).max() <= OFF_GRID
        or np.ptp(np.sign(jumps), axis=1).max() > 0
    ):
        raise refusal
    return column.round().astype(int) + encoding.matrix[0] // 2, line[:, 0].round().astype(
        int
    ) + encoding.matrix[1] // 2
