"""Groupwise registration of label maps of heads: each is mapped from their mean by an affine map
and the flow of a stationary velocity field.

The mean of the maps and the maps to it are found in turn (Joshi et al., NeuroImage 2004,
10.1016/j.neuroimage.2004.07.068). Compared are the shares of structures in voxels of 4 mm at random
points, every structure with the same weight; the gradient of a flow is taken as that of its field,
as demons do (Vercauteren et al., MICCAI 2008, 10.1007/978-3-540-85988-8_90).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm, logm

from veridical.compiled import njit
from veridical.phantoms.head_shapes import flow
from veridical.phantoms.label_maps import LabelMap, structure
from veridical.phantoms.warp import GRID_ORIGIN, GRID_SHAPE, GRID_SPACING
from veridical.task import Progress, silent

Floats = NDArray[np.float32]

GROUPS = (
    ("white matter", "lesion"), ("cortex",), ("lateral ventricle",), ("cerebellar white matter",),
    ("cerebellar cortex",), ("thalamus",), ("caudate",), ("putamen",), ("pallidum",),
    ("third and fourth ventricle",), ("brain stem", "spinal cord"),
    ("hippocampus and amygdala",), ("fluid around the brain", "sinus and dura", "vessel"),
    ("eye",), ("muscle",), ("mucosa",), ("fat", "skin"), ("compact bone", "spongy bone"),
)  # fmt: skip
"""Structures that are matched, those of one group as one."""
VOXEL = 4
"""mm of the voxels whose shares are compared."""
FIRST, SHAPE = np.array([-100.0, -116.0, -100.0]), (51, 66, 50)
"""First point of the mean head's grid, mm from the middle of the brain, and its points."""
MARGIN = 24
"""mm of each map beyond that grid."""
POINTS = 8000
"""Random points at which a step compares."""
AFFINE_STEP, FIELD_STEP, SHIFT = 0.01, 0.3, 50.0
"""Steps of Adam: of the matrix and of the field, mm; of the shift so many times that of the
matrix.
"""


@dataclass(frozen=True)
class RegistrationSchedule:
    """How long the mean and the maps to it are found in turn.

    Args:
        affine: steps of each round without field.
        fields: weight of bending and steps of each round with it.
    """

    affine: tuple[int, ...] = (80, 80, 60)
    fields: tuple[tuple[float, int], ...] = ((3e-5, 100), (1e-5, 120), (4e-6, 150), (4e-6, 200))


USUAL = RegistrationSchedule()


@dataclass(frozen=True, eq=False)
class Mapped:
    """A head and how it lies in the mean.

    Args:
        shares: `(x, y, z, group + 1)` float32, shares of a voxel; the last is whether the map
            covers it.
        origin: `(3,)` mm from the middle of the brain, the first voxel.
        affine: `(3, 4)` from the mean head's mm to this head's.
        velocity: `(x, y, z, 3)` mm; its flow comes before that.
    """

    shares: Floats
    origin: Floats
    affine: Floats = field(default_factory=lambda: np.eye(3, 4, dtype=np.float32))
    velocity: Floats = field(default_factory=lambda: np.zeros((*GRID_SHAPE, 3), np.float32))


def register(
    heads: Sequence[LabelMap], schedule: RegistrationSchedule = USUAL, progress: Progress = silent
) -> list[Mapped]:
    """Map heads to their mean.

    Args:
        heads: label maps.
        schedule: how long.
        progress: called after every round.
    """
    mapped = [shares(head) for head in heads]
    rounds = [(0.0, steps, False) for steps in schedule.affine]
    rounds += [(bending, steps, True) for bending, steps in schedule.fields]
    mean = average(mapped)
    volume = mean.mean((0, 1, 2))
    weights = 1 / (volume + 0.002)
    weights = np.asarray(weights / weights.sum(), np.float32)
    for number, (bending, steps, bends) in enumerate(rounds):
        mapped = [
            fitted(one, mean, weights, steps, bending, bends, seed)
            for seed, one in enumerate(mapped)
        ]
        mapped = centred(mapped)
        mean = average(mapped)
        progress("registration", number + 1, len(rounds))
    return mapped


