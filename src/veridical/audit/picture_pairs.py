"""Pairs of images that may be alike: which are worth registering, by which flip and zoom, and how
far apart they are after the shift of greatest cross-correlation.

All images of a set are compared at once, in batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from veridical.types import Array

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]
MARGIN = 6
"""Voxels by which images may be shifted against each other beyond their centres of brightness."""
TILE = 8
"""Voxels along each axis of a tile."""
KEPT = 0.5
"""Share of the parts, the best ones, that count: a copy may differ in the others."""
ZOOMS = (1.0, 0.8, 0.9, 1.1, 1.25)
"""Factors by which a crop may have been enlarged or an image shrunk."""
PLAIN = 0.1
"""Standard deviation in a tile, over that of the image, below which it shows nothing."""
SMOOTH = 0.7
"""Gaussian width in voxels of the small grid: noise and shifts of part of a voxel then matter
little.
"""
CANDIDATES = 4
"""Nearest images by each of the three measures that are registered, each of another patient."""
ACROSS = 3
"""Parts along each axis by which candidates are found: one changed block leaves half of them."""
BATCH = 1024
"""Pairs of slices that are registered at once; of volumes fewer by their number of planes."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Images and candidates, each with the change by which the two are most alike: `(pair,)`."""

    row: Numbers
    other: Numbers
    change: Numbers


@dataclass(frozen=True, eq=False)
class ChangedImages:
    """Images zoomed about their middle, `(zoom, image, *grid)`.

    Changes are numbered through the flips of one zoom after another.
    """

    zoomed: Floats
    flips: list[tuple[int, ...]]

    @classmethod
    def of(cls, small: Floats) -> ChangedImages:
        """Change images `(image, *grid)` in all ways."""
        zoomed = [np.stack([_zoomed(one, zoom) for one in small]) for zoom in ZOOMS]
        return cls(np.stack(zoomed), _flips(small.ndim - 1))

    def every(self, number: int) -> Floats:
        """Return all images after one change."""
        zoom, flip = divmod(number, len(self.flips))
        return np.asarray(np.flip(self.zoomed[zoom], tuple(axis + 1 for axis in self.flips[flip])))

    def some(self, row: Numbers, number: Numbers) -> Floats:
        """Return images `(pair, *grid)`, each after its change."""
        zoom, flip = np.divmod(number, len(self.flips))
        out = self.zoomed[zoom, row]
        for way, axes in enumerate(self.flips):
            out[flip == way] = np.flip(out[flip == way], tuple(axis + 1 for axis in axes))
        return np.asarray(out)


@dataclass(frozen=True, eq=False)
class Screen:
    """What candidates are found by: images at half resolution, whole and in parts, and features.

    Args:
        features: `(image, feature)`.
        patients: `(image,)`.
        whole, parts: `(part, image, voxel)`.
        order, starts: images sorted by patient, and where each patient's begin.
    """

    features: Floats
    patients: Numbers
    whole: Floats
    parts: Floats
    order: Numbers
    starts: Numbers

    @classmethod
    def of(cls, small: Floats, features: Floats, patients: Numbers) -> Screen:
        """Prepare a set of images `(image, *grid)`."""
        order = np.argsort(patients, kind="stable")
        starts = np.flatnonzero(np.diff(patients[order], prepend=-1))
        return cls(features, patients, _parts(small, 1), _parts(small, ACROSS), order, starts)

    def pairs(self, changed: ChangedImages, features: Floats, without: Numbers | None) -> Pairs:
        """Return the nearest candidates of images by each measure, of different patients.

        Args:
            changed: the images.
            features: theirs, `(image, feature)`.
            without: patient of each image, who is no candidate; None where all are.
        """
        middle, scale = self.features.mean(0), self.features.std(0) + 1e-6
        known, rows = ((one - middle) / scale for one in (self.features, features))
        apart = np.square(rows).sum(1)[:, None] - 2 * rows @ known.T + np.square(known).sum(1)
        alike, best = _best(changed, self.parts, ACROSS, len(ZOOMS))
        likeness, turned = _best(changed, self.whole, 1, 1)
        found: list[Numbers] = []
        for measure, ways in ((alike, best), (likeness, turned), (-apart, best)):
            if without is not None:
                measure[without[:, None] == self.patients] = -np.inf
            row, other = self._nearest(measure, len(self.starts) - (without is not None))
            found.append(np.stack([row, other, ways[row, other]]))
        return Pairs(*np.unique(np.concatenate(found, axis=1), axis=1))

    def _nearest(self, measure: Floats, patients: int) -> tuple[Numbers, Numbers]:
        """Return rows, and the nearest image of each of the nearest patients."""
        ordered = measure[:, self.order]
        most = np.maximum.reduceat(ordered, self.starts, axis=1)
        count = min(CANDIDATES, patients)
        chosen = np.argpartition(-most, count - 1, axis=1)[:, :count].ravel()
        row = np.repeat(np.arange(len(measure)), count)
        ends = np.append(self.starts[1:], len(self.order))
        place = [
            self.starts[one] + int(ordered[at, self.starts[one] : ends[one]].argmax())
            for at, one in zip(row, chosen, strict=True)
        ]
        return row, self.order[place]


