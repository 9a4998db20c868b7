"""From an image to raw data: coil sensitivities by Biot-Savart, bias, smooth phase, wrap-around, resolution, noise.

Coil `c` sees `maps[c] x image`; its receive sensitivity is `Bx - i By` of the field of a current loop, by reciprocity (Hoult and
Richards, J Magn Reson 1976, 10.1016/0022-2364(76)90233-X).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from veridical.errors import GeometryError
from veridical.types import Array

Complex = NDArray[np.complex64]
COARSE = 24


@dataclass(frozen=True, eq=False)
class Acquisition:
    """A fully sampled multi-coil scan and its truth.

    Args:
        kspace: `(coil, ky, kx)` complex64, centred, with noise, orthonormal Fourier scaling; zero outside the acquired window.
        coil_images: `(coil, y, x)` complex64: what the coils would have seen in the same window without noise.
        image: `(y, x)` complex64: object with bias and phase before the coils, on the measured grid. Where the object wraps around,
            the copies are added with the weights of no coil: use `coil_images` there.
        maps: `(set, coil, y, x)` complex64 of unit root sum of squares where the object is: one set, or three when it wraps
            around (the middle of the object, what comes in from above, from below).
        window: `(ky, kx)` bool, which part of k-space was acquired.
        noise: standard deviation of the noise per real component and sample, equal in all coils before correlation.
    """

    kspace: Complex
    coil_images: Complex
    image: Complex
    maps: Complex
    window: NDArray[np.bool_]
    noise: float


def scan(
    image: Array,
    rng: np.random.Generator,
    coils: int = 8,
    noise: float = 0.01,
    matrix: tuple[int, int] | None = None,
    acquired: tuple[float, float] = (1.0, 1.0),
    bias: float = 0.15,
) -> Acquisition:
    """Scan an image with an array of receive coils.

    Args:
        image: `(y, x)` real, as `render` gives it.
        rng: draws coils, bias, phase and noise.
        coils: number of receive coils on a ring about the head.
        noise: standard deviation per real component and coil, relative to the 99th percentile of the image.
        matrix: `(y, x)` of the field of view, not larger than the image; smaller than the object makes it wrap around.
        acquired: share of k-space acquired along `(ky, kx)`, centred; the rest is zero.
        bias: strength of the transmit inhomogeneity, standard deviation of its logarithm.

    Raises:
        GeometryError: the matrix is larger than the image.
    """
    matrix = (image.shape[0], image.shape[1]) if matrix is None else matrix
    if matrix[0] > image.shape[0] or matrix[1] > image.shape[1]:
        raise GeometryError(f"A matrix {matrix} was asked for, the image is {image.shape}; ask for at most the image's size.")
    shape = (image.shape[0], image.shape[1])
    scale = max(float(np.percentile(image, 99)), 1e-6)
    sensitivity = coil_maps(rng, shape, coils)
    complex_image = image * np.exp(_smooth(rng, shape, 3, bias) + 1j * phase(rng, shape))
    seen = (sensitivity * complex_image).astype(np.complex64)
    window = _window(matrix, acquired)
    clean = _kspace(_fold(seen, matrix)) * window
    raw = rng.standard_normal((coils, *matrix, 2), dtype=np.float32).view(np.complex64)[..., 0]
    correlated = np.tensordot(_correlation(rng, coils), raw, 1)
    kspace = (clean + np.float32(noise * scale) * correlated * window).astype(np.complex64)
    limited = _image(clean) if not window.all() else _fold(seen, matrix)
    sets = _parts(sensitivity, matrix)
    return Acquisition(kspace, limited, _fold(complex_image.astype(np.complex64)[None], matrix)[0], sets, window, noise * scale)


def coil_maps(rng: np.random.Generator, shape: tuple[int, int], coils: int) -> Complex:
    """Return receive sensitivities `(coil, y, x)` of loops on a ring about the field of view, root sum of squares 1."""
    axis = np.linspace(-1, 1, COARSE)
    points = np.stack([*np.meshgrid(axis, axis, indexing="ij"), np.full((COARSE, COARSE), rng.uniform(-0.3, 0.3))], -1)
    angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi * (np.arange(coils) + rng.uniform(-0.15, 0.15, coils)) / coils
    distance = rng.uniform(1.15, 1.5, coils)
    radius = rng.uniform(0.4, 0.75) * np.sqrt(8 / max(coils, 4)) * np.ones(coils)
    height = rng.uniform(-0.5, 0.5, coils)
    field = _loops(points.reshape(-1, 3), angles, distance, radius, height).reshape(coils, COARSE, COARSE)
    field = field * np.exp(1j * rng.uniform(0, 2 * np.pi, (coils, 1, 1)))
    rows, columns = _upsampler(COARSE, shape[0]), _upsampler(COARSE, shape[1])
    maps = rows @ field.astype(np.complex64) @ columns.T
    if coils == 1:
        return np.asarray(maps / np.abs(maps).max(), np.complex64)
    return np.asarray(maps / np.sqrt((np.abs(maps) ** 2).sum(0)), np.complex64)


def phase(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Return a smooth phase map `(y, x)` in radians: a constant, a slope of up to a few cycles, and low-frequency detail."""
    y, x = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])[None, :]
    slope = rng.normal(0, 1.5, 2)
    detail = _smooth(rng, shape, 5, rng.uniform(0.2, 0.8))
    return np.asarray(rng.uniform(-np.pi, np.pi) + slope[0] * y + slope[1] * x + detail, np.float32)


