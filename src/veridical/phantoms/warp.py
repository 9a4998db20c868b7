"""Random diffeomorphisms: a smooth stationary velocity field, exponentiated by scaling and
squaring.

Arsigny et al., MICCAI 2006, 10.1007/11866565_113. All on a coarse grid over the head; points in
between are interpolated.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.compiled import njit

Floats = NDArray[np.float32]

GRID_ORIGIN = np.array([-120.0, -152.0, -128.0], np.float32)
GRID_SPACING = 12.0
GRID_SHAPE = (21, 26, 23)


def velocity(rng: np.random.Generator, amplitude: float, smoothness: float) -> Floats:
    """Return a random velocity field `(x, y, z, 3)` in mm on the coarse grid.

    Args:
        amplitude: standard deviation of each component, mm.
        smoothness: standard deviation of the Gaussian it is smoothed with, mm.
    """
    noise = rng.standard_normal((*GRID_SHAPE, 3), dtype=np.float32)
    for axis in range(3):
        noise = np.tensordot(
            _smoother(GRID_SHAPE[axis], smoothness / GRID_SPACING), noise, (1, axis)
        )
        noise = np.moveaxis(noise, 0, axis)
    return np.ascontiguousarray(noise * np.float32(amplitude), dtype=np.float32)


def growth(centre: Floats, strength: float, radius: float) -> Floats:
    """Return the velocity field `(x, y, z, 3)` of a mass that grows at `centre` and pushes outward
    by about `strength` mm.
    """
    axes = [
        GRID_ORIGIN[i] + GRID_SPACING * np.arange(GRID_SHAPE[i], dtype=np.float32) - centre[i]
        for i in range(3)
    ]
    offset = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    square = (offset**2).sum(-1, keepdims=True)
    return np.asarray(
        -strength * offset / radius * np.exp(0.5 - square / (2 * radius**2)), np.float32
    )


@cache
def _smoother(size: int, sigma: float) -> Floats:
    """Return the matrix of a Gaussian filter whose rows have unit energy, so that white noise keeps
    its variance.
    """
    matrix = ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="nearest", truncate=4.0)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), np.float32)


@njit(nogil=True)
def exponential(field: Floats, squarings: int) -> Floats:
    """Return the displacement `(x, y, z, 3)` in mm of the flow of `field` at time 1, by scaling and
    squaring.
    """
    nx, ny, nz, _ = field.shape
    now = field / np.float32(2.0**squarings)
    inverse = np.float32(1.0 / 12.0)
    for _ in range(squarings):
        new = np.empty_like(now)
        for i in range(nx):
            for j in range(ny):
                for k in range(nz):
                    x = min(
                        max(i + now[i, j, k, 0] * inverse, np.float32(0.0)), np.float32(nx - 1.001)
                    )
                    y = min(
                        max(j + now[i, j, k, 1] * inverse, np.float32(0.0)), np.float32(ny - 1.001)
                    )
                    z = min(
                        max(k + now[i, j, k, 2] * inverse, np.float32(0.0)), np.float32(nz - 1.001)
                    )
                    a, b, c = int(x), int(y), int(z)
                    fx, fy, fz = x - a, y - b, z - c
                    for d in range(3):
                        low = (now[a, b, c, d] * (1 - fz) + now[a, b, c + 1, d] * fz) * (1 - fy) + (
                            now[a, b + 1, c, d] * (1 - fz) + now[a, b + 1, c + 1, d] * fz
                        ) * fy
                        high = (now[a + 1, b, c, d] * (1 - fz) + now[a + 1, b, c + 1, d] * fz) * (
                            1 - fy
                        ) + (
                            now[a + 1, b + 1, c, d] * (1 - fz) + now[a + 1, b + 1, c + 1, d] * fz
                        ) * fy
                        new[i, j, k, d] = now[i, j, k, d] + low * (1 - fx) + high * fx
        now = new
    return now


def bumps(rng: np.random.Generator, count: int, strength: float) -> Floats:
    """Return the displacement `(x, y, z, 3)` in mm of a sum of elastic Gaussian bumps on the coarse
    grid.

    Args: count: number of bumps, anywhere in the head, 24 to 48 mm wide (standard deviation).
        strength: bound on the gradient of the displacement (sum over axes of the largest slope);
        below 1 the map is one to one.
    """
    axes = [
        GRID_ORIGIN[i] + GRID_SPACING * np.arange(GRID_SHAPE[i], dtype=np.float32) for i in range(3)
    ]
    field = np.zeros((*GRID_SHAPE, 3), np.float32)
    for _ in range(count):
        centre, width = rng.uniform((-70, -110, -70), (70, 80, 80)), rng.uniform(24.0, 48.0)
        profile = [
            np.exp(-((axis - c) ** 2) / (2 * width**2))
            for axis, c in zip(axes, centre, strict=True)
        ]
        bump = profile[0][:, None, None] * profile[1][None, :, None] * profile[2][None, None, :]
        field += (bump[..., None] * rng.normal(size=3) * width).astype(np.float32)
    slopes = [np.abs(np.diff(field, axis=axis)).sum(-1).max() / GRID_SPACING for axis in range(3)]
    return np.asarray(field * np.float32(strength / sum(slopes)), np.float32)
