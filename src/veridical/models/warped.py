"""Images under a motion field, with how they change when the field does: one pass over the voxels,
so that a frame takes milliseconds.

A field says where each voxel of a frame comes from in the template, in voxels. Values between
voxels are interpolated linearly; outside of the grid the border holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from veridical.compiled import njit

Floats = NDArray[np.float32]
f4 = np.float32


def rendered(
    template: Floats, mean: Floats, modes: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """Return a template under the field `mean + sum of weights modes`, `(x, y, z)`, and the
    derivative of that image by each weight, `(mode, x, y, z)`.

    Args:
        template: `(x, y, z)`.
        mean: `(3, x, y, z)` voxels.
        modes: `(mode, 3, x, y, z)` voxels.
        weights: `(mode,)`.
    """
    image = np.empty_like(template)
    slopes = np.empty((len(modes), *template.shape), f4)
    _render(template, mean, modes, weights.astype(f4), image, slopes)
    return image, slopes


def warped(image: Floats, field: Floats) -> Floats:
    """Return an image `(x, y, z)` under a field `(3, x, y, z)` in voxels."""
    found: Floats = rendered(image, field, np.empty((0, *field.shape), f4), np.empty(0, f4))[0]
    return found


def inverse(field: Floats, steps: int = 12) -> Floats:
    """Return the field that undoes another, `(3, x, y, z)` voxels, by fixed-point iteration (Chen
    et al., Med Phys 2008, 10.1118/1.2816107).
    """
    back = -field
    for _ in range(steps):
        back = -np.stack([warped(part, back) for part in field])
    return np.asarray(back, f4)


@njit(fastmath=True, nogil=True, error_model="numpy")
def _render(
    template: Floats, mean: Floats, modes: Floats, weights: Floats, image: Floats, slopes: Floats
) -> None:
    nx, ny, nz = template.shape
    place, low, high, part = (
        np.empty(3, f4),
        np.empty(3, np.int64),
        np.empty(3, np.int64),
        np.empty(3, f4),
    )
    size = (nx, ny, nz)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                place[0], place[1], place[2] = i, j, k
                for axis in range(3):
                    shift = mean[axis, i, j, k]
                    for mode in range(weights.size):
                        shift += weights[mode] * modes[mode, axis, i, j, k]
                    at = min(max(place[axis] + shift, f4(0)), f4(size[axis] - 1))
                    low[axis] = min(int(at), max(size[axis] - 2, 0))
                    high[axis] = min(low[axis] + 1, size[axis] - 1)
                    part[axis] = at - low[axis]
                fx, fy, fz = part[0], part[1], part[2]
                a = template[low[0], low[1], low[2]]
                b = template[low[0], low[1], high[2]]
                c = template[low[0], high[1], low[2]]
                d = template[low[0], high[1], high[2]]
                e = template[high[0], low[1], low[2]]
                f = template[high[0], low[1], high[2]]
                g = template[high[0], high[1], low[2]]
                h = template[high[0], high[1], high[2]]
                ab, cd, ef, gh = (
                    a + (b - a) * fz,
                    c + (d - c) * fz,
                    e + (f - e) * fz,
                    g + (h - g) * fz,
                )
                near, far = ab + (cd - ab) * fy, ef + (gh - ef) * fy
                image[i, j, k] = near + (far - near) * fx
                if weights.size == 0:
                    continue
                dx = far - near
                dy = (cd - ab) * (1 - fx) + (gh - ef) * fx
                dz = ((b - a) * (1 - fy) + (d - c) * fy) * (1 - fx) + (
                    (f - e) * (1 - fy) + (h - g) * fy
                ) * fx
                for mode in range(weights.size):
                    slopes[mode, i, j, k] = (
                        dx * modes[mode, 0, i, j, k]
                        + dy * modes[mode, 1, i, j, k]
                        + dz * modes[mode, 2, i, j, k]
                    )
