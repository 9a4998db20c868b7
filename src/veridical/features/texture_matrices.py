"""The matrices that texture features are read from: grey levels discretised, and what lies beside
what, counted.

Definitions as in the IBSI reference manual, arXiv 1612.07003: discretisation in 2.7, matrices in
3.6 to 3.11, all at Chebyshev distance 1, zones 8- or 26-connected. Compiled loops over a padded
block of voxels, in which level 0 is what does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.compiled import njit
from veridical.errors import InputError, SettingError
from veridical.types import Array

MOST_LEVELS = 255
AROUND = np.array([(z, x, y) for z in (-1, 0, 1) for x in (-1, 0, 1) for y in (-1, 0, 1)])
DIRECTIONS = AROUND[14:]
"""The 13 directions `(z, x, y)` of space, each without its opposite; the first 4 are those of a
slice.
"""


@dataclass(frozen=True, eq=False)
class Levels:
    """A discretised region.

    Args: block: `(z + 2, x + 2, y + 2)` uint8, the region's bounding box with a rim of zeros; 0
        does not count. number: how many grey levels there are, whether they occur or not.
    """

    block: Array
    number: int

    @property
    def offsets(self) -> Array:
        """Return the steps in the flat block that the directions are."""
        _, nx, ny = self.block.shape
        return np.asarray(DIRECTIONS @ np.array([nx * ny, ny, 1]))

    @property
    def slices(self) -> list[tuple[int, int]]:
        """Return first and last place + 1 of every slice in the flat block."""
        size = self.block[0].size
        return [(z * size, (z + 1) * size) for z in range(1, len(self.block) - 1)]


def discretise(
    image: Array,
    mask: Array,
    window: tuple[float, float],
    levels: int = 32,
    width: float | None = None,
) -> Levels:
    """Return the grey levels of a region: a fixed number of bins over the window, or bins of fixed
    size.

    Args: image: real, `(x, y, z)`. mask: bool, `(x, y, z)`, at least one voxel. window: lowest and
        highest intensity; what lies outside of it belongs to the first and the last level. levels:
        number of bins, `floor(levels (x - low) / (high - low)) + 1` (IBSI 2.7, fixed bin number).
        width: size of a bin in the image's unit, `floor((x - low) / width) + 1` (fixed bin size);
        replaces `levels`.

    Raises:
        SettingError: fewer than 1 or more than 255 levels.
    """
    low, high = window
    if width is not None:
        levels = int(np.floor((high - low) / width)) + 1 if width > 0 else 0
    if not 1 <= levels <= MOST_LEVELS:
        raise SettingError(
            f"{levels} grey levels were asked for; expected 1 to {MOST_LEVELS}. Change levels, or "
            "the width of a bin, which "
            f"divides the window {low:g} to {high:g}."
        )
    step = (high - low) / levels if width is None else width
    box = tuple(_extent(np.asarray(mask.any(axis=axes))) for axes in ((1, 2), (0, 2), (0, 1)))
    inside = mask[box]
    binned = np.clip(np.floor((image[box][inside].astype(np.float64) - low) / step) + 1, 1, levels)
    grey = np.zeros(inside.shape, dtype=np.uint8)
    grey[inside] = binned
    return Levels(np.pad(np.moveaxis(grey, 2, 0), 1), levels)


def _extent(occupied: Array) -> slice:
    found = np.flatnonzero(occupied)
    return slice(int(found[0]), int(found[-1]) + 1)


def cooccurrences(levels: Levels, slicewise: bool) -> Array:
    """Return symmetric grey level co-occurrence counts (IBSI 3.6), int64.

    Returns: `(slice, direction, level, level)`: every slice with 4 directions, or the volume as one
        with 13.

    Raises:
        InputError: no voxel of the region has a neighbour in it.
    """
    flat, (offsets, ranges) = levels.block.ravel(), _scope(levels, slicewise)
    counts = np.array([_pairs(flat, offsets, first, last, levels.number) for first, last in ranges])
    if not counts.any():
        raise InputError(
            "No two voxels of the region touch each other, so that it has no texture. Give a "
            "larger mask."
        )
    return np.asarray(counts + np.swapaxes(counts, 2, 3))


def run_lengths(levels: Levels, slicewise: bool) -> Array:
    """Return how many runs of equal level there are by length (IBSI 3.7), int64.

    Returns: `(slice, direction, level, length)`, lengths from 1, slices and directions as in
        `cooccurrences`.
    """
    flat, (offsets, ranges) = levels.block.ravel(), _scope(levels, slicewise)
    longest = max(levels.block.shape)
    return np.array(
        [_runs(flat, offsets, first, last, levels.number, longest) for first, last in ranges]
    )


def zones(levels: Levels, slicewise: bool) -> list[Array]:
    """Return the zones of connected voxels of one level (IBSI 3.8 and 3.9).

    Returns: For every slice, or once for the volume, `(zone, 3)`: level, number of voxels, and
        distance to the region's border (in steps over faces; 1 at the border).
    """
    flat, (offsets, ranges) = levels.block.ravel(), _scope(levels, slicewise)
    _, nx, ny = levels.block.shape
    faces = np.array([1, ny] if slicewise else [1, ny, nx * ny])
    return [_zones(flat, offsets, faces, first, last) for first, last in ranges]


def neighbourhoods(levels: Levels, slicewise: bool) -> tuple[Array, Array]:
    """Return what the neighbours of the voxels of each level are like, for every slice or once for
    the volume.

    Returns: Grey tone differences (IBSI 3.10) `(slice, 2, level)`: number of voxels that have
        neighbours, and their summed absolute difference from the neighbours' mean. Grey level
        dependences (IBSI 3.11, coarseness 0) `(slice, level, k)`: number of voxels of which k, from
        0, neighbours have the same level.
    """
    flat, (offsets, ranges) = levels.block.ravel(), _scope(levels, slicewise)
    both = np.concatenate([offsets, -offsets])
    found = [_around(flat, both, first, last, levels.number) for first, last in ranges]
    return np.array([tones for tones, _ in found]), np.array(
        [dependences for _, dependences in found]
    )


def _scope(levels: Levels, slicewise: bool) -> tuple[Array, list[tuple[int, int]]]:
    slices = levels.slices
    return (
        (levels.offsets[:4], slices)
        if slicewise
        else (levels.offsets, [(slices[0][0], slices[-1][1])])
    )


@njit(nogil=True)
def _pairs(flat: Array, offsets: Array, first: int, last: int, number: int) -> Array:
    counts = np.zeros((len(offsets), number + 1, number + 1), dtype=np.int64)
    for at in range(first, last):
        level = flat[at]
        if level > 0:
            for direction in range(len(offsets)):
                counts[direction, level, flat[at + offsets[direction]]] += 1
    return counts[:, 1:, 1:].copy()


@njit(nogil=True)
def _runs(flat: Array, offsets: Array, first: int, last: int, number: int, longest: int) -> Array:
    counts = np.zeros((len(offsets), number, longest), dtype=np.int64)
    for at in range(first, last):
        level = flat[at]
        if level == 0:
            continue
        for direction in range(len(offsets)):
            step = offsets[direction]
            if flat[at - step] == level:
                continue
            length = 1
            while flat[at + length * step] == level:
                length += 1
            counts[direction, level - 1, length - 1] += 1
    return counts


@njit(nogil=True)
def _around(flat: Array, offsets: Array, first: int, last: int, number: int) -> tuple[Array, Array]:
    tones = np.zeros((2, number))
    dependences = np.zeros((number, len(offsets) + 1), dtype=np.int64)
    for at in range(first, last):
        level = np.int64(flat[at])
        if level == 0:
            continue
        total, neighbours, equal = 0, 0, 0
        for index in range(len(offsets)):
            other = np.int64(flat[at + offsets[index]])
            total += int(other)
            neighbours += 1 if other > 0 else 0
            equal += 1 if other == level else 0
        dependences[level - 1, equal] += 1
        if neighbours > 0:
            tones[0, level - 1] += 1
            tones[1, level - 1] += abs(level - total / neighbours)
    return tones, dependences


@njit(nogil=True)
def _root(parents: Array, place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


@njit(nogil=True)
def _depths(flat: Array, faces: Array, first: int, last: int) -> Array:
    """Return the steps over faces from each place to the nearest one that does not count; two
    sweeps are exact.
    """
    depths = np.zeros(last - first, dtype=np.int32)
    for at in range(first, last):
        if flat[at] > 0:
            least = last - first
            for step in faces:
                before = at - step - first
                least = min(least, depths[before] if before >= 0 else 0)
            depths[at - first] = least + 1
    for at in range(last - 1, first - 1, -1):
        if flat[at] > 0:
            for step in faces:
                after = at + step - first
                depths[at - first] = min(
                    depths[at - first], 1 + (depths[after] if after < last - first else 0)
                )
    return depths


@njit(nogil=True)
def _zones(flat: Array, offsets: Array, faces: Array, first: int, last: int) -> Array:
    parents = np.arange(last - first, dtype=np.int32)
    for at in range(first, last):
        level = flat[at]
        if level == 0:
            continue
        for step in offsets:
            if flat[at - step] == level:
                mine, other = _root(parents, at - first), _root(parents, at - step - first)
                parents[max(mine, other)] = min(mine, other)
    depths = _depths(flat, faces, first, last)
    sizes = np.zeros(last - first, dtype=np.int32)
    count = 0
    for place in range(last - first):
        if flat[first + place] > 0:
            root = _root(parents, place)
            count += root == place
            sizes[root] += 1
            depths[root] = min(depths[root], depths[place])
    found = np.empty((count, 3), dtype=np.int64)
    count = 0
    for place in range(last - first):
        if sizes[place] > 0:
            found[count, 0], found[count, 1], found[count, 2] = (
                flat[first + place],
                sizes[place],
                depths[place],
            )
            count += 1
    return found
