"""Non-Cartesian ISMRMRD acquisitions: coordinates and samples of every slice, and the units of the
coordinates.

ISMRMRD leaves the units of `traj` open
(https://ismrmrd.readthedocs.io/en/latest/mrd_raw_data.html#k-space-trajectory). Three are in use;
how far the samples reach tells which one it is, since a scan fills most of the k-space of its
encoded matrix.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError, InputError
from veridical.io.guards import finite
from veridical.io.hdf5 import Encoding
from veridical.types import Array

REACH = (0.7, 1 + 1e-4)
"""Share of the edge of k-space to which samples must reach for a unit to be believed; below it two
units could be meant.
"""


def has_coordinates(imaging: Array) -> bool:
    """Say whether every acquisition has two or three coordinates a sample, and the samples do not
    all lie at one place.
    """
    axes = {int(count) for count in imaging["head"]["trajectory_dimensions"]}
    if axes not in ({2}, {3}):
        return False
    if any(
        len(row["traj"]) != int(row["head"]["number_of_samples"]) * min(axes) for row in imaging
    ):
        return False
    return any(np.ptp(row["traj"]) > 0 for row in imaging)


def stack(imaging: Array, slices: Array, path: Path) -> tuple[Array, Array]:
    """Put the samples of every slice side by side, in the order in which they were acquired.

    Args:
        imaging: the acquisitions, all with coordinates.
        slices: `(acquisition,)` index of the slice of each, counted from 0 without gaps.
        path: for messages.

    Returns: Data `(slice, coil, sample)` complex64, and coordinates `(slice, sample, 2)` float64,
        `(ky, kx)` in the units of the file. Samples to be discarded are left out; repeated ones are
        all kept.

    Raises: InputError: slices have differing numbers of samples, or the samples of a slice do not
        lie in one plane of k-space. FormatError: an acquisition says to discard all its samples,
        NaN or infinite numbers.
    """
    parts: list[tuple[list[Array], list[Array]]] = [([], []) for _ in range(int(slices.max()) + 1)]
    for number, row in enumerate(imaging):
        line, points = _row(row, number, path)
        parts[slices[number]][0].append(line)
        parts[slices[number]][1].append(points)
    data, coordinates = (
        [np.concatenate(part[which], axis=1 - which) for part in parts] for which in (0, 1)
    )
    counts = [points.shape[0] for points in coordinates]
    if len(set(counts)) > 1:
        raise InputError(
            f"{path}: its {len(counts)} slices have {min(counts)} to {max(counts)} samples; "
            "expected one number for all. "
            "Split it by slice first."
        )
    points = np.stack(coordinates)
    kspace = np.stack(data)
    finite(points, path)
    finite(kspace, path)
    if points.shape[2] == 3 and np.ptp(points[..., 2]) > 0:
        raise InputError(
            f"{path}: the third coordinate of its trajectory goes from {points[..., 2].min():g} to "
            f"{points[..., 2].max():g}; "
            "expected slices, each in one plane of k-space. Transform along kz first, or drop what "
            "is no coordinate."
        )
    return kspace, points[..., 1::-1]


def cycles_per_field_of_view(points: Array, encoding: Encoding, path: Path) -> tuple[Array, str]:
    """Return the coordinates in cycles per encoded field of view, and which units they were taken
    to have in the file.

    Args:
        points: `(slice, sample, 2)`, `(ky, kx)` in the units of the file.
        encoding: matrix and field of view of the encoded space.
        path: for messages.

    Raises:
        GeometryError: the reach of the samples fits none of the known units, or more than one.
    """
    matrix = np.array(encoding.matrix[1::-1], float)
    metres = np.array(encoding.field_of_view[1::-1]) / 1000
    units = {
        "cycles per pixel": matrix,
        "cycles per field of view": np.ones(2),
        "cycles per metre": metres,
    }
    reach = np.abs(points).max((0, 1))
    shares = {name: float((reach * factor / (matrix / 2)).max()) for name, factor in units.items()}
    fitting = [name for name, share in shares.items() if REACH[0] < share <= REACH[1]]
    if len(fitting) != 1:
        edges = "; ".join(f"{matrix[1] / 2 / units[name][1]:g} in {name}" for name in units)
        raise GeometryError(
            f"{path}: trajectory coordinates reach {reach[1]:g} along x and {reach[0]:g} along y; "
            "their units cannot be told "
            f"({' and '.join(fitting) or 'none'} would fit). Expected {REACH[0]:g} to 1 times the "
            "edge of k-space, which is "
            f"along x: {edges}. Scale the trajectory in the file to cycles per pixel, or mend the "
            "matrix in the header."
        )
    said = (
        f"assumed {fitting[0]}: samples then reach {shares[fitting[0]]:.3g} of the edge of k-space "
        "of the encoded matrix"
    )
    return points * units[fitting[0]], said


def _row(row: Any, number: int, path: Path) -> tuple[Array, Array]:
    """Return samples `(coil, sample)` and coordinates `(sample, 2 or 3)` of one acquisition without
    those to be discarded.
    """
    head = row["head"]
    before, after, samples = (
        int(head[name]) for name in ("discard_pre", "discard_post", "number_of_samples")
    )
    if before + after >= samples:
        raise FormatError(
            f"{path}: acquisition {number} says to discard {before + after} of {samples} samples."
        )
    line = row["data"].astype(np.float32, copy=False).view(np.complex64).reshape(-1, samples)
    points = row["traj"].reshape(samples, -1).astype(np.float64)
    return line[:, before : samples - after], points[before : samples - after]