def _zoomed(image: Floats, zoom: float) -> Floats:
    if zoom == 1:
        return image
    step = np.full(image.ndim, 1 / zoom)
    corner = (np.array(image.shape) - 1) / 2 * (1 - step)
    return np.asarray(
        ndimage.affine_transform(image, step, corner, order=1, cval=float(image.min()))
    )


def _flips(dimensions: int) -> list[tuple[int, ...]]:
    """Return all sets of axes along which an image can be flipped."""
    chosen = product((False, True), repeat=dimensions)
    return [tuple(axis for axis, flip in enumerate(each) if flip) for each in chosen]


def _best(
    changed: ChangedImages, others: Floats, across: int, zooms: int
) -> tuple[Floats, Numbers]:
    """Return the greatest likeness over the first zooms and all flips, `(image, other)`, and by
    which change it is.
    """
    alike = np.full((changed.zoomed.shape[1], others.shape[1]), -np.inf, np.float32)
    best = np.zeros(alike.shape, np.int64)
    for number in range(zooms * len(changed.flips)):
        parts = _parts(changed.every(number), across)
        found = np.sort(parts @ others.transpose(0, 2, 1), axis=0)
        found = found[len(found) // 2 :].mean(0)
        better = found > alike
        alike[better], best[better] = found[better], number
    return alike, best


def _parts(small: Array, across: int) -> Floats:
    """Return images at half resolution, cut into `across` parts along each axis, each of mean 0 and
    norm 1: `(part, image, voxel)`.
    """
    pooled = small
    for axis in range(1, small.ndim):
        even, odd = (np.take(pooled, range(n, pooled.shape[axis], 2), axis) for n in (0, 1))
        pooled = even + odd
    parts = [pooled]
    for axis in range(1, small.ndim):
        parts = [half for part in parts for half in np.split(part, across, axis)]
    rows = np.stack([part.reshape(len(small), -1) for part in parts])
    rows = rows - rows.mean(-1, keepdims=True)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-6), np.float32)


def smooth(small: Array) -> Floats:
    """Return smoothed images `(image, *grid)`."""
    return np.asarray(ndimage.gaussian_filter(small, [0.0] + [SMOOTH] * (small.ndim - 1)))


def transformed(small: Floats) -> Array:
    """Return the Fourier transforms of images `(image, *grid)` with room for shifts about them."""
    axes = tuple(range(1, small.ndim))
    return np.asarray(fft.rfftn(small, [n + 2 * MARGIN for n in small.shape[1:]], axes))


