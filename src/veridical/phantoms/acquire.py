"""From an image to raw data: coil sensitivities by Biot-Savart, bias, smooth phase, wrap-around,
resolution, noise.

Coil `c` sees `maps[c] x image`; its receive sensitivity is `Bx - i By` of the field of a current
loop, by reciprocity (Hoult and Richards, J Magn Reson 1976, 10.1016/0022-2364(76)90233-X).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from veridical.compiled import njit
from veridical.errors import GeometryError, SettingError, nearest
from veridical.types import Array

Complex = NDArray[np.complex64]
COARSE = 24


Receive = Literal["loops", "gaussian"]
"""Coil models: current loops by Biot-Savart, or Gaussian profiles with polynomial phase."""


@dataclass(frozen=True, eq=False)
class Acquisition:
    """A fully sampled multi-coil scan and its truth.

    Args: kspace: `(coil, ky, kx)` complex64, centred, with noise, orthonormal Fourier scaling; zero
        outside the acquired window. coil_images: `(coil, y, x)` complex64: what the coils see in
        that window without noise. images: `(set, y, x)` complex64: the object with bias and phase
        at full resolution. One set where it fits into the field of view; where it wraps around,
        what lies inside and what comes in from outside, along each folded axis. maps: `(set, coil,
        y, x)` complex64, root sum of squares 1. With a full window the sum over sets of `maps x
        images` is `coil_images`. window: `(ky, kx)` bool, which part of k-space was acquired.
        noise: standard deviation of the noise per real component of each coil. covariance: `(coil,
        coil)` complex64, noise correlation between coils, unit diagonal.
    """

    kspace: Complex
    coil_images: Complex
    images: Complex
    maps: Complex
    window: NDArray[np.bool_]
    noise: float
    covariance: Complex


def scan(
    image: Array,
    rng: np.random.Generator,
    coils: int = 8,
    noise: float = 0.01,
    matrix: tuple[int, int] | None = None,
    acquired: tuple[float, float] = (1.0, 1.0),
    bias: float = 0.15,
    receive: Receive = "loops",
) -> Acquisition:
    """Scan an image with an array of receive coils.

    Args: image: `(y, x)` real, as `render` gives it. rng: draws coils, bias, phase and noise.
        coils: number of receive coils about the head. noise: standard deviation per real component
        and coil, relative to the 99th percentile of the image. matrix: `(y, x)` of the field of
        view in pixels of the image; smaller than the object makes it wrap around. acquired: share
        of k-space acquired along `(ky, kx)`, centred; the rest is zero. bias: strength of the
        transmit inhomogeneity, standard deviation of its logarithm. receive: the coil model.

    Raises:
        GeometryError: the matrix is larger than the image, or smaller than half of it.
    """
    shape = (image.shape[0], image.shape[1])
    matrix = shape if matrix is None else matrix
    if any(not (n <= have <= 2 * n) for n, have in zip(matrix, shape, strict=True)):
        raise GeometryError(
            f"A matrix {matrix} was asked for, the image is {shape}; ask for its size or down to "
            "half of it."
        )
    level = noise * max(float(np.percentile(image, 99)), 1e-6)
    sensitivity = coil_maps(rng, shape, coils, receive)
    strength = np.sqrt((np.abs(sensitivity) ** 2).sum(0))
    maps = (sensitivity / strength).astype(np.complex64)
    angle = phase(rng, shape, receive)
    field = strength / strength.mean() * np.exp(_smooth(rng, shape, 3, bias))
    object_ = (image * field * np.exp(1j * angle)).astype(np.complex64)
    window = _window(matrix, acquired)
    full = _fold(maps * object_, matrix)
    clean = _kspace(full) * window
    covariance = _covariance(rng, coils)
    raw = (
        rng.standard_normal((coils, *matrix, 2), dtype=np.float32).view(np.complex64)[..., 0]
        * window
    )
    correlated = np.tensordot(np.linalg.cholesky(covariance), raw, 1)
    return Acquisition(
        kspace=clean + np.float32(level) * correlated,
        coil_images=full if window.all() else _image(clean),
        images=np.stack(_parts(object_, matrix)),
        maps=np.stack(_parts(maps, matrix)),
        window=window,
        noise=level,
        covariance=covariance,
    )


def coil_maps(
    rng: np.random.Generator, shape: tuple[int, int], coils: int, receive: Receive = "loops"
) -> Complex:
    """Return receive sensitivities `(coil, y, x)` on a ring about the field of view, arbitrary
    units.

    Raises:
        SettingError: the coil model is unknown.
    """
    if receive not in ("loops", "gaussian"):
        raise SettingError(
            f"No coil model is called {receive!r}. {nearest(receive, ('loops', 'gaussian'))}"
        )
    axis = np.linspace(-1, 1, COARSE)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    angles = (
        rng.uniform(0, 2 * np.pi)
        + 2 * np.pi * (np.arange(coils) + rng.uniform(-0.15, 0.15, coils)) / coils
    )
    distance = rng.uniform(1.15, 1.5, coils)
    width = rng.uniform(0.4, 0.75) * np.sqrt(8 / max(coils, 4)) * np.ones(coils)
    if receive == "loops":
        points = np.stack([y, x, np.full_like(y, rng.uniform(-0.3, 0.3))], -1).reshape(-1, 3)
        field = _loops(points, angles, distance, width, rng.uniform(-0.5, 0.5, coils)).reshape(
            coils, COARSE, COARSE
        )
    else:
        u = np.cos(angles)[:, None, None] * y + np.sin(angles)[:, None, None] * x
        v = np.cos(angles)[:, None, None] * x - np.sin(angles)[:, None, None] * y
        slope, bend = rng.normal(0, 0.9, (2, 2, coils, 1, 1))
        angle = slope[0] * u + slope[1] * v + bend[0] * u * v + bend[1] * (u**2 - v**2) / 2
        reach = (width + 0.45)[:, None, None]
        field = (
            0.03 + np.exp(-((u - distance[:, None, None]) ** 2 + v**2) / (2 * reach**2))
        ) * np.exp(1j * angle)
    field = (field * np.exp(1j * rng.uniform(0, 2 * np.pi, (coils, 1, 1)))).astype(np.complex64)
    return np.asarray(
        _upsampler(COARSE, shape[0]) @ field @ _upsampler(COARSE, shape[1]).T, np.complex64
    )


def phase(rng: np.random.Generator, shape: tuple[int, int], receive: Receive = "loops") -> Array:
    """Return a smooth phase map `(y, x)` in radians: a constant, a slope and low-frequency detail.

    With `gaussian` coils the detail is a parabola and a local bump, as near an air cavity, in place
    of a spline.
    """
    y, x = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])[None, :]
    slope = rng.normal(0, 1.5, 2)
    plane = rng.uniform(-np.pi, np.pi) + slope[0] * y + slope[1] * x
    if receive == "loops":
        return np.asarray(plane + _smooth(rng, shape, 5, rng.uniform(0.2, 0.8)), np.float32)
    curve, where = rng.normal(0, 0.8, 2), rng.uniform(-0.6, 0.6, 2)
    bump = rng.normal(0, 1.0) * np.exp(
        -((y - where[0]) ** 2 + (x - where[1]) ** 2) / (2 * rng.uniform(0.15, 0.4) ** 2)
    )
    return np.asarray(plane + curve[0] * y**2 + curve[1] * x**2 + bump, np.float32)


@njit(nogil=True)
def _loops(points, angles, distance, radius, height):  # type: ignore[no-untyped-def]
    """Return `Bx - i By` of circular loops that face the axis, `(coil, point)`, by the sum over
    straight segments.
    """
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
    columns = [
        ndimage.map_coordinates(np.eye(size)[i], [positions], order=3, mode="nearest")
        for i in range(size)
    ]
    return np.asarray(np.stack(columns, 1), np.float32)


def _smooth(rng: np.random.Generator, shape: tuple[int, int], knots: int, strength: float) -> Array:
    coarse = rng.normal(0, strength, (knots, knots)).astype(np.float32)
    return np.asarray(_upsampler(knots, shape[0]) @ coarse @ _upsampler(knots, shape[1]).T)


def _covariance(rng: np.random.Generator, coils: int) -> Complex:
    """Return a noise covariance with unit diagonal and up to a few tenths between coils."""
    mixing = np.eye(coils) + 0.12 * (
        rng.standard_normal((coils, coils)) + 1j * rng.standard_normal((coils, coils))
    )
    covariance = mixing @ mixing.conj().T
    deviation = np.sqrt(np.diag(covariance).real)
    return np.asarray(covariance / np.outer(deviation, deviation), np.complex64)


def _window(matrix: tuple[int, int], acquired: tuple[float, float]) -> NDArray[np.bool_]:
    keep = [
        np.abs(np.arange(n) - n // 2) <= share * n / 2
        for n, share in zip(matrix, acquired, strict=True)
    ]
    return np.asarray(keep[0][:, None] & keep[1][None, :])


def _parts(array: Complex, matrix: tuple[int, int]) -> list[Complex]:
    """Split an array on its last two axes into what lies in the central `matrix` and what wraps
    into it.
    """
    parts = [array]
    for axis, size in zip((-2, -1), matrix, strict=True):
        have = array.shape[axis]
        if have == size:
            continue
        start = have // 2 - size // 2
        split = []
        for part in parts:
            moved = np.moveaxis(part, axis, 0)
            outside = np.zeros((size, *moved.shape[1:]), array.dtype)
            outside[size - start :] = moved[:start]
            outside[: have - start - size] = moved[start + size :]
            split += [
                np.moveaxis(moved[start : start + size], 0, axis),
                np.moveaxis(outside, 0, axis),
            ]
        parts = split
    return parts


def _fold(images: Complex, matrix: tuple[int, int]) -> Complex:
    """Let what lies outside the central `matrix` wrap around."""
    first, *others = _parts(images, matrix)
    return np.asarray(sum(others, start=first))


def _kspace(images: Complex) -> Complex:
    axes = (-2, -1)
    return np.asarray(fft.fftshift(fft.fft2(fft.ifftshift(images, axes), norm="ortho"), axes))


def _image(kspace: Complex) -> Complex:
    axes = (-2, -1)
    return np.asarray(fft.fftshift(fft.ifft2(fft.ifftshift(kspace, axes), norm="ortho"), axes))
