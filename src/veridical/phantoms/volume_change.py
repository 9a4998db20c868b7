"""Deformations that make structures grow or shrink at given rates inside a rigid skull.

The velocity is the gradient of a potential: `div v` is the rate of each voxel, and nothing moves
through the skull. Its flow is the deformation, one to one at all times (Arsigny et al., MICCAI
2006, 10.1007/11866565_113).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.compiled import njit
from veridical.errors import GeometryError
from veridical.phantoms.rendering import PhantomVolume

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

TOLERANCE, MOST = 1e-3, 2000
"""Relative residual at which the potential is solved, and the most steps until then."""
SQUARINGS = 6


def velocity_of(rate: Floats, inside: Mask, spacing: float) -> Floats:
    """Return the velocity `(x, y, z, 3)`, mm a unit of time, whose divergence is `rate`.

    Args:
        rate: `(x, y, z)` relative volume change a unit of time; its sum inside must be 0, and what
            is left of it is spread evenly.
        inside: `(x, y, z)` bool, all that lies inside of the skull; not the outermost voxels.
        spacing: mm.

    Raises:
        GeometryError: the potential was not found.
    """
    parts, _ = ndimage.label(inside)
    sizes = np.bincount(parts.ravel())
    inside = parts == 1 + int(np.argmax(sizes[1:])) if len(sizes) > 1 else inside
    for axis in range(3):
        edge = np.moveaxis(inside, axis, 0)
        edge[0] = edge[-1] = False
    right = np.where(inside, rate, 0).astype(np.float64) * -(spacing**2)
    right[inside] -= right[inside].mean()
    phi = _solved(right, inside)
    return np.stack([_central(phi, inside, axis) / spacing for axis in range(3)], -1).astype(
        np.float32
    )


def _solved(right: NDArray[np.float64], inside: Mask) -> NDArray[np.float64]:
    """Return the potential by conjugate gradients."""
    x, r = np.zeros_like(right), right.copy()
    p, q, square = r.copy(), np.zeros_like(right), float((right**2).sum())
    first = square
    for _ in range(MOST):
        if square <= TOLERANCE**2 * first or first == 0:
            return x
        _laplacian(p, inside, q)
        step = square / float((p * q).sum())
        x += step * p
        r -= step * q
        before, square = square, float((r**2).sum())
        p = r + (square / before) * p
    raise GeometryError(
        "The deformation was not found in 2000 steps; expected a brain in one piece inside of the "
        "grid. Give a larger grid."
    )


def _central(phi: NDArray[np.float64], inside: Mask, axis: int) -> NDArray[np.float64]:
    """Return the mean of the slopes at the two faces of each voxel, 0 at a wall."""
    one, mask = np.moveaxis(phi, axis, 0), np.moveaxis(inside, axis, 0)
    slope = np.zeros_like(one)
    slope[:-1] = np.where(mask[:-1] & mask[1:], one[1:] - one[:-1], 0)
    mean = slope.copy()
    mean[1:] += slope[:-1]
    return np.moveaxis(mean / 2, 0, axis)


def flow_of(velocity: Floats, time: float, spacing: float) -> Floats:
    """Return the displacement `(x, y, z, 3)` in mm of the flow of a velocity at a time; that of
    `-time` is its inverse.
    """
    now = velocity * np.float32(time / 2**SQUARINGS)
    for _ in range(SQUARINGS):
        now = now + moved(now, now, spacing)
    return np.asarray(now, np.float32)


def moved(values: Floats, displacement: Floats, spacing: float) -> Floats:
    """Return `values` `(x, y, z, n)` at `x + displacement(x)`, linearly interpolated."""
    out = np.empty_like(values)
    scaled = np.ascontiguousarray(displacement / np.float32(spacing), np.float32)
    _sample(np.ascontiguousarray(values), scaled, out)
    return out


def onto(displacement: Floats, spacing: float, fine: float, shape: Sequence[int]) -> Floats:
    """Return a displacement on a finer grid of the same corner, `(*shape, 3)` mm."""
    places = [((np.arange(n) + 0.5) * fine / spacing - 0.5) for n in shape]
    grid = np.meshgrid(*places, indexing="ij")
    parts = [
        ndimage.map_coordinates(displacement[..., d], grid, order=1, mode="nearest")
        for d in range(3)
    ]
    return np.stack(parts, -1).astype(np.float32)


def jacobian(displacement: Floats, spacing: float) -> Floats:
    """Return the relative volume `(x, y, z)` that a deformation gives each voxel."""
    slopes = np.stack(
        [np.stack([*np.gradient(displacement[..., d], spacing)], -1) for d in range(3)], -2
    )
    return np.asarray(np.linalg.det(slopes + np.eye(3)), np.float32)


def deformed(head: PhantomVolume, back: Floats) -> PhantomVolume:
    """Return a head after a deformation.

    Args:
        head: before it.
        back: `(x, y, z, 3)` mm on its grid: where each point of the result was before.
    """
    from dataclasses import replace

    spacing = head.pixel
    stacked = np.concatenate([head.tissues, head.texture, head.brain[None]]).astype(np.float32)
    after = np.moveaxis(moved(np.moveaxis(stacked, 0, -1), back, spacing), -1, 0)
    tissues = np.ascontiguousarray(after[: len(head.tissues)])
    return replace(
        head,
        tissues=tissues,
        texture=np.ascontiguousarray(after[len(head.tissues) : -1]),
        brain=after[-1] > 0.5,
        labels=tissues.argmax(0).astype(np.uint8),
    )


def deformed_labels(labels: NDArray[np.uint8], back: Floats, spacing: float) -> NDArray[np.uint8]:
    """Return labels after a deformation, that of the nearest voxel."""
    grid = np.indices(labels.shape, np.float32)
    places = [
        np.clip(np.rint(grid[d] + back[..., d] / spacing), 0, labels.shape[d] - 1).astype(np.intp)
        for d in range(3)
    ]
    return np.asarray(labels[tuple(places)])


@njit(nogil=True, error_model="numpy")
def _laplacian(p, inside, out):  # type: ignore[no-untyped-def]
    """Write minus the Laplacian with no flux through walls."""
    nx, ny, nz = p.shape
    for i in range(1, nx - 1):
        for j in range(1, ny - 1):
            for k in range(1, nz - 1):
                if not inside[i, j, k]:
                    continue
                total = 0.0
                c = p[i, j, k]
                if inside[i - 1, j, k]:
                    total += c - p[i - 1, j, k]
                if inside[i + 1, j, k]:
                    total += c - p[i + 1, j, k]
                if inside[i, j - 1, k]:
                    total += c - p[i, j - 1, k]
                if inside[i, j + 1, k]:
                    total += c - p[i, j + 1, k]
                if inside[i, j, k - 1]:
                    total += c - p[i, j, k - 1]
                if inside[i, j, k + 1]:
                    total += c - p[i, j, k + 1]
                out[i, j, k] = total


@njit(nogil=True, error_model="numpy", fastmath=True)
def _sample(values, displacement, out):  # type: ignore[no-untyped-def]
    nx, ny, nz, channels = values.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                d0, d1, d2 = displacement[i, j, k]
                if d0 == 0 and d1 == 0 and d2 == 0:
                    for n in range(channels):
                        out[i, j, k, n] = values[i, j, k, n]
                    continue
                x = min(max(i + d0, np.float32(0.0)), np.float32(nx - 1.001))
                y = min(max(j + d1, np.float32(0.0)), np.float32(ny - 1.001))
                z = min(max(k + d2, np.float32(0.0)), np.float32(nz - 1.001))
                a, b, c = int(x), int(y), int(z)
                fx, fy, fz = np.float32(x - a), np.float32(y - b), np.float32(z - c)
                one = np.float32(1.0)
                for n in range(channels):
                    low = (values[a, b, c, n] * (one - fz) + values[a, b, c + 1, n] * fz) * (
                        one - fy
                    ) + (values[a, b + 1, c, n] * (one - fz) + values[a, b + 1, c + 1, n] * fz) * fy
                    high = (
                        values[a + 1, b, c, n] * (one - fz) + values[a + 1, b, c + 1, n] * fz
                    ) * (one - fy) + (
                        values[a + 1, b + 1, c, n] * (one - fz)
                        + values[a + 1, b + 1, c + 1, n] * fz
                    ) * fy
                    out[i, j, k, n] = low * (one - fx) + high * fx