def distances(changed: ChangedImages, theirs: Floats, transforms: Array, pairs: Pairs) -> Floats:
    """Return `sqrt(2 - 2 r)` of each pair, of the correlation `r` over the better half of all tiles
    after the shift of greatest cross-correlation, to half a voxel.

    Args:
        changed: the first image of each pair.
        theirs: the second, `(image, *grid)`, smoothed.
        transforms: theirs.
        pairs: which are compared.
    """
    grid = theirs.shape[1:]
    batch = BATCH if len(grid) == 2 else max(1, BATCH // grid[0])
    around = np.ix_(*[np.arange(-MARGIN, MARGIN + 1)] * len(grid))
    found = [np.zeros(0, np.float32)]
    for start in range(0, len(pairs.row), batch):
        row, other, change = (
            one[start : start + batch] for one in (pairs.row, pairs.other, pairs.change)
        )
        ours = smooth(changed.some(row, change))
        cross = fft.irfftn(
            transforms[other] * np.conj(transformed(ours)),
            [n + 2 * MARGIN for n in grid],
            tuple(range(1, len(grid) + 1)),
        )
        near = cross[(slice(None), *around)].reshape(len(row), -1)
        found.append(_finely_shifted(ours, theirs[other], near.argmax(1)))
    return np.concatenate(found)


def _finely_shifted(ours: Floats, theirs: Floats, place: Numbers) -> Floats:
    """Return the least distance of each pair at a shift by whole voxels, and by half a voxel more
    or less along one axis after the other.
    """
    least = _shifted(ours, theirs, place)
    for axis in range(1, ours.ndim):
        before = ours
        for way in (1, -1):
            moved = np.asarray((before + np.roll(before, way, axis)) / 2, np.float32)
            apart = _shifted(moved, theirs, place)
            better = (apart < least).reshape(-1, *[1] * (ours.ndim - 1))
            ours, least = np.where(better, moved, ours), np.minimum(apart, least)
    return least


def _shifted(ours: Floats, theirs: Floats, place: Numbers) -> Floats:
    """Return the distance of each pair of images `(pair, *grid)`, the first moved by whole voxels;
    `place` counts through the shifts.
    """
    grid, alike = ours.shape[1:], np.zeros(len(ours))
    for each in np.unique(place):
        shift = np.array(np.unravel_index(each, [2 * MARGIN + 1] * len(grid))) - MARGIN
        first = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, grid, strict=True))
        second = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(shift, grid, strict=True))
        rows = place == each
        alike[rows] = _tiled(
            ours[rows][(slice(None), *first)], theirs[rows][(slice(None), *second)]
        )
    return np.asarray(np.sqrt(np.maximum(0.0, 2 - 2 * alike)), np.float32)


def _tiled(first: Floats, second: Floats) -> Array:
    """Return the mean correlation of pairs of images `(pair, *grid)` over the better half of the
    tiles that show something, `(pair,)`.
    """
    rows, others = _tiles(first), _tiles(second)
    rows, others = (one - one.mean(2, keepdims=True) for one in (rows, others))
    norms, theirs = (np.linalg.norm(one, axis=2) for one in (rows, others))
    least = PLAIN / np.sqrt(first[0].size) * np.sqrt(rows.shape[2])
    shown = (norms > least) | (theirs > least)
    found = (rows * others).sum(2) / np.maximum(norms * theirs, 1e-12)
    ordered = -np.sort(np.where(shown, -found, np.inf), axis=1)
    kept = np.maximum(1, np.round(KEPT * shown.sum(1)).astype(int))
    best = (np.arange(ordered.shape[1]) < kept[:, None]) & np.isfinite(ordered)
    return np.asarray(np.where(best, ordered, 0.0).sum(1) / kept)


def _tiles(images: Array) -> Array:
    """Return tiles `(image, tile, voxel)`; what is left at the far edges is left out."""
    grid = images.shape[1:]
    counts = [n // TILE for n in grid]
    cut = images[(slice(None), *(slice(0, n * TILE) for n in counts))]
    split = cut.reshape([len(images), *(part for n in counts for part in (n, TILE))])
    order = [0, *(2 * axis + 1 for axis in range(len(grid)))]
    order += [2 * axis + 2 for axis in range(len(grid))]
    return split.transpose(order).reshape(len(images), int(np.prod(counts)), -1)
