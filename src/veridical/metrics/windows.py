"""Local means under sliding windows, compiled: what SSIM and MS-SSIM are made of, plane by plane in
a few rows of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from veridical.compiled import njit
from veridical.errors import GeometryError, SettingError
from veridical.types import Array

Window = Literal["uniform", "gaussian"]
RADIUS = {"uniform": 3, "gaussian": 5}
SIGMA = 1.5
K1, K2 = 0.01, 0.03
BLOCKS = 8
"""Parts that a volume is summed in, whatever the number of threads, so that the sum is always the
same to the last bit.
"""
SHORT = 32
"""An axis of no more voxels than this is never made the fastest: loops along it would not fill the
vector registers.
"""

_fast = {"nogil": True, "fastmath": {"contract", "reassoc"}, "error_model": "numpy"}


@dataclass(frozen=True)
class Kernel:
    """A separable window.

    Args: taps: one array of weights an axis, of odd length, with sum 1; `[1.0]` where the window
        does not extend. unbiased: what variances are multiplied by: n / (n - 1) for sample
        variances, 1 for population variances.
    """

    taps: tuple[Array, Array, Array]
    unbiased: float

    @property
    def radii(self) -> tuple[int, int, int]:
        """How far the window reaches along each axis."""
        a, b, c = (taps.size // 2 for taps in self.taps)
        return a, b, c


def kernel(window: Window, dimensions: int, axes: int) -> Kernel:
    """Return the window over `(x, y, z)`.

    Args: window: `uniform`, 7 wide with sample variances, or `gaussian`, sigma 1.5 and 11 wide with
        population variances. dimensions: 2: in the x-y plane; 3: a cube. axes: of the array that it
        is for.

    Raises:
        SettingError: an unknown window, or other dimensions than the array has.
    """
    if window not in RADIUS:
        raise SettingError(f"No SSIM window is called {window!r}. Known: {', '.join(RADIUS)}.")
    if axes not in (2, 3, 4) or dimensions not in (2, 3) or dimensions > min(axes, 3):
        raise SettingError(
            f"Windows of {dimensions} dimensions were asked for on an array with {axes} axes; "
            "expected 2 or 3 of the "
            "spatial axes of (x, y), (x, y, z) or (channel, x, y, z)."
        )
    radius = RADIUS[window]
    offsets = np.arange(-radius, radius + 1)
    weights = (
        np.ones(offsets.size) if window == "uniform" else np.exp(-0.5 * (offsets / SIGMA) ** 2)
    )
    weights /= weights.sum()
    voxels = float(offsets.size**dimensions)
    return Kernel(
        (weights, weights, weights if dimensions == 3 else np.ones(1)),
        voxels / (voxels - 1) if window == "uniform" else 1.0,
    )


def stacked(array: Array) -> Array:
    """Return `(x, y)`, `(x, y, z)` or `(channel, x, y, z)` as `(channel, x, y, z)`, without a
    copy.
    """
    return (
        array.reshape((1,) * (4 - array.ndim) + array.shape)
        if array.ndim > 2
        else array[None, :, :, None]
    )


def valid(shape: tuple[int, ...], window: Kernel) -> tuple[int, int, int]:
    """Return the number of positions along each axis where the window lies inside `(x, y, z)`.

    Raises:
        GeometryError: there is none.
    """
    a, b, c = (n - 2 * r for n, r in zip(shape, window.radii, strict=True))
    if min(a, b, c) < 1:
        widths = [taps.size for taps in window.taps if taps.size > 1]
        raise GeometryError(
            f"An image of shape {tuple(shape)} was given; the window is {widths[0]} wide along "
            f"each of {len(widths)} axes. "
            "Give a larger image, or dimensions=2."
        )
    return a, b, c


def similarity(
    x: Array, y: Array, counted: Array, window: Kernel, peak: float
) -> tuple[float, float]:
    """Return the sums of the structural similarity, and of its contrast-structure factor, over the
    positions that count.

    Only what the windows of the counted positions reach is read.

    Args:
        x, y: real, `(x, y, z)`.
        counted: bool, `valid(x.shape, window)`, with at least one true value.
        window: from `kernel`.
        peak: the data range.
    """
    box = bounds(counted)
    reach = tuple(
        slice(part.start, part.stop + 2 * r) for part, r in zip(box, window.radii, strict=True)
    )
    job = _Job(x[reach], y[reach], window, peak)
    kept = np.ascontiguousarray(counted[box].transpose(job.order))
    nothing = np.empty((0, 0, 0))
    parts = job.run(
        lambda low, high: _similarity(
            job.x, job.y, kept, *job.taps, job.numbers, nothing, low, high
        )
    )
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def similarity_map(x: Array, y: Array, window: Kernel, peak: float) -> Array:
    """Return the structural similarity at every valid position, float64. Arguments as of
    `similarity`.
    """
    job = _Job(x, y, window, peak)
    shape = tuple(n - taps.size + 1 for n, taps in zip(job.x.shape, job.taps, strict=True))
    found, kept = np.empty(shape), np.ones(shape, dtype=bool)
    job.run(
        lambda low, high: _similarity(job.x, job.y, kept, *job.taps, job.numbers, found, low, high)
    )
    return np.asarray(found.transpose(np.argsort(job.order)))


def bounds(mask: Array) -> tuple[slice, ...]:
    """Return the smallest box that holds all true values of a mask that has some."""
    box = []
    for axis in range(mask.ndim):
        places = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(box)


class _Job:
    """Two volumes laid out for the compiled loops: axes from the slowest to the fastest, float32 or
    float64.
    """

    def __init__(self, x: Array, y: Array, window: Kernel, peak: float) -> None:
        steps = [
            abs(step) if n > SHORT else np.inf for step, n in zip(y.strides, y.shape, strict=True)
        ]
        self.order = sorted(range(3), key=lambda axis: -steps[axis])
        exact = all(np.can_cast(array.dtype, np.float32) for array in (x, y))
        dtype = np.float32 if exact else np.float64
        self.x, self.y = (
            np.ascontiguousarray(array.transpose(self.order), dtype=dtype) for array in (x, y)
        )
        self.taps = [window.taps[axis] for axis in self.order]
        offsets = [float(array.ravel()[::97].mean(dtype=np.float64)) for array in (self.x, self.y)]
        self.numbers = np.array([*offsets, window.unbiased, (K1 * peak) ** 2, (K2 * peak) ** 2])

    def run(self, work: Callable[[int, int], tuple[float, float]]) -> list[tuple[float, float]]:
        """Call `work(low, high)` for blocks of planes on as many threads as torch uses."""
        planes = self.x.shape[0] - self.taps[0].size + 1
        blocks = min(BLOCKS, planes)
        edges = [planes * i // blocks for i in range(blocks + 1)]
        threads = min(torch.get_num_threads(), blocks)
        if threads == 1:
            return list(map(work, edges[:-1], edges[1:]))
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, edges[:-1], edges[1:]))


@njit(**_fast)
def _similarity(
    x: Array,
    y: Array,
    counted: Array,
    slow: Array,
    middle: Array,
    fast: Array,
    numbers: Array,
    found: Array,
    low: int,
    high: int,
) -> tuple[float, float]:
    """Sum over the planes `low` to `high` of positions, and write the map into `found` unless it is
    empty.

    For each row of voxels: means along the slowest axis from the volumes, along the middle axis
    from a ring of the latest such rows, along the fastest axis within the row. A row is the means
    of x, y, x^2 + y^2 and x y, one after the other.

    Args: x, y: `(a, b, c)`, contiguous. counted: bool, the positions that count. slow, middle,
        fast: taps along a, b, c. numbers: what is subtracted of x and of y against cancellation,
        factor for unbiased variances, c1, c2.
    """
    length, deep = x.shape[2], middle.size
    ring = np.empty((deep, 4 * length))
    across, along, line = np.empty(4 * length), np.empty(4 * length), np.empty(counted.shape[2])
    similar = structure = 0.0
    for plane in range(low, high):
        first, last = 0, counted.shape[1] - 1
        while first <= last and not counted[plane, first].any():
            first += 1
        while last > first and not counted[plane, last].any():
            last -= 1
        for row in range(first, last + deep if first <= last else first):
            _from_planes(x, y, plane, row, slow, numbers, ring[row % deep].reshape(4, length))
            position = row - deep + 1
            if position < first or not counted[plane, position].any():
                continue
            _from_rows(ring, position, middle, across)
            _within_row(across, fast, along)
            sums = _factors(along.reshape(4, length), counted[plane, position], numbers, line)
            similar += sums[0]
            structure += sums[1]
            if found.size:
                found[plane, position] = line
    return similar, structure


@njit(**_fast)
def _from_planes(
    x: Array, y: Array, plane: int, row: int, taps: Array, numbers: Array, out: Array
) -> None:
    """Average a row over the planes that the window reaches; taps are symmetric, so two planes at a
    time.
    """
    radius = taps.size // 2
    dx, dy = numbers[0], numbers[1]
    mean_x, mean_y, squares, product = out[0], out[1], out[2], out[3]
    x0, y0, weight = x[plane + radius, row], y[plane + radius, row], taps[radius]
    for c in range(x0.size):
        u, v = np.float64(x0[c]) - dx, np.float64(y0[c]) - dy
        mean_x[c] = weight * u
        mean_y[c] = weight * v
        squares[c] = weight * (u * u + v * v)
        product[c] = weight * (u * v)
    for tap in range(radius):
        before, after, weight = plane + tap, plane + 2 * radius - tap, taps[tap]
        x1, y1, x2, y2 = x[before, row], y[before, row], x[after, row], y[after, row]
        for c in range(x1.size):
            u, v = np.float64(x1[c]) - dx, np.float64(y1[c]) - dy
            s, t = np.float64(x2[c]) - dx, np.float64(y2[c]) - dy
            mean_x[c] += weight * (u + s)
            mean_y[c] += weight * (v + t)
            squares[c] += weight * (u * u + v * v + s * s + t * t)
            product[c] += weight * (u * v + s * t)


@njit(**_fast)
def _from_rows(ring: Array, first: int, taps: Array, out: Array) -> None:
    """Average the rows of the ring, of which the one called `first` is the oldest."""
    width = taps.size
    middle, weight = ring[(first + width // 2) % width], taps[width // 2]
    for k in range(out.size):
        out[k] = weight * middle[k]
    for tap in range(width // 2):
        one, other, weight = (
            ring[(first + tap) % width],
            ring[(first + width - 1 - tap) % width],
            taps[tap],
        )
        for k in range(out.size):
            out[k] += weight * (one[k] + other[k])


@njit(**_fast)
def _within_row(row: Array, taps: Array, out: Array) -> None:
    """Average along the row; at the end of each of the four parts, windows that reach into the next
    mean nothing.
    """
    width = taps.size
    last = row.size - width + 1
    middle, weight = row[width // 2 :], taps[width // 2]
    for k in range(last):
        out[k] = weight * middle[k]
    for tap in range(width // 2):
        one, other, weight = row[tap:], row[width - 1 - tap :], taps[tap]
        for k in range(last):
            out[k] += weight * (one[k] + other[k])


@njit(**_fast)
def _factors(means: Array, counted: Array, numbers: Array, line: Array) -> tuple[float, float]:
    """Write the similarity of a row of positions into `line`; return its sum and that of the
    contrast-structure factor.
    """
    dx, dy, unbiased, c1, c2 = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    mean_x, mean_y, squares, product = means[0], means[1], means[2], means[3]
    similar = structure = 0.0
    for c in range(line.size):
        u, v = mean_x[c], mean_y[c]
        variances = unbiased * (squares[c] - u * u - v * v)
        covariance = unbiased * (product[c] - u * v)
        factor = (2 * covariance + c2) / (variances + c2)
        s, t = u + dx, v + dy
        value = factor * (2 * s * t + c1) / (s * s + t * t + c1)
        line[c] = value
        similar += value if counted[c] else 0.0
        structure += factor if counted[c] else 0.0
    return similar, structure
