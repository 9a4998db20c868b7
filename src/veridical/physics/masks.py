"""Cartesian sampling masks over `(ky, kx)`: which samples a scan takes. 1D masks vary along the
last axis (phase encoding).

`acquired` limits every pattern to the columns (or the centred block) that a scanner would cover;
what lies outside is never sampled, as in scans with reduced resolution along the phase-encoding
axis.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from veridical.errors import SettingError
from veridical.types import Array

Shape = tuple[int, int]


def centre_block(size: int, width: int) -> slice:
    """Return the slice of `width` samples about index `size // 2`."""
    start = size // 2 - width // 2
    return slice(max(0, start), min(size, start + width))


def uniform(
    shape: Shape, acceleration: int, acs: int = 24, offset: int = 0, acquired: slice | None = None
) -> Array:
    """Every `acceleration`-th column and `acs` central ones, as in GRAPPA.

    Returns: `(ky, kx)` bool. The net acceleration is lower than `acceleration`, since the centre is
        fully sampled.
    """
    _check(acceleration)
    columns = np.zeros(shape[1], dtype=bool)
    span = acquired or slice(0, shape[1])
    columns[np.arange(span.start, span.stop)[offset % acceleration :: acceleration]] = True
    columns[centre_block(shape[1], acs)] = True
    return np.broadcast_to(columns, shape).copy()


def variable_density(
    shape: Shape,
    acceleration: float,
    acs: int = 24,
    seed: int = 0,
    power: float = 2.0,
    acquired: slice | None = None,
) -> Array:
    """Random columns, denser near the centre: probability `(1 - |k|)^power`; the centre counts
    towards `acceleration`.

    Returns: `(ky, kx)` bool with `round(acquired columns / acceleration)` columns, or the centre
        alone when that is more.
    """
    _check(acceleration)
    generator = np.random.default_rng(seed)
    span = acquired or slice(0, shape[1])
    inside = np.arange(span.start, span.stop)
    columns = np.zeros(shape[1], dtype=bool)
    columns[centre_block(shape[1], acs)] = True
    outer = inside[~columns[inside]]
    more = min(len(outer), max(0, round(len(inside) / acceleration) - int(columns[inside].sum())))
    if more:
        distance = np.abs(outer - shape[1] // 2) / max(1, np.abs(inside - shape[1] // 2).max())
        weight = (1.0 - distance) ** power + 1e-3
        columns[generator.choice(outer, more, replace=False, p=weight / weight.sum())] = True
    return np.broadcast_to(columns, shape).copy()


def poisson_disc(
    shape: Shape, acceleration: float, acs: int = 24, seed: int = 0, slope: float = 2.0
) -> Array:
    """Variable-density Poisson disc in both directions (Bridson 2007, radius growing with |k|)
    inside an ellipse.

    Args:
        shape: `(ky, kx)`.
        acceleration: matrix size over number of samples, centre included; met to about 3 %.
        acs: side of the fully sampled centre.
        seed: of the pattern.
        slope: how much the radius grows from the centre to the edge.

    Returns:
        `(ky, kx)` bool.
    """
    _check(acceleration)
    generator = np.random.default_rng(seed)
    rows, columns = np.meshgrid(*[(np.arange(n) - n // 2) / (n / 2) for n in shape], indexing="ij")
    radius = np.hypot(rows, columns)
    order = generator.permutation(np.flatnonzero(radius.ravel() <= 1.0))
    centre = np.zeros(shape, dtype=bool)
    centre[centre_block(shape[0], acs), centre_block(shape[1], acs)] = True
    goal = rows.size / acceleration
    low, high = 0.2, 12.0
    best = centre
    for _ in range(12):
        scale = 0.5 * (low + high)
        best = np.zeros(shape, dtype=bool)
        _thrower()(order, scale * (1.0 + slope * radius) / (1.0 + slope), best)
        best |= centre
        if abs(best.sum() - goal) < 0.02 * goal:
            break
        low, high = (scale, high) if best.sum() > goal else (low, scale)
    return best


def partial_fourier(shape: Shape, fraction: float, axis: int = -1) -> Array:
    """The first `fraction` (0.5 to 1) of the samples along an axis; combine with another mask by
    `&`.
    """
    if not 0.5 <= fraction <= 1.0:
        raise SettingError(
            f"Partial Fourier fraction {fraction} was asked for; it must lie between 0.5 and 1."
        )
    mask = np.zeros(shape, dtype=bool)
    index = [slice(None), slice(None)]
    index[axis] = slice(0, int(np.ceil(fraction * shape[axis])))
    mask[tuple(index)] = True
    return mask


def fully_sampled_centre(mask: Array) -> tuple[slice, slice]:
    """Return the largest centred block without a gap, grown evenly along both axes and then along
    each alone.

    It has as many samples before the zero frequency as from it on, or is the whole axis.
    """
    rows, columns = mask.shape
    half = [0, 0]

    def reach(size: int, extent: int) -> slice:
        return slice(size // 2 - extent, size if extent == size // 2 else size // 2 + extent)

    def block(extent: list[int]) -> tuple[slice, slice]:
        return reach(rows, extent[0]), reach(columns, extent[1])

    for step in ((1, 1), (1, 0), (0, 1)):
        while True:
            grown = [half[0] + step[0], half[1] + step[1]]
            inside = (not step[0] or grown[0] <= rows // 2) and (
                not step[1] or grown[1] <= columns // 2
            )
            if not inside or not mask[block(grown)].all():
                break
            half = grown
    return block(half)


def _throw_darts(order: Array, radius: Array, taken: Array) -> None:
    """Accept points in the given order unless one already lies within their radius; fills
    `taken`.
    """
    rows, columns = taken.shape
    for flat in order:
        row, column = flat // columns, flat % columns
        reach = int(np.ceil(radius[row, column]))
        limit = radius[row, column] ** 2
        free = True
        for y in range(max(0, row - reach), min(rows, row + reach + 1)):
            for x in range(max(0, column - reach), min(columns, column + reach + 1)):
                if taken[y, x] and (y - row) ** 2 + (x - column) ** 2 < limit:
                    free = False
                    break
            if not free:
                break
        taken[row, column] = free


@cache
def _thrower() -> Any:
    """Return `_throw_darts` compiled; numba takes half a second to load, for which only this mask
    waits.
    """
    from veridical.compiled import njit

    return njit()(_throw_darts)


def _check(acceleration: float) -> None:
    if acceleration < 1:
        raise SettingError(
            f"Acceleration {acceleration} was asked for; it must be at least 1 (1: fully sampled)."
        )
