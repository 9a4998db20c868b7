"""A label map of a head on any grid: moved, bent, with lesions, as fractions of tissue.

Every voxel is the mean over finer points, each of which takes the structure of the nearest voxel of
the map: that is the partial volume of a real scan.
"""

from __future__ import annotations

import numpy as np

from veridical.compiled import njit
from veridical.phantoms.composition import noise_at
from veridical.phantoms.label_maps import BRAIN, NAMES, STRUCTURES, structure
from veridical.phantoms.warp import GRID_ORIGIN, GRID_SPACING
from veridical.physics.tissue import TissueClass as T

TISSUE = np.array([int(tissue) for tissue, _ in STRUCTURES.values()], np.uint8)
"""Structure -> tissue."""
FATTY, MATTER = structure("fat"), structure("white matter")
INSIDE = np.array([name in BRAIN for name in NAMES])
BACKGROUND, LESION, MUSCLE = structure("background"), structure("lesion"), structure("muscle")
AIR, CSF, WHITE, DEEP = (int(t) for t in (T.AIR, T.CSF, T.WHITE, T.DEEP_GREY))
MS, OEDEMA, NECROSIS, ENHANCING = (int(t) for t in (T.MS_LESION, T.OEDEMA, T.NECROSIS, T.ENHANCING))
CORE = 0.6
"""Radius of the necrosis of an enhancing tumour, relative to its own."""
X0, Y0, Z0 = (float(v) for v in GRID_ORIGIN)
GRID = float(GRID_SPACING)


@njit(nogil=True, error_model="numpy", fastmath=True)
def locate(i, j, k, origin, steps, matrix, shift, displacement, point):  # type: ignore[no-untyped-def]
    """Write into `point` where a grid position lies in the head, mm; see `sample`."""
    gx, gy, gz, _ = displacement.shape
    a0 = origin[0] + i * steps[0, 0] + j * steps[1, 0] + k * steps[2, 0]
    a1 = origin[1] + i * steps[0, 1] + j * steps[1, 1] + k * steps[2, 1]
    a2 = origin[2] + i * steps[0, 2] + j * steps[1, 2] + k * steps[2, 2]
    b0 = matrix[0, 0] * a0 + matrix[0, 1] * a1 + matrix[0, 2] * a2 + shift[0]
    b1 = matrix[1, 0] * a0 + matrix[1, 1] * a1 + matrix[1, 2] * a2 + shift[1]
    b2 = matrix[2, 0] * a0 + matrix[2, 1] * a1 + matrix[2, 2] * a2 + shift[2]
    x = min(max((b0 - X0) / GRID, np.float32(0.0)), np.float32(gx - 1.001))
    y = min(max((b1 - Y0) / GRID, np.float32(0.0)), np.float32(gy - 1.001))
    z = min(max((b2 - Z0) / GRID, np.float32(0.0)), np.float32(gz - 1.001))
    p, q, r = int(x), int(y), int(z)
    fx, fy, fz = np.float32(x - p), np.float32(y - q), np.float32(z - r)
    for d in range(3):
        low = (displacement[p, q, r, d] * (1 - fz) + displacement[p, q, r + 1, d] * fz) * (
            1 - fy
        ) + (displacement[p, q + 1, r, d] * (1 - fz) + displacement[p, q + 1, r + 1, d] * fz) * fy
        high = (displacement[p + 1, q, r, d] * (1 - fz) + displacement[p + 1, q, r + 1, d] * fz) * (
            1 - fy
        ) + (
            displacement[p + 1, q + 1, r, d] * (1 - fz) + displacement[p + 1, q + 1, r + 1, d] * fz
        ) * fy
        point[d] = low * (1 - fx) + high * fx
    point[0] += b0
    point[1] += b1
    point[2] += b2


@njit(nogil=True, error_model="numpy", fastmath=True)
def structure_at(labels, centre, stripped, point):  # type: ignore[no-untyped-def]
    """Return the structure of the map at a point of the head."""
    p = int(np.floor(point[0] + centre[0] + 0.5))
    q = int(np.floor(point[1] + centre[1] + 0.5))
    r = max(int(np.floor(point[2] + centre[2] + 0.5)), 0)
    if p < 0 or q < 0 or p >= labels.shape[0] or q >= labels.shape[1] or r >= labels.shape[2]:
        return BACKGROUND
    found = labels[p, q, r]
    return BACKGROUND if stripped and not INSIDE[found] else found


@njit(nogil=True, error_model="numpy", fastmath=True)
def with_lesions(tissue, inside, point, rough, lesions, enhances):  # type: ignore[no-untyped-def]
    """Return the tissue at a point of the head once the lesions are drawn."""
    for n in range(lesions.shape[0]):
        e0, e1, e2 = point[0] - lesions[n, 1], point[1] - lesions[n, 2], point[2] - lesions[n, 3]
        extent = lesions[n, 13] * 2.2 * max(lesions[n, 15], np.float32(1.0))
        if e0 * e0 + e1 * e1 + e2 * e2 > extent * extent:
            continue
        s0 = lesions[n, 4] * e0 + lesions[n, 5] * e1 + lesions[n, 6] * e2
        s1 = lesions[n, 7] * e0 + lesions[n, 8] * e1 + lesions[n, 9] * e2
        s2 = lesions[n, 10] * e0 + lesions[n, 11] * e1 + lesions[n, 12] * e2
        radius = np.sqrt(s0 * s0 + s1 * s1 + s2 * s2) + lesions[n, 14] * rough
        if lesions[n, 0] == 0.0:
            if radius < 1.0 and tissue in (WHITE, DEEP):
                tissue = MS
        elif radius < 1.0 and inside and tissue != CSF:
            tissue = (NECROSIS if radius < CORE else ENHANCING) if enhances else OEDEMA
        elif radius < lesions[n, 15] and tissue == WHITE:
            tissue = OEDEMA
    return tissue