@numba.njit(cache=True, nogil=True)
def _loops(points, angles, distance, radius, height):  # type: ignore[no-untyped-def]
    """Return `Bx - i By` of circular loops that face the axis, `(coil, point)`, by the sum over straight segments."""
    segments = 24
    out = np.zeros((len(angles), len(points)), np.complex64)
    for c in range(len(angles)):
        ca, sa = np.cos(angles[c]), np.sin(angles[c])
        for n in range(segments):
            t = 2 * np.pi * (n + 0.5) / segments
            ct, st = np.cos(t) * radius[c], np.sin(t) * radius[c]
            sx, sy, sz = distance[c] * ca - sa * ct, distance[c] * sa + ca * ct, height[c] + st
            dx, dy, dz = sa * st, -ca * st, ct
            for p in range(len(points)):
                rx, ry, rz = points[p, 0] - sx, points[p, 1] - sy, points[p, 2] - sz
                cube = (rx * rx + ry * ry + rz * rz + 0.01) ** 1.5
                bx, by = (dy * rz - dz * ry) / cube, (dz * rx - dx * rz) / cube
                out[c, p] += bx - 1j * by
    return out


@cache
def _upsampler(size: int, to: int) -> NDArray[np.float32]:
    """Return the matrix `(to, size)` of cubic spline interpolation that keeps the end points."""
    positions = np.linspace(0, size - 1, to)
    columns = [ndimage.map_coordinates(np.eye(size)[i], [positions], order=3, mode="nearest") for i in range(size)]
    return np.asarray(np.stack(columns, 1), np.float32)


def _smooth(rng: np.random.Generator, shape: tuple[int, int], knots: int, strength: float) -> Array:
    coarse = rng.normal(0, strength, (knots, knots)).astype(np.float32)
    return np.asarray(_upsampler(knots, shape[0]) @ coarse @ _upsampler(knots, shape[1]).T)


def _correlation(rng: np.random.Generator, coils: int) -> Complex:
    """Return the Cholesky factor of a noise covariance with unit diagonal and a few tenths between coils."""
    mixing = np.eye(coils) + 0.12 * (rng.standard_normal((coils, coils)) + 1j * rng.standard_normal((coils, coils)))
    covariance = mixing @ mixing.conj().T
    deviation = np.sqrt(np.diag(covariance).real)
    return np.asarray(np.linalg.cholesky(covariance / np.outer(deviation, deviation)), np.complex64)


def _window(matrix: tuple[int, int], acquired: tuple[float, float]) -> NDArray[np.bool_]:
    keep = [np.abs(np.arange(n) - n // 2) <= share * n / 2 for n, share in zip(matrix, acquired, strict=True)]
    return np.asarray(keep[0][:, None] & keep[1][None, :])


def _fold(images: Complex, matrix: tuple[int, int]) -> Complex:
    """Let what lies outside the central `matrix` wrap around."""
    for axis, size in zip((-2, -1), matrix, strict=True):
        have = images.shape[axis]
        if have == size:
            continue
        start = have // 2 - size // 2
        target = (np.arange(have) - start) % size
        moved = np.moveaxis(images, axis, 0)
        folded = np.zeros((size, *moved.shape[1:]), images.dtype)
        np.add.at(folded, target, moved)
        images = np.moveaxis(folded, 0, axis)
    return images


def _parts(maps: Complex, matrix: tuple[int, int]) -> Complex:
    """Return the maps of the field of view, and where the first axis is folded those of what comes in from above and below."""
    rows, columns = matrix
    top, left = maps.shape[-2] // 2 - rows // 2, maps.shape[-1] // 2 - columns // 2
    return maps[None, :, top : top + rows, left : left + columns]


def _kspace(images: Complex) -> Complex:
    axes = (-2, -1)
    return np.asarray(fft.fftshift(fft.fft2(fft.ifftshift(images, axes), norm="ortho"), axes))


def _image(kspace: Complex) -> Complex:
    axes = (-2, -1)
    return np.asarray(fft.fftshift(fft.ifft2(fft.ifftshift(kspace, axes), norm="ortho"), axes))
