"""The compiled core of the digital patients: from a position in the template to tissue fractions.

Every border is a ramp over a signed distance, and tissues share a voxel by successive splitting, so
fractions sum to one.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

from veridical.compiled import njit
from veridical.phantoms.template import (
    BRAIN_ORIGIN,
    DISTANCE_STEP,
    DISTANCE_ZERO,
    HEAD_ORIGIN,
    HEAD_SPACING,
)
from veridical.phantoms.warp import GRID_ORIGIN, GRID_SPACING
from veridical.physics.tissue import TissueClass

CLASSES = len(TissueClass)
AIR, CSF, GREY, WHITE, DEEP, BONE, MARROW, FAT = range(8)
SKIN, MUSCLE, BLOOD, VITREOUS, MS, OEDEMA, NECROSIS, ENHANCING = range(8, CLASSES)


@numba.njit(error_model="numpy", fastmath=True)
def _ramp(distance, width):  # type: ignore[no-untyped-def]
    """Share of a voxel that lies inside a border at signed `distance` (negative inside)."""
    return min(max(0.5 - distance / width, np.float32(0.0)), np.float32(1.0))


@numba.njit(error_model="numpy", fastmath=True)
def noise_at(noise, x, y, z):  # type: ignore[no-untyped-def]
    """Sample the periodic noise, standard deviation about 1; positions in voxels, positive."""
    one, mask = np.uint64(1), np.uint64(127)
    a, b, c = np.uint64(x), np.uint64(y), np.uint64(z)
    fx, fy, fz = np.float32(x - a), np.float32(y - b), np.float32(z - c)
    p, q, r = (
        ((a + one) & mask) << np.uint64(14),
        ((b + one) & mask) << np.uint64(7),
        (c + one) & mask,
    )
    a, b, c = (a & mask) << np.uint64(14), (b & mask) << np.uint64(7), c & mask
    gx, gy, gz = np.float32(1.0) - fx, np.float32(1.0) - fy, np.float32(1.0) - fz
    low = (noise[a + b + c] * gz + noise[a + b + r] * fz) * gy + (
        noise[a + q + c] * gz + noise[a + q + r] * fz
    ) * fy
    high = (noise[p + b + c] * gz + noise[p + b + r] * fz) * gy + (
        noise[p + q + c] * gz + noise[p + q + r] * fz
    ) * fy
    return (low * gx + high * fx) * np.float32(1.0 / 30.0)


def _sampler(channels: int) -> Callable[..., None]:
    """Return the trilinear interpolation of all channels of a byte atlas; a fixed number of
    channels compiles to straight code.
    """

    @numba.njit(error_model="numpy", fastmath=True)
    def sample(atlas, shape, x, y, z, out):  # type: ignore[no-untyped-def]
        """Sample every channel of `atlas` into `out`; positions in voxels, clamped."""
        nx, ny, nz, _ = shape
        x = min(max(x, np.float32(0.0)), np.float32(nx - 1.001))
        y = min(max(y, np.float32(0.0)), np.float32(ny - 1.001))
        z = min(max(z, np.float32(0.0)), np.float32(nz - 1.001))
        a, b, c = np.uint64(x), np.uint64(y), np.uint64(z)
        fx, fy, fz = np.float32(x - a), np.float32(y - b), np.float32(z - c)
        gx, gy, gz = np.float32(1.0) - fx, np.float32(1.0) - fy, np.float32(1.0) - fz
        line, sheet = np.uint64(nz * channels), np.uint64(ny * nz * channels)
        base = a * sheet + b * line + c * np.uint64(channels)
        one = np.uint64(channels)
        w0, w1, w2, w3 = gx * gy * gz, gx * gy * fz, gx * fy * gz, gx * fy * fz
        w4, w5, w6, w7 = fx * gy * gz, fx * gy * fz, fx * fy * gz, fx * fy * fz
        for d in range(channels):
            at = base + np.uint64(d)
            out[d] = (
                w0 * np.float32(atlas[at])
                + w1 * np.float32(atlas[at + one])
                + w2 * np.float32(atlas[at + line])
                + w3 * np.float32(atlas[at + line + one])
                + w4 * np.float32(atlas[at + sheet])
                + w5 * np.float32(atlas[at + sheet + one])
                + w6 * np.float32(atlas[at + sheet + line])
                + w7 * np.float32(atlas[at + sheet + line + one])
            )

    return sample  # type: ignore[no-any-return]


_head_at, _brain_at = _sampler(8), _sampler(5)


@numba.njit(error_model="numpy", fastmath=True)
def _mm(byte):  # type: ignore[no-untyped-def]
    """Decode a distance in mm."""
    return (byte - np.float32(DISTANCE_ZERO)) * np.float32(DISTANCE_STEP)


@numba.njit(error_model="numpy", fastmath=True)
def _warped(shift, x, y, z):  # type: ignore[no-untyped-def]
    """Return the template position of a point: the point plus its displacement."""
    gx, gy, gz, _ = shift.shape
    scale = np.float32(1.0 / GRID_SPACING)
    u = min(max((x - GRID_ORIGIN[0]) * scale, np.float32(0.0)), np.float32(gx - 1.001))
    v = min(max((y - GRID_ORIGIN[1]) * scale, np.float32(0.0)), np.float32(gy - 1.001))
    w = min(max((z - GRID_ORIGIN[2]) * scale, np.float32(0.0)), np.float32(gz - 1.001))
    a, b, c = int(u), int(v), int(w)
    fu, fv, fw = np.float32(u - a), np.float32(v - b), np.float32(w - c)
    for i in range(2):
        for j in range(2):
            for k in range(2):
                weight = (fu if i else 1 - fu) * (fv if j else 1 - fv) * (fw if k else 1 - fw)
                x += weight * shift[a + i, b + j, c + k, 0]
                y += weight * shift[a + i, b + j, c + k, 1]
                z += weight * shift[a + i, b + j, c + k, 2]
    return x, y, z


# fmt: off
@njit(nogil=True, error_model="numpy", fastmath=True)
def compose(  # type: ignore[no-untyped-def]
    first, steps, shift, layers, offsets, lesions, brain_atlas, head_atlas,
    bank, out, texture, labels, inside
):
    """Fill `out` (all air before), `texture`, `labels` and `inside` at every point of a grid.

    See `anatomy.evaluate`.
    """
    n0, n1, n2 = labels.shape
    head_flat, brain_flat, noise = head_atlas.ravel(), brain_atlas.ravel(), bank.ravel()
    s, b, f = np.empty(8, np.float32), np.empty(5, np.float32), np.empty(CLASSES, np.float32)
    # nothing but the face lies farther from the hull
    reach = layers[0] + 1.5 * layers[1] + 2.0 * layers[2] + 1.5
    surface = -2.0 * layers[7]  # nothing but brain lies deeper
    head_scale = np.float32(1.0 / HEAD_SPACING)
    skip = 0.5 / np.sqrt(steps[2, 0] ** 2 + steps[2, 1] ** 2 + steps[2, 2] ** 2)
    for i in range(n0):
        for j in range(n1):
            k = -1
            while k < n2 - 1:
                k += 1
                px = first[0] + i * steps[0, 0] + j * steps[1, 0] + k * steps[2, 0]
                py = first[1] + i * steps[0, 1] + j * steps[1, 1] + k * steps[2, 1]
                pz = first[2] + i * steps[0, 2] + j * steps[1, 2] + k * steps[2, 2]
                q0, q1, q2 = _warped(shift, px, py, pz)
                _head_at(
                    head_flat, head_atlas.shape,
                    (q0 - HEAD_ORIGIN[0]) * head_scale, (q1 - HEAD_ORIGIN[1]) * head_scale,
                    (q2 - HEAD_ORIGIN[2]) * head_scale, s,
                )
                hull, face = _mm(s[0]), _mm(s[1])
                free = min(hull - reach, face) - 3.0
                # air, as before; the warp at most doubles distances: skip the way to the head
                if free > 0.0:
                    k += int(free * skip)
                    continue
                coarse = noise_at(
                    noise, q0 * 0.22 + offsets[0, 0],
                    q1 * 0.22 + offsets[0, 1], q2 * 0.22 + offsets[0, 2]
                )
                fold = noise_at(
                    noise, q0 * 0.6 + offsets[1, 0],
                    q1 * 0.6 + offsets[1, 1], q2 * 0.6 + offsets[1, 2]
                )
                fine = noise_at(
                    noise, q0 * 1.7 + offsets[2, 0],
                    q1 * 1.7 + offsets[2, 1], q2 * 1.7 + offsets[2, 2]
                )
                for m in range(CLASSES):
                    f[m] = 0.0
                inner = np.float32(1.0)
                if hull > surface:
                    broad = noise_at(
                        noise, q0 * 0.07 + offsets[3, 0],
                        q1 * 0.07 + offsets[3, 1], q2 * 0.07 + offsets[3, 2]
                    )
                    inner = _shells(hull, face, s, q0, q1, q2, broad, coarse, fold, fine, layers, f)
                if inner > 0.0:
                    _brain_at(
                        brain_flat, brain_atlas.shape,
                        q0 - BRAIN_ORIGIN[0], q1 - BRAIN_ORIGIN[1], q2 - BRAIN_ORIGIN[2], b
                    )
                    _brain(b, _mm(s[6]), _mm(s[7]), hull, inner,
                           q0, q1, q2, fold, fine, coarse, layers, f)
                    if lesions.shape[0] > 0 and hull < 2.0:
                        _lesions(lesions, q0, q1, q2, fold, fine, layers[7], f)
                    inside[i, j, k] = inner
                best = 0
                for m in range(CLASSES):
                    out[m, i, j, k] = f[m]
                    if f[m] > f[best]:
                        best = m
                labels[i, j, k] = best
                other = noise_at(
                    noise, q0 * 1.1 + offsets[3, 0],
                    q1 * 1.1 + offsets[3, 1], q2 * 1.1 + offsets[3, 2]
                )
                texture[0, i, j, k] = 0.6 * fine + 0.5 * fold + 0.6 * coarse
                texture[1, i, j, k] = 0.8 * other - 0.4 * coarse
# fmt: on


@numba.njit(error_model="numpy", fastmath=True)
def _shells(hull, face, s, x, y, z, broad, coarse, fold, fine, layers, f):  # type: ignore[no-untyped-def]
    """Fill the fractions outside the dura and return the share inside it."""
    edge = layers[7]
    side = abs(x)
    air, orbit, globe = _mm(s[2]) + layers[12] + 0.8 * fold, _mm(s[3]), _mm(s[4])
    muscle, vessel, jaw = _mm(s[5]) + layers[10] + 1.2 * fold, _mm(s[6]) + layers[11], _mm(s[7])
    temporal = min(max((side - 44.0) / 18.0, np.float32(0.0)), np.float32(1.0)) * min(
        max((30.0 - z) / 30.0, np.float32(0.0)), np.float32(1.0)
    )
    polar = min(max((abs(y + 15.0) - 50.0) / 40.0, np.float32(0.0)), np.float32(1.0))
    fluid = max(layers[0] * (1.0 + 0.3 * broad + 0.25 * coarse), np.float32(0.5))
    skull = max(
        layers[1] * (1.0 + 0.25 * polar - 0.45 * temporal + 0.15 * broad + 0.03 * coarse),
        np.float32(1.8),
    )
    scalp = max(layers[2] * (1.0 + 0.35 * polar + 0.6 * temporal + 0.15 * broad), np.float32(2.5))
    inner = hull - fluid
    outer = inner - skull
    cranial = outer - scalp
    blend = max(8.0 - abs(cranial - face), np.float32(0.0)) / 8.0
    surface = min(cranial, face) - blend * blend * 2.0
    body = _ramp(surface, edge)
    f[AIR] = 1.0 - body
    base = _ramp(z + 40.0, np.float32(20.0)) * _ramp(35.0 - side, np.float32(10.0))
    canal = _ramp(np.sqrt(x * x + (y + 46.0) * (y + 46.0)) - 13.0, np.float32(3.0)) * _ramp(
        z + 55.0, np.float32(6.0)
    )
    deep = _ramp(inner, edge) * body
    bone = max(_ramp(outer, edge) * body - deep, np.float32(0.0)) * (1.0 - canal)
    rest = body - deep - bone
    # the skull: two tables and the marrow between them, patchy and thin where the skull is thin
    depth = min(inner, -outer)
    diploe = _ramp(layers[4] * (1.0 + 0.2 * coarse) + 0.35 * fine - depth, edge) * (
        1.0 - 0.85 * base
    )
    f[MARROW] += bone * diploe
    f[BONE] += bone * (1.0 - diploe)
    # cavities, with mucosa and thin bone about them
    cavity = _ramp(air, edge)
    lining = _ramp(air - 1.4, edge) - cavity
    wall = _ramp(air - 3.0, edge) - cavity - lining
    wall = max(wall, _ramp(abs(orbit) - 0.9, edge) * _ramp(y - 56.0, np.float32(12.0)))
    mandible = _ramp(jaw, edge)
    core = _ramp(jaw + 2.2, edge)
    # orbits
    socket = _ramp(orbit, edge)
    eye = _ramp(globe, edge)
    vitreous = _ramp(globe + 1.3, edge)
    lens = _ramp(
        np.sqrt((side - 34.0) ** 2 + ((y - 71.5) * 2.0) ** 2 + (z + 34.0) ** 2) - 4.5, edge
    )
    skin = _ramp(-surface - layers[3] * (1.0 + 0.2 * fine), edge)
    below = _ramp(layers[3] + 2.5 * layers[2] + 3.0 * coarse + surface, np.float32(4.0)) * _ramp(
        z + 18.0, np.float32(20.0)
    )
    strand = _ramp(0.25 + 0.8 * fold + 0.5 * coarse + 0.2 * fine, np.float32(1.0))
    flesh = max(
        _ramp(muscle, np.float32(1.6)), _ramp(outer - 0.9, edge) * 0.5, below * (1.0 - strand)
    )
    septum = _ramp(abs(0.5 * fine + 0.8 * fold) - layers[9], np.float32(0.25))
    f[AIR] += rest * cavity
    left = rest * (1.0 - cavity)
    f[SKIN] += left * lining
    left *= 1.0 - lining
    f[BONE] += left * wall
    left *= 1.0 - wall
    f[VITREOUS] += left * eye * vitreous * (1.0 - lens)
    f[SKIN] += left * eye * (1.0 - vitreous * (1.0 - lens))
    left *= 1.0 - eye
    f[SKIN] += left * skin
    left *= 1.0 - skin
    f[MARROW] += left * mandible * core * 0.9
    f[BONE] += left * mandible * (1.0 - core * 0.9)
    left *= 1.0 - mandible
    tube = _ramp(vessel, edge)
    f[BLOOD] += left * tube
    left *= 1.0 - tube
    flesh = max(flesh * (1.0 - socket), socket * _ramp(muscle, edge))
    f[MUSCLE] += left * flesh * 0.94
    fat = left * (1.0 - flesh * 0.94)
    f[SKIN] += fat * septum * 0.7
    f[FAT] += fat * (1.0 - septum * 0.7)
    return deep


@numba.njit(error_model="numpy", fastmath=True)
def _brain(b, vessel, petrous, hull, share, x, y, z, fold, fine, coarse, layers, f):  # type: ignore[no-untyped-def]
    """Split `share` among bone, blood, dura, fluid, deep grey, white and grey matter; noise moves
    the sharpened borders.
    """
    scale = np.float32(1.0 / 255.0)
    grey, white, deep, sulcus = b[0] * scale, b[1] * scale, b[2] * scale, b[4] * scale
    edge = layers[7]
    nothing = max(1.0 - grey - white - deep, np.float32(0.0))
    room = min(nothing + sulcus, np.float32(1.0))
    level = (
        nothing
        + 0.8 * sulcus
        + layers[5]
        - 0.42
        + layers[8] * (0.2 * fold + 0.2 * fine) * min(1.5 * room, np.float32(1.0))
    )
    fluid = min(max(0.5 + 2.2 * level / edge, np.float32(0.0)), np.float32(1.0)) * min(
        8.0 * room, np.float32(1.0)
    )
    ventricle = _ramp(_mm(b[3]) - layers[6] - 0.2 * fold, edge)
    fluid = max(fluid, ventricle)
    blood = _ramp(vessel, edge) + fluid * (1.0 - ventricle) * 0.8 * _ramp(
        2.1 - fold - 0.5 * fine, np.float32(0.4)
    )
    blood = min(blood, np.float32(1.0))
    # the falx between the hemispheres and the sagittal sinus at its outer rim
    falx = (
        fluid
        * (1.0 - ventricle)
        * _ramp(abs(x + 1.2 * coarse) - 0.6, edge)
        * _ramp(8.0 - z - 0.6 * abs(y + 10.0), np.float32(4.0))
    )
    sinus = (
        _ramp(max(abs(x + 0.8 * coarse) - 3.2 - 0.5 * hull, -3.5 - hull), edge)
        * _ramp(y - 62.0, np.float32(8.0))
        * _ramp(-12.0 - z, np.float32(6.0))
    )
    blood = max(blood, sinus)
    bone = _ramp(petrous, edge) * fluid * (1.0 - ventricle)
    f[BONE] += share * bone
    share = share * (1.0 - bone)
    f[BLOOD] += share * blood
    share = share * (1.0 - blood)
    f[SKIN] += share * falx * 0.8
    share = share * (1.0 - falx * 0.8)
    f[CSF] += share * fluid
    share = share * (1.0 - fluid)
    nucleus = min(max(0.5 + 2.0 * (deep - 0.3) / edge, np.float32(0.0)), np.float32(1.0))
    nucleus = nucleus * min(deep * 2.0, np.float32(1.0))
    f[DEEP] += share * nucleus
    share = share * (1.0 - nucleus)
    border = (white - grey) + layers[8] * (0.45 * fold + 0.3 * fine)
    inner = min(max(0.5 + 1.6 * border / edge, np.float32(0.0)), np.float32(1.0))
    f[WHITE] += share * inner
    f[GREY] += share * (1.0 - inner)


@numba.njit(error_model="numpy", fastmath=True)
def _lesions(lesions, x, y, z, fold, fine, edge, f):  # type: ignore[no-untyped-def]
    """Replace brain tissue by lesions."""
    for n in range(lesions.shape[0]):
        dx, dy, dz = x - lesions[n, 1], y - lesions[n, 2], z - lesions[n, 3]
        reach = lesions[n, 13] * 2.2 * max(lesions[n, 15], np.float32(1.0)) + 3.0
        if dx * dx + dy * dy + dz * dz > reach * reach:
            continue
        u = lesions[n, 4] * dx + lesions[n, 5] * dy + lesions[n, 6] * dz
        v = lesions[n, 7] * dx + lesions[n, 8] * dy + lesions[n, 9] * dz
        w = lesions[n, 10] * dx + lesions[n, 11] * dy + lesions[n, 12] * dz
        power = lesions[n, 16]
        if power == 2.0:
            radius = np.sqrt(u * u + v * v + w * w)
        else:
            radius = (abs(u) ** power + abs(v) ** power + abs(w) ** power) ** (1.0 / power)
        radius += lesions[n, 14] * (0.7 * fold + 0.3 * fine)
        depth = (radius - 1.0) * lesions[n, 13]
        if lesions[n, 0] == 0.0:
            share = _ramp(depth, 1.8 * edge)
            for m in (GREY, WHITE, DEEP):
                f[MS] += f[m] * share
                f[m] *= 1.0 - share
            continue
        mass = _ramp(depth, 1.2 * edge)
        core = _ramp((radius - 0.72 + 0.06 * fold) * lesions[n, 13], 1.2 * edge)
        for m in (CSF, GREY, WHITE, DEEP, BLOOD):
            f[NECROSIS] += f[m] * mass * core
            f[ENHANCING] += f[m] * mass * (1.0 - core)
            f[m] *= 1.0 - mass
        swollen = _ramp((radius - lesions[n, 15] - 0.25 * fold) * lesions[n, 13], 3.0 * edge)
        f[OEDEMA] += f[WHITE] * swollen + f[GREY] * swollen * 0.35 + f[DEEP] * swollen * 0.5
        f[WHITE] *= 1.0 - swollen
        f[GREY] *= 1.0 - 0.35 * swollen
        f[DEEP] *= 1.0 - 0.5 * swollen