@njit(nogil=True, error_model="numpy", fastmath=True)
def noise_of(noise, point, scale, offset):  # type: ignore[no-untyped-def]
    """Return periodic noise at a point of the head, standard deviation about 1."""
    return noise_at(
        noise,
        point[0] * scale + offset[0],
        point[1] * scale + offset[1],
        point[2] * scale + offset[2],
    )


@njit(nogil=True, error_model="numpy", fastmath=True)
def sample(  # type: ignore[no-untyped-def]
    labels, centre, matrix, shift, displacement, lesions, noise, offsets, traits, deviation,
    origin, steps, counts, fractions, texture, structures, brain,
):  # fmt: skip
    """Fill `fractions`, `texture`, `structures` and `brain` of a grid.

    Args:
        labels: `(x, y, z)` structures of the map, 1 mm.
        centre: `(3,)` voxels, the origin of the head's millimetres.
        matrix, shift: `(3, 3)`, `(3,)`: from the grid's millimetres to the head's.
        displacement: `(x, y, z, 3)` mm on the grid of the warp, added after that.
        lesions: `(n, 17)`, see `lesions.row`.
        noise: periodic, flat; offsets: `(4, 3)` positions in it.
        traits: where fat lies between muscles, a threshold of noise; 1 where the skull was removed;
            1 where lesions of the map are kept, else white matter; 1 where tumours enhance.
        deviation: `(structure,)` of the relaxation times, in standard deviations of the texture.
        origin, steps, counts: of the grid, mm; points across each voxel.
        fractions: `(tissue, n0, n1, n2)`; texture: `(2, n0, n1, n2)`; structures: `(n0, n1, n2)`
            uint8, that of the voxel's middle, lesions drawn; brain: `(n0, n1, n2)` share inside
            the dura.
    """
    n0, n1, n2 = structures.shape
    every = counts[0] * counts[1] * counts[2]
    share = np.float32(1.0 / every)
    point = np.zeros(3, np.float32)
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                for part in range(every):
                    u = i + (part // (counts[1] * counts[2]) + 0.5) / counts[0] - 0.5
                    v = j + (part // counts[2] % counts[1] + 0.5) / counts[1] - 0.5
                    w = k + (part % counts[2] + 0.5) / counts[2] - 0.5
                    locate(u, v, w, origin, steps, matrix, shift, displacement, point)
                    found = structure_at(labels, centre, traits[1] > 0, point)
                    if found == BACKGROUND:
                        fractions[AIR, i, j, k] += share
                        continue
                    coarse = noise_of(noise, point, np.float32(0.22), offsets[0])
                    fine = noise_of(noise, point, np.float32(1.3), offsets[1])
                    shown = found
                    if found == MUSCLE and coarse + 0.4 * fine > traits[0]:
                        shown = FATTY
                    if found == LESION and traits[2] == 0:
                        shown = MATTER
                    before, inside = TISSUE[shown], INSIDE[found]
                    tissue = with_lesions(
                        before, inside, point, coarse + fine, lesions, traits[3] > 0
                    )
                    fractions[tissue, i, j, k] += share
                    texture[0, i, j, k] += share * (
                        np.float32(0.75) * fine + np.float32(0.65) * coarse + deviation[found]
                    )
                    texture[1, i, j, k] += share * noise_of(
                        noise, point, np.float32(0.9), offsets[2]
                    )
                    if inside:
                        brain[i, j, k] += share
                    if part == every // 2:
                        structures[i, j, k] = shown if tissue == before else LESION


@njit(nogil=True, error_model="numpy", fastmath=True)
def sample_structures(  # type: ignore[no-untyped-def]
    labels, centre, matrix, shift, displacement, lesions, noise, offsets, traits, origin, steps,
    structures,
):  # fmt: skip
    """Fill `structures` `(n0, n1, n2)` of a grid at the middle of every voxel, lesions and fat
    between muscles drawn; the arguments are those of `sample`.
    """
    n0, n1, n2 = structures.shape
    point = np.zeros(3, np.float32)
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                locate(i, j, k, origin, steps, matrix, shift, displacement, point)
                found = structure_at(labels, centre, traits[1] > 0, point)
                if found == BACKGROUND:
                    structures[i, j, k] = BACKGROUND
                    continue
                coarse = noise_of(noise, point, np.float32(0.22), offsets[0])
                fine = noise_of(noise, point, np.float32(1.3), offsets[1])
                if found == MUSCLE and coarse + 0.4 * fine > traits[0]:
                    found = FATTY
                if found == LESION and traits[2] == 0:
                    found = MATTER
                before = TISSUE[found]
                tissue = with_lesions(
                    before, INSIDE[found], point, coarse + fine, lesions, traits[3] > 0
                )
                structures[i, j, k] = found if tissue == before else LESION
