"""Artefacts of MR slices, made in the image: motion ghosts, shading, spikes in k-space, zippers. The clean slice is the truth.

Each takes magnitude or complex images and a generator; at strength 0 nothing changes. What they look like in practice: Graves
and Mitchell, J Magn Reson Imaging 38, 2013. Thick slices are an operator of their own: `thick_slices.ThickSlices`.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.polynomial import legendre

from veridical.errors import GeometryError, InputError, SettingError, nearest
from veridical.physics.fourier import fft, ifft
from veridical.physics.motion import Motion
from veridical.types import Array

Course = Literal["sudden", "periodic"]
COURSES = ("sudden", "periodic")
PHASES = 8
"""Positions that a period of motion is divided into."""


def motion_ghosts(
    image: Array,
    spacing: tuple[float, float],
    rng: np.random.Generator,
    shift: float = 3.0,
    turn: float = 3.0,
    course: Course = "sudden",
    moves: int = 2,
) -> Array:
    """Return a slice as it looks when the patient moves between its phase-encoding lines, and nothing is done about it.

    Args:
        image: `(y, x)`, real or complex; phase encoding along y, lines from first to last.
        spacing: `(dy, dx)` in mm.
        rng: draws when and how the patient moves.
        shift, turn, course, moves: as in `motion_between_lines`.

    Returns:
        `(y, x)` complex64, in the units of `image`. Shifts keep its energy; turns do nearly.

    Raises:
        InputError: NaN or infinite values, or not one slice.
        SettingError: as `motion_between_lines`.
    """
    slice_ = _complex(image)
    scan = motion_between_lines((slice_.shape[0], slice_.shape[1]), spacing, rng, shift, turn, course, moves)
    return np.asarray(ifft(scan.forward(slice_[None])[0]).numpy())


def motion_between_lines(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    rng: np.random.Generator,
    shift: float = 3.0,
    turn: float = 3.0,
    course: Course = "sudden",
    moves: int = 2,
) -> Motion:
    """Return the operator of a scan in which the patient moves, seen by one coil of even sensitivity.

    What counts is how far the head is on average from where it was at the centre of k-space: of 17 children's scans with more
    than 0.5 mm, 11 were of no diagnostic use (Afacan et al. 2016, 10.1007/s00247-016-3677-9). Settings of 1 to 5 mm and degrees
    make mild to severe ghosts; breathing moves the abdomen by 5 to 20 mm.

    Args:
        shape: `(y, x)`.
        spacing: `(dy, dx)` in mm.
        rng: draws when and how the patient moves.
        shift: at most so many mm, along y and along x; for `periodic` the amplitude, along y.
        turn: at most so many degrees; for `periodic` the amplitude.
        course: `sudden`: still between `moves` jumps, the truth being where the patient was at the centre of k-space;
            `periodic`: a sine about the truth, 4 to 32 lines long.
        moves: number of sudden jumps.

    Raises:
        SettingError: an unknown course, negative sizes, a turn of more than 45 degrees, or more moves than lines.
    """
    if course not in COURSES:
        raise SettingError(f"No course of motion is called {course!r}. {nearest(course, COURSES)}")
    if shift < 0 or not 0 <= turn <= 45 or not 0 <= moves < shape[0]:
        raise SettingError(
            f"motion: shift = {shift} mm, turn = {turn} degrees, moves = {moves}; expected a shift >= 0, a turn from 0 to "
            f"45 and fewer moves than the {shape[0]} lines."
        )
    size = np.array([math.radians(turn), shift, shift])
    lines = np.arange(shape[0])
    if course == "sudden":
        owner = np.searchsorted(np.sort(rng.choice(lines[1:], moves, replace=False)), lines, side="right")
        poses = rng.uniform(-size, size, (moves + 1, 3))
        poses[owner[shape[0] // 2]] = 0
    else:
        cycle = lines / rng.uniform(4, 32) + rng.uniform()
        owner = (cycle * PHASES).astype(int) % PHASES
        poses = np.sin(2 * np.pi * (np.arange(PHASES)[:, None] + 0.5) / PHASES) * size * [1, 1, 0]
    shots = torch.from_numpy(owner == np.arange(len(poses))[:, None]).float()[:, :, None].expand(-1, *shape)
    return Motion(shots, torch.from_numpy(poses).float(), torch.ones(1, 1, *shape, dtype=torch.complex64), spacing)


def bias_field(shape: tuple[int, ...], rng: np.random.Generator, strength: float = 0.3) -> Array:
    """Return the smooth factor by which coils shade an image.

    The exponential of a random polynomial of degree 3 (Legendre, falling with degree), with geometric mean 1.

    Args:
        shape: `(y, x)` or `(x, y, z)`, any number of axes of 2 voxels or more.
        rng: draws the polynomial.
        strength: the field spans `(1 + s/2) / (1 - s/2)`, as BrainWeb counts it: 0.2 to 0.4 at 1.5 T (Collins et al. 1998,
            10.1109/42.712135), up to 0.8 at 3 T and more near surface coils.

    Returns:
        float32 of that shape, above 0; multiply the image by it.

    Raises:
        SettingError: a strength outside [0, 2).
        GeometryError: an axis of less than 2 voxels.
    """
    if not 0 <= strength < 2:
        raise SettingError(f"bias field: strength = {strength}; expected 0 (none) or more, below 2; 0.2 to 0.4 is usual.")
    if min(shape) < 2:
        raise GeometryError(f"bias field: a grid of {shape}; expected at least 2 voxels along each axis.")
    degrees = np.indices((4,) * len(shape)).sum(0)
    coefficients = np.where((degrees > 0) & (degrees <= 3), rng.standard_normal(degrees.shape) / np.maximum(degrees, 1), 0)
    field = coefficients
    for axis, size in enumerate(shape):
        basis = legendre.legvander(np.linspace(-1, 1, size), 3)
        field = np.moveaxis(np.tensordot(basis, np.moveaxis(field, axis, 0), 1), 0, axis)
    span = math.log((1 + strength / 2) / (1 - strength / 2))
    return np.asarray(np.exp(span * (field - field.mean()) / np.ptp(field)), np.float32)


def spikes(image: Array, rng: np.random.Generator, strength: float = 0.2, count: int = 1) -> Array:
    """Return a slice with the stripes that sparks in the scanner room leave: single wrong samples of k-space.

    Args:
        image: `(y, x)`, real or complex.
        rng: draws where in k-space and with which phase.
        strength: amplitude of each set of stripes as a share of the image's 99th percentile; 0.05 is just seen, 0.5 spoils it.
        count: number of samples, at different places.

    Returns:
        `(y, x)` complex64. The energy added to k-space is `count` times that of one set of stripes.

    Raises:
        InputError: NaN or infinite values, or not one slice.
        SettingError: a negative strength, or more spikes than samples.
    """
    slice_ = _complex(image)
    _check(strength, "spikes")
    if not 0 <= count <= slice_.numel():
        raise SettingError(f"spikes: count = {count} in {slice_.numel()} samples; expected at least 0 and no more than these.")
    where = rng.choice(slice_.numel(), count, replace=False)
    size = strength * _level(image) * math.sqrt(slice_.numel())
    kspace = fft(slice_).reshape(-1)
    kspace[where] += torch.from_numpy(size * np.exp(2j * np.pi * rng.random(count))).to(kspace.dtype)
    return np.asarray(ifft(kspace.reshape(slice_.shape)).numpy())


def zipper(image: Array, rng: np.random.Generator, strength: float = 0.5) -> Array:
    """Return a slice with the dotted line that a radio signal from outside leaves across the phase-encoding direction.

    The signal has one frequency, so it falls on one column, and another phase on each line of k-space.

    Args:
        image: `(y, x)`, real or complex; phase encoding along y.
        rng: draws the column and the phases.
        strength: root mean square of the line as a share of the image's 99th percentile.

    Returns:
        `(y, x)` complex64; only one column differs.

    Raises:
        InputError: NaN or infinite values, or not one slice.
        SettingError: a negative strength.
    """
    slice_ = _complex(image)
    _check(strength, "zipper")
    rows, columns = slice_.shape
    line = np.fft.ifft(np.exp(2j * np.pi * rng.random(rows)), norm="ortho") * strength * _level(image)
    slice_[:, int(rng.integers(columns))] += torch.from_numpy(line.astype(np.complex64))
    return np.asarray(slice_.numpy())


def _complex(image: Array) -> torch.Tensor:
    if image.ndim != 2 or not np.isfinite(image).all():
        raise InputError(f"An artefact was asked for of an array of shape {image.shape}; expected a finite slice (y, x).")
    return torch.from_numpy(np.array(image, np.complex64))


def _level(image: Array) -> float:
    return float(np.percentile(np.abs(image), 99))


def _check(strength: float, what: str) -> None:
    if not strength >= 0:
        raise SettingError(f"{what}: strength = {strength}; expected 0 (none) or more.")