def shares(head: LabelMap) -> Mapped:
    """Return the shares of structures in voxels of 4 mm of a map, over the mean head's grid and a
    margin.
    """
    count = np.array(SHAPE) * VOXEL + 2 * MARGIN
    low = np.rint(head.centre + FIRST - MARGIN).astype(np.int64)
    table = np.full(256, len(GROUPS), np.int64)
    for place, names in enumerate(GROUPS):
        table[[structure(name) for name in names]] = place
    coarse = np.zeros((*(count // VOXEL), len(GROUPS) + 1), np.float32)
    _count(head.structures, low, table, coarse)
    return Mapped(coarse, np.asarray(low - head.centre + (VOXEL - 1) / 2, np.float32))


def fitted(
    one: Mapped,
    mean: Floats,
    weights: Floats,
    steps: int,
    bending: float,
    bends: bool,
    seed: int,
) -> Mapped:
    """Return a head mapped better to a mean.

    Args:
        one: the head.
        mean: `(x, y, z, group)` shares on the mean head's grid.
        weights: `(group,)`.
        steps: of Adam, ever smaller.
        bending: weight of the second differences of the field.
        bends: whether there is a field.
        seed: of the random points.
    """
    rng = np.random.default_rng(seed)
    state = [one.affine.astype(np.float64), one.velocity.astype(np.float64)]
    moments = [np.zeros((2, *part.shape)) for part in state]
    scale = np.array([1.0, 1.0, 1.0, SHIFT])
    rates = [AFFINE_STEP * scale, np.array(FIELD_STEP)]
    for step in range(steps):
        index = rng.integers(0, SHAPE, (POINTS, 3))
        slopes = [np.zeros((3, 4)), np.zeros(one.velocity.shape)]
        moved = flow(state[1].astype(np.float32))
        _compare(
            (FIRST + VOXEL * index).astype(np.float32), mean[tuple(index.T)], weights,
            state[0], moved, one.shares, one.origin, slopes[0], slopes[1],
        )  # fmt: skip
        slopes[1] = slopes[1] / POINTS + bending * _bending(state[1])
        slopes[0] = slopes[0] / POINTS * scale
        for part in range(1 + bends):
            first, second = moments[part]
            first += 0.1 * (slopes[part] - first)
            second += 0.01 * (slopes[part] ** 2 - second)
            ahead = first / (1 - 0.9 ** (step + 1))
            spread = np.sqrt(second / (1 - 0.99 ** (step + 1))) + 1e-12
            state[part] -= rates[part] * (1 - 0.9 * step / steps) * ahead / spread
    return replace(
        one, affine=np.asarray(state[0], np.float32), velocity=np.asarray(state[1], np.float32)
    )


def _bending(velocity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gradient of the mean square of second differences along each axis."""
    out = np.zeros_like(velocity)
    for axis in range(3):
        second = np.diff(velocity, 2, axis=axis) / velocity.size
        for place, weight in ((0, 1.0), (1, -2.0), (2, 1.0)):
            where = [slice(None)] * 4
            where[axis] = slice(place, place + second.shape[axis])
            out[tuple(where)] += 2 * weight * second
    return out


def centred(mapped: Sequence[Mapped]) -> list[Mapped]:
    """Return the same heads about their mean: affine maps and fields average to none."""
    whole = [np.vstack([one.affine, [0, 0, 0, 1]]).astype(np.float64) for one in mapped]
    back = expm(-np.mean([logm(matrix).real for matrix in whole], 0))
    middle = np.mean([one.velocity for one in mapped], 0)
    return [
        replace(
            one,
            affine=np.asarray((matrix @ back)[:3], np.float32),
            velocity=np.asarray(one.velocity - middle, np.float32),
        )
        for one, matrix in zip(mapped, whole, strict=True)
    ]


def average(mapped: Sequence[Mapped]) -> Floats:
    """Return the mean shares `(x, y, z, group)` on the mean head's grid, of the heads that cover a
    point.
    """
    total = np.zeros((*SHAPE, len(GROUPS) + 1), np.float32)
    for one in mapped:
        total += warped(one)
    return np.asarray(total[..., :-1] / np.maximum(total[..., -1:], 1e-3), np.float32)


def warped(one: Mapped) -> Floats:
    """Return a head on the mean head's grid: `(x, y, z, group + 1)` shares, times how far it covers
    the point.
    """
    out = np.zeros((*SHAPE, len(GROUPS) + 1), np.float32)
    _warp(one.affine.astype(np.float64), flow(one.velocity), one.shares, one.origin, out)
    return out


@njit(nogil=True)
def _count(labels, low, table, shares):  # type: ignore[no-untyped-def]
    """Add up which share of each coarse voxel is which group; beside and above the map there is
    air, below it nothing is known.
    """
    share = np.float32(1.0 / VOXEL**3)
    last = shares.shape[3] - 1
    for i in range(shares.shape[0] * VOXEL):
        for j in range(shares.shape[1] * VOXEL):
            for k in range(max(0, -low[2]), shares.shape[2] * VOXEL):
                p, q, r = i + low[0], j + low[1], k + low[2]
                here = shares[i // VOXEL, j // VOXEL, k // VOXEL]
                here[last] += share
                if p < 0 or q < 0 or p >= labels.shape[0] or q >= labels.shape[1]:
                    continue
                if r < labels.shape[2] and table[labels[p, q, r]] < last:
                    here[table[labels[p, q, r]]] += share


@njit(nogil=True, error_model="numpy", fastmath=True)
def _corners(x, y, z, shape, index, weight):  # type: ignore[no-untyped-def]
    """Write the eight nodes about a position, in nodes, and their trilinear weights."""
    x = min(max(x, 0.0), shape[0] - 1.001)
    y = min(max(y, 0.0), shape[1] - 1.001)
    z = min(max(z, 0.0), shape[2] - 1.001)
    p, q, r = int(x), int(y), int(z)
    fx, fy, fz = x - p, y - q, z - r
    n = 0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                index[n, 0], index[n, 1], index[n, 2] = p + a, q + b, r + c
                wa, wb, wc = (fx, 1 - fx), (fy, 1 - fy), (fz, 1 - fz)
                weight[n, 0] = wa[1 - a] * wb[1 - b] * wc[1 - c]
                weight[n, 1] = (2 * a - 1) * wb[1 - b] * wc[1 - c]
                weight[n, 2] = (2 * b - 1) * wa[1 - a] * wc[1 - c]
                weight[n, 3] = (2 * c - 1) * wa[1 - a] * wb[1 - b]
                n += 1


@njit(nogil=True, error_model="numpy", fastmath=True)
def _mapped(point, affine, displacement, node, weight, moved, found):  # type: ignore[no-untyped-def]
    """Write where a point of the mean head lies: after the flow, and in the head, mm."""
    _corners(
        (point[0] - GRID_ORIGIN[0]) / GRID_SPACING,
        (point[1] - GRID_ORIGIN[1]) / GRID_SPACING,
        (point[2] - GRID_ORIGIN[2]) / GRID_SPACING,
        displacement.shape,
        node,
        weight,
    )
    for d in range(3):
        moved[d] = point[d]
    for n in range(8):
        for d in range(3):
            moved[d] += weight[n, 0] * displacement[node[n, 0], node[n, 1], node[n, 2], d]
    for d in range(3):
        found[d] = affine[d, 3]
        for e in range(3):
            found[d] += affine[d, e] * moved[e]


@njit(nogil=True, error_model="numpy", fastmath=True)
def _compare(  # type: ignore[no-untyped-def]
    points, mean, weights, affine, displacement, shares, origin, slope_affine, slope_field,
):  # fmt: skip
    """Add the gradient of the weighted squared difference to the mean, over all points."""
    groups = len(weights)
    node, weight = np.zeros((8, 3), np.int64), np.zeros((8, 4))
    near, part = np.zeros((8, 3), np.int64), np.zeros((8, 4))
    moved, found, pull = np.zeros(3), np.zeros(3), np.zeros(3)
    for m in range(len(points)):
        _mapped(points[m], affine, displacement, node, weight, moved, found)
        _corners(
            (found[0] - origin[0]) / VOXEL,
            (found[1] - origin[1]) / VOXEL,
            (found[2] - origin[2]) / VOXEL,
            shares.shape,
            near,
            part,
        )
        cover = 0.0
        for n in range(8):
            cover += part[n, 0] * shares[near[n, 0], near[n, 1], near[n, 2], groups]
        if cover < 0.99:
            continue
        pull[:] = 0
        for g in range(groups):
            value, dx, dy, dz = -np.float64(mean[m, g]), 0.0, 0.0, 0.0
            for n in range(8):
                here = shares[near[n, 0], near[n, 1], near[n, 2], g]
                value += part[n, 0] * here
                dx += part[n, 1] * here
                dy += part[n, 2] * here
                dz += part[n, 3] * here
            strength = 2 * weights[g] * value / VOXEL
            pull[0] += strength * dx
            pull[1] += strength * dy
            pull[2] += strength * dz
        for d in range(3):
            slope_affine[d, 3] += pull[d]
            back = 0.0
            for e in range(3):
                slope_affine[d, e] += pull[d] * moved[e]
                back += affine[e, d] * pull[e]
            for n in range(8):
                slope_field[node[n, 0], node[n, 1], node[n, 2], d] += weight[n, 0] * back


@njit(nogil=True, error_model="numpy", fastmath=True)
def _warp(affine, displacement, shares, origin, out):  # type: ignore[no-untyped-def]
    groups = out.shape[3] - 1
    node, weight = np.zeros((8, 3), np.int64), np.zeros((8, 4))
    moved, found, point = np.zeros(3), np.zeros(3), np.zeros(3)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                point[0] = FIRST[0] + VOXEL * i
                point[1] = FIRST[1] + VOXEL * j
                point[2] = FIRST[2] + VOXEL * k
                _mapped(point, affine, displacement, node, weight, moved, found)
                _corners(
                    (found[0] - origin[0]) / VOXEL,
                    (found[1] - origin[1]) / VOXEL,
                    (found[2] - origin[2]) / VOXEL,
                    shares.shape,
                    node,
                    weight,
                )
                for g in range(groups + 1):
                    for n in range(8):
                        out[i, j, k, g] += (
                            weight[n, 0] * shares[node[n, 0], node[n, 1], node[n, 2], g]
                        )
                for g in range(groups):
                    out[i, j, k, g] *= out[i, j, k, groups]
