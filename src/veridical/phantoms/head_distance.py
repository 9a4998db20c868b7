"""How far a head is from each head that the generator learned from: 1 minus the mean Dice of
structures at 4 mm, both turned and shifted until they fit best.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from veridical.compiled import njit
from veridical.phantoms.head_shapes import COARSE, shape_model
from veridical.phantoms.label_maps import NAMES, structure
from veridical.phantoms.population import rotation
from veridical.types import Array

Labels = NDArray[np.uint8]
Floats = NDArray[np.float32]

LEFT_OUT = ("background", "lesion", "vessel", "sinus and dura", "skin", "spinal cord")
"""Structures that are too thin or too rare at 4 mm."""
COMPARED = np.array([structure(name) for name in NAMES if name not in LEFT_OUT])
LEAST = 30
"""Voxels of 4 mm that a structure needs in one of two heads to be compared."""
CORNER = np.array([-96.0, -108.0, -76.0])
"""First point of the grid, mm from the middle of the brain: as far down as all heads reach."""
SHAPE = (49, 63, 43)
SEARCH = ((6.0, 4.0), (2.5, 2.0))
"""Degrees and mm by which heads are turned and shifted, coarse and fine."""
SWEEPS = 2


@dataclass(frozen=True)
class NearestHead:
    """The head of the training set that is nearest.

    Args:
        name: of it.
        distance: to it, 0 (the same) to 1.
        least: smallest distance between two heads of the training set.
        nearest: mean and least over these heads of the distance to the nearest other one.
        usual: mean distance between two of them.
    """

    name: str
    distance: float
    least: float
    nearest: tuple[float, float]
    usual: float


def nearest_head(coarse: Labels) -> NearestHead:
    """Return the nearest head of the training set.

    Args:
        coarse: `SHAPE`, structures at 4 mm from `CORNER` on; see `at_4mm`.
    """
    model = shape_model()
    found = distances(coarse, model.coarse)
    index = int(found.argmin())
    others = model.between + np.eye(len(found))
    pairs = model.between[np.triu_indices(len(found), 1)]
    nearest = others.min(1)
    return NearestHead(
        model.names[index],
        round(float(found[index]), 4),
        round(float(pairs.min()), 4),
        (round(float(nearest.mean()), 4), round(float(nearest.min()), 4)),
        round(float(pairs.mean()), 4),
    )


def at_4mm(labels: Labels, placed: Floats) -> Labels:
    """Return a label map on the grid that heads are compared on, the nearest voxel each.

    Args:
        labels: `(x, y, z)`, positions in `LABELS`.
        placed: `(3, 4)`: from voxels to mm from the middle of the brain.
    """
    inverse = np.linalg.inv(placed[:, :3].astype(np.float64))
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), -1)
    voxel = np.rint((grid * COARSE + CORNER - placed[:, 3]) @ inverse.T).astype(int)
    inside = ((voxel >= 0) & (voxel < labels.shape)).all(-1)
    out = np.zeros(SHAPE, np.uint8)
    out[inside] = labels[tuple(voxel[inside].T)]
    return out


def distances(coarse: Labels, heads: Iterable[Labels]) -> Floats:
    """Return the distance `(head,)` of a head to others, all on the grid of `at_4mm`; each of
    these is fitted rigidly to it.
    """
    return np.array([_fitted(coarse, np.ascontiguousarray(head)) for head in heads], np.float32)


def _fitted(first: Labels, second: Labels) -> float:
    """Return the least distance under rigid motion, by a search along one axis after another."""
    best, at = distance(first, second, np.zeros(6)), np.zeros(6)
    for degrees, shift in SEARCH:
        for _ in range(SWEEPS):
            before = best
            for axis, sign in product(range(6), (1.0, -1.0)):
                step = np.zeros(6)
                step[axis] = sign * (degrees if axis < 3 else shift)
                now = distance(first, second, at + step)
                if now < best:
                    best, at = now, at + step
            if best == before:
                break
    return best


def distance(first: Labels, second: Labels, motion: Array) -> float:
    """Return 1 minus the mean Dice over structures that one of them has.

    Args:
        first, second: on the grid of `at_4mm`.
        motion: `(6,)` turn in degrees and shift in mm by which `second` is moved.
    """
    size = max(int(first.max()), int(second.max()), int(COMPARED.max())) + 1
    counts = np.zeros((3, size), np.int64)
    turn, shift = rotation(motion[:3]).astype(np.float32), np.asarray(motion[3:] / COARSE)
    middle = np.asarray(-CORNER / COARSE, np.float32)
    _count(np.ascontiguousarray(first), second, turn, shift.astype(np.float32), middle, counts)
    both, one, other = counts[:, COMPARED]
    there = np.maximum(one, other) >= LEAST
    if not there.any():
        return 1.0
    return float(1 - np.mean(2 * both[there] / (one[there] + other[there])))


@njit(nogil=True, error_model="numpy", fastmath=True)
def _count(first, second, turn, shift, middle, counts):  # type: ignore[no-untyped-def]
    """Count voxels of each structure in both, in the first, and in the second as it is moved."""
    n0, n1, n2 = first.shape
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                a, b, c = i - middle[0], j - middle[1], k - middle[2]
                x = turn[0, 0] * a + turn[0, 1] * b + turn[0, 2] * c + middle[0] + shift[0]
                y = turn[1, 0] * a + turn[1, 1] * b + turn[1, 2] * c + middle[1] + shift[1]
                z = turn[2, 0] * a + turn[2, 1] * b + turn[2, 2] * c + middle[2] + shift[2]
                p, q, r = int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))
                found = first[i, j, k]
                counts[1, found] += 1
                if p < 0 or q < 0 or r < 0 or p >= n0 or q >= n1 or r >= n2:
                    continue
                other = second[p, q, r]
                counts[2, other] += 1
                if found == other:
                    counts[0, found] += 1
