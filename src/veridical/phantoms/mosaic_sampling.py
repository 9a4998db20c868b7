"""A new head on any grid: every point is warped into real heads, and the one that rules that region
says which structure it is.

Where two of them rule alike, both vote over a small neighbourhood, so that borders run on from one
to the other (weighted label fusion: Artaechevarria et al., IEEE TMI 2009,
10.1109/TMI.2009.2014372).
"""

from __future__ import annotations

import numpy as np

from veridical.compiled import njit
from veridical.phantoms.label_maps import NAMES
from veridical.phantoms.label_sampling import locate
from veridical.phantoms.warp import GRID_ORIGIN, GRID_SPACING

X0, Y0, Z0 = (float(v) for v in GRID_ORIGIN)
GRID = float(GRID_SPACING)
COUNT = len(NAMES)
BELOW = 1000.0
"""Taken from the weight of a head that ends above a point."""
REACH = 1.2
"""mm between a point and the six around it that vote with it."""


@njit(nogil=True, error_model="numpy", fastmath=True)
def cell(point, shape, place):  # type: ignore[no-untyped-def]
    """Write the node of the warp's grid below a point, and how far it lies beyond it, into `place`
    `(6,)`.
    """
    x = min(max((point[0] - X0) / GRID, np.float32(0.0)), np.float32(shape[0] - 1.001))
    y = min(max((point[1] - Y0) / GRID, np.float32(0.0)), np.float32(shape[1] - 1.001))
    z = min(max((point[2] - Z0) / GRID, np.float32(0.0)), np.float32(shape[2] - 1.001))
    place[0], place[1], place[2] = np.floor(x), np.floor(y), np.floor(z)
    place[3], place[4], place[5] = x - place[0], y - place[1], z - place[2]


@njit(nogil=True, error_model="numpy", fastmath=True)
def between(field, p, q, r, fx, fy, fz):  # type: ignore[no-untyped-def]
    """Return the trilinear interpolation of a field `(x, y, z)` in one of its cells."""
    low = (field[p, q, r] * (1 - fz) + field[p, q, r + 1] * fz) * (1 - fy) + (
        field[p, q + 1, r] * (1 - fz) + field[p, q + 1, r + 1] * fz
    ) * fy
    high = (field[p + 1, q, r] * (1 - fz) + field[p + 1, q, r + 1] * fz) * (1 - fy) + (
        field[p + 1, q + 1, r] * (1 - fz) + field[p + 1, q + 1, r + 1] * fz
    ) * fy
    return low * (1 - fx) + high * fx


@njit(nogil=True, error_model="numpy", fastmath=True)
def label_at(labels, size, x, y, z):  # type: ignore[no-untyped-def]
    """Return the structure at a position of a map, voxels; below the map that of its lowest
    slice.
    """
    p, q = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
    r = max(int(np.floor(z + 0.5)), 0)
    if p < 0 or q < 0 or p >= size[0] or q >= size[1] or r >= size[2]:
        return 0
    return labels[p, q, r]


@njit(nogil=True, error_model="numpy", fastmath=True)
def vote(labels, size, x, y, z, weight, votes):  # type: ignore[no-untyped-def]
    """Add the votes of a position of a map and of the six around it."""
    votes[label_at(labels, size, x, y, z)] += np.float32(2.0) * weight
    for axis in range(3):
        for side in (-REACH, REACH):
            a, b, c = x, y, z
            if axis == 0:
                a += side
            elif axis == 1:
                b += side
            else:
                c += side
            votes[label_at(labels, size, a, b, c)] += weight


@njit(nogil=True, error_model="numpy", fastmath=True)
def mosaic(  # type: ignore[no-untyped-def]
    maps, sizes, affines, displacements, weights, origin, steps, matrix, displacement, blend, out,
):  # fmt: skip
    """Fill `out` `(n0, n1, n2)` uint8 with the structures of a new head.

    Args:
        maps: `(head, x, y, z)` uint8 structures at 1 mm, padded; sizes: `(head, 3)` voxels.
        affines: `(head, 3, 4)`: from the mean head's mm to voxels of each map.
        displacements: `(head, x, y, z, 3)` mm on the grid of the warp, before that.
        weights: `(head, x, y, z)` on that grid: the head of the largest one rules.
        origin, steps: of the grid, mm of the new head.
        matrix: `(3, 3)`: from the new head's mm to the mean head's, before `displacement`
            `(x, y, z, 3)` mm.
        blend: difference of weights below which two heads vote.
    """
    heads = len(maps)
    n0, n1, n2 = out.shape
    point, place = np.zeros(3, np.float32), np.zeros(6, np.float32)
    nowhere = np.zeros(3, np.float32)
    found = np.zeros((heads, 3), np.float32)
    rule = np.zeros(heads, np.float32)
    votes = np.zeros(COUNT, np.float32)
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                locate(i, j, k, origin, steps, matrix, nowhere, displacement, point)
                cell(point, displacement.shape, place)
                p, q, r = int(place[0]), int(place[1]), int(place[2])
                fx, fy, fz = place[3], place[4], place[5]
                for h in range(heads):
                    rule[h] = between(weights[h], p, q, r, fx, fy, fz)
                first, second = 0, 0
                for h in range(heads):
                    t0 = point[0] + between(displacements[h, :, :, :, 0], p, q, r, fx, fy, fz)
                    t1 = point[1] + between(displacements[h, :, :, :, 1], p, q, r, fx, fy, fz)
                    t2 = point[2] + between(displacements[h, :, :, :, 2], p, q, r, fx, fy, fz)
                    for d in range(3):
                        found[h, d] = (
                            affines[h, d, 0] * t0
                            + affines[h, d, 1] * t1
                            + affines[h, d, 2] * t2
                            + affines[h, d, 3]
                        )
                    if found[h, 2] < 0:
                        rule[h] -= np.float32(BELOW)
                for h in range(1, heads):
                    if rule[h] > rule[first]:
                        first, second = h, first
                    elif second == first or rule[h] > rule[second]:
                        second = h
                lead = rule[first] - rule[second]
                x, y, z = found[first]
                if first == second or lead >= blend:
                    out[i, j, k] = label_at(maps[first], sizes[first], x, y, z)
                    continue
                votes[:] = 0
                share = np.float32(0.5) + np.float32(0.5) * lead / blend
                vote(maps[first], sizes[first], x, y, z, share, votes)
                x, y, z = found[second]
                vote(maps[second], sizes[second], x, y, z, np.float32(1.0) - share, votes)
                best = 0
                for n in range(1, COUNT):
                    if votes[n] > votes[best]:
                        best = n
                out[i, j, k] = best
