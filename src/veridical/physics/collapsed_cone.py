"""Collapsed cones: energy that is released in a volume travels along straight lines and stays on
them (Ahnesjo A, Med Phys 1989;16:577, 10.1118/1.596360).

Each direction has one line through every voxel: lines step from plane to plane of the axis they are
nearest to, and are rounded to whole voxels aside. A voxel takes what its share of water stops;
energy is kept to rounding, apart from what leaves the volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from veridical.compiled import njit
from veridical.physics.photon_kernel import Cone
from veridical.types import Array

LEVELS = 1000
"""Levels of electron density to that of water."""
THINNEST, DENSEST = 0.001, 3.0
"""Relative electron density that is told from vacuum, and that of the densest bone; the kernel was
made for water, not for metal.
"""


def deposited(
    primary: Array, scatter: Array, density: Array, spacing: Sequence[float], cones: Iterable[Cone]
) -> Array:
    """Return the energy that each voxel takes, `(x, y, z)`, in the units of what was released.

    Args:
        primary, scatter: `(x, y, z)`, energy released in each voxel to electrons and to scattered
            photons.
        density: `(x, y, z)`, electron density relative to water.
        spacing: mm.
        cones: directions in which it leaves.
    """
    levels = np.clip(np.rint(density * LEVELS), THINNEST * LEVELS, DENSEST * LEVELS)
    whole: list[Array] = [np.asarray(levels, np.uint16), np.asarray(primary, np.float32)]
    whole.append(np.asarray(scatter, np.float32))
    steps = np.asarray(spacing, np.float64)
    grouped: dict[int, list[Cone]] = {}
    for cone in cones:
        grouped.setdefault(int(np.argmax(np.abs(cone.direction) / steps)), []).append(cone)
    found = np.zeros(density.shape, np.float32)
    for main, group in grouped.items():
        order = (main, *(axis for axis in range(3) if axis != main))
        volumes = [np.ascontiguousarray(one.transpose(order)) for one in whole]
        taken = np.zeros(volumes[0].shape, np.float32)
        for cone in group:
            travel = cone.direction[list(order)] / steps[list(order)]
            aside = travel[1:] / abs(travel[0])
            length = steps[main] / abs(cone.direction[main])
            tables = _tables(length, cone.primary), _tables(length, cone.scatter)
            _sweep(*volumes, taken, bool(travel[0] > 0), aside[0], aside[1], *tables)
        found += taken.transpose(np.argsort(order))
    return found


def _tables(length: float, part: tuple[float, float]) -> Array:
    """Return `(3, level)` of a voxel that a line crosses over so many mm: what it stops of what
    enters, and what of its own energy stays and leaves.
    """
    share, distance = part
    crossed = np.arange(int(DENSEST * LEVELS) + 1) / LEVELS * length / distance
    stopped = -np.expm1(-crossed)
    leaves = np.divide(stopped, crossed, out=np.ones_like(crossed), where=crossed > 0)
    return np.asarray([stopped, share * (1 - leaves), share * leaves], np.float32)


@njit(nogil=True, fastmath=True)
def _sweep(
    levels: Array,
    primary: Array,
    scatter: Array,
    taken: Array,
    onwards: bool,
    first: float,
    second: float,
    near: Array,
    far: Array,
) -> None:
    """Add to `taken` what one direction brings; axis 0 is the one that lines step along."""
    planes, rows, columns = levels.shape
    electrons = np.zeros((rows, columns), np.float32)
    photons = np.zeros((rows, columns), np.float32)
    before_i, before_j = 0, 0
    for step in range(planes):
        k = step if onwards else planes - 1 - step
        at_i, at_j = int(np.rint(step * first)), int(np.rint(step * second))
        if at_i != before_i:  # lines that left on one side enter empty on the other
            line = ((0 if at_i > before_i else rows - 1) - at_i) % rows
            electrons[line], photons[line] = 0, 0
        if at_j != before_j:
            line = ((0 if at_j > before_j else columns - 1) - at_j) % columns
            electrons[:, line], photons[:, line] = 0, 0
        before_i, before_j = at_i, at_j
        begin = at_j % columns
        for i in range(rows):
            row = (i - at_i) % rows
            for j in range(columns):
                column = j - begin
                if column < 0:
                    column += columns
                level = levels[k, i, j]
                carried, own = electrons[row, column], primary[k, i, j]
                stopped = carried * near[0, level]
                gained = stopped + own * near[1, level]
                electrons[row, column] = carried - stopped + own * near[2, level]
                carried, own = photons[row, column], scatter[k, i, j]
                stopped = carried * far[0, level]
                photons[row, column] = carried - stopped + own * far[2, level]
                taken[k, i, j] += gained + stopped + own * far[1, level]
