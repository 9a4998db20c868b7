"""How alike two images are, whichever way one is flipped, shifted, zoomed or partly changed: what
audits of copies ask.

Images are brought to a small grid about their centre of brightness. Candidates are the nearest
images by correlation at half of that resolution, over flips and zooms, and by Haar wavelet
scattering, which neither flips nor shifts change much. Each candidate is then registered by
cross-correlation and compared tile by tile. Only the better half of the parts counts, so that a
copy with a changed part stays a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from veridical.errors import InputError
from veridical.features.wavelet_pyramid import wavelet_pyramid
from veridical.types import Array, Image

Floats = NDArray[np.float32]
FLAT, DEEP = 48, 24
"""Voxels along each axis of the small grid, of slices and of volumes."""
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
"""Nearest images by each of the three measures that are registered."""
FLOOR = 0.02
"""Least distance: below it two images differ by interpolation and rounding alone."""
BLOCK = 512


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images on the small grid.

    Args:
        names: of the images.
        small: `(image, *grid)` float32, mean 0 and norm 1.
        features: `(image, 155)` wavelet scattering.
    """

    names: tuple[str, ...]
    small: Floats
    features: Floats

    def __len__(self) -> int:
        return len(self.names)

    def chosen(self, which: Sequence[int] | Array) -> Pictures:
        """Return some of the images."""
        names = tuple(self.names[index] for index in which)
        return Pictures(names, self.small[which], self.features[which])


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The images of another set that are most like each image, the most alike first.

    Args:
        index: `(image, candidate)`, positions in the other set.
        distance: `(image, candidate)`, `sqrt(2 - 2 r)` of the registered correlation `r` over the
            better half of all tiles; infinite where a candidate is missing.
    """

    index: NDArray[np.int64]
    distance: Floats


def pictures(images: Mapping[str, Image], extent: float) -> Pictures:
    """Bring the first channel of images to the small grid, one image in memory at a time.

    Args:
        images: by name.
        extent: side of the grid in mm; one for all sets that are compared.

    Raises:
        InputError: no image, NaN or infinite values, or slices and volumes together.
    """
    small = [
        reduced(np.asarray(one.data[0]), one.geometry.spacing, extent) for one in images.values()
    ]
    if not small:
        raise InputError("No image was given to compare; expected one or more.")
    if len({one.ndim for one in small}) > 1:
        raise InputError(
            "Slices and volumes were given together; copies are sought among images of one kind. "
            "Put them into folders of their own."
        )
    return of_arrays(tuple(images), np.stack(small))


def extent_of(images: Iterable[Image]) -> float:
    """Return the longest side of all images, mm; an axis of one voxel does not count."""
    grids = (one.geometry for one in images)
    sides = (zip(grid.shape, grid.spacing, strict=True) for grid in grids)
    return max(n * step for each in sides for n, step in each if n > 1)


def of_arrays(names: Sequence[str], small: Array) -> Pictures:
    """Return images that are on the small grid already, `(image, *grid)`, standardized."""
    flat = small.reshape(len(small), -1).astype(np.float64)
    flat = flat - flat.mean(1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    unit = flat.reshape(small.shape).astype(np.float32)
    spread = np.sqrt(unit[0].size)
    rows = [
        wavelet_pyramid(
            np.atleast_3d(one) * spread, mask=None, spacing=(1.0, 1.0, 1.0), window=(-2.0, 4.0)
        )[0]
        for one in unit
    ]
    return Pictures(tuple(names), unit, np.asarray(rows, np.float32))


def joined(first: Pictures, second: Pictures) -> Pictures:
    """Return two sets as one."""
    return Pictures(
        (*first.names, *second.names),
        np.concatenate([first.small, second.small]),
        np.concatenate([first.features, second.features]),
    )


def reduced(data: Array, spacing: tuple[float, float, float], extent: float) -> Floats:
    """Return an image on the small grid, `(48, 48)` for a single slice or `(24, 24, 24)`, with its
    centre of brightness in the middle.

    Args:
        data: `(x, y, z)`, finite.
        spacing: voxel size, mm.
        extent: side of the grid, mm.

    Raises:
        InputError: NaN or infinite values, or fewer than two axes.
    """
    if not np.isfinite(data).all():
        raise InputError("An image holds NaN or infinite values; write a number there.")
    sides = [step for step, n in zip(spacing, data.shape, strict=True) if n > 1]
    data = np.squeeze(data).astype(np.float32)
    if data.ndim < 2:
        raise InputError(f"An image has the shape {data.shape}; expected a slice or a volume.")
    size = FLAT if data.ndim == 2 else DEEP
    steps = extent / size / np.array(sides)
    smooth = ndimage.gaussian_filter(data, np.maximum(0.4 * (steps - 1), 0))
    lifted = np.maximum(smooth - np.percentile(smooth, 5), 0)
    centre = np.array(ndimage.center_of_mass(lifted if lifted.any() else lifted + 1))
    corner, shape = centre - steps * (size - 1) / 2, (size,) * data.ndim
    return np.asarray(
        ndimage.affine_transform(smooth, steps, corner, shape, order=1, cval=smooth.min())
    )


def nearest(own: Pictures, others: Pictures, same: bool = False) -> Neighbours:
    """Return the images of another set that are most like each image of a set.

    Args:
        own: the set.
        others: the other one.
        same: both are one set, and no image is its own neighbour.
    """
    theirs = [_smooth(one) for one in others.small]
    transforms = [fft.rfftn(_padded(one)) for one in theirs]
    index = np.full((len(own), 3 * CANDIDATES), -1)
    distance = np.full(index.shape, np.inf, np.float32)
    for row, chosen in _candidates(own, others, same):
        least: dict[int, float] = {}
        for candidate, change in chosen:
            changed = _smooth(change.of(own.small[row]))
            found = _registered(changed, theirs[candidate], transforms[candidate])
            least[candidate] = min(max(found, FLOOR), least.get(candidate, np.inf))
        index[row, : len(least)], distance[row, : len(least)] = list(least), list(least.values())
    order = np.argsort(distance, axis=1, kind="stable")
    return Neighbours(np.take_along_axis(index, order, 1), np.take_along_axis(distance, order, 1))


@dataclass(frozen=True)
class Change:
    """What was done to an image: a zoom about the middle, and flips along axes."""

    zoom: float
    flip: tuple[int, ...]

    def of(self, image: Floats) -> Floats:
        """Return the changed image."""
        return np.asarray(np.flip(_zoomed(image, self.zoom), self.flip))


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


def _candidates(
    own: Pictures, others: Pictures, same: bool
) -> Iterator[tuple[int, list[tuple[int, Change]]]]:
    """Yield a row and its candidates, each with the change by which it is most alike."""
    flips = _flips(own.small.ndim - 1)
    changes = [Change(zoom, flip) for zoom in ZOOMS for flip in flips]
    middle, scale = others.features.mean(0), others.features.std(0) + 1e-6
    features = (others.features - middle) / scale
    whole, parts = _parts(others.small, 1), _parts(others.small, 2)
    count = min(CANDIDATES, len(others) - same)
    for start in range(0, len(own), BLOCK):
        block = slice(start, start + BLOCK)
        rows = (own.features[block] - middle) / scale
        apart = np.square(rows).sum(1)[:, None] - 2 * rows @ features.T + np.square(features).sum(1)
        alike, best = _best(own.small[block], parts, 2, ZOOMS)
        likeness, turned = _best(own.small[block], whole, 1, ZOOMS[:1])
        ways = ((alike, best), (likeness, turned), (-apart, best))
        for row in range(len(alike)):
            found: dict[tuple[int, Change], None] = {}
            for measure, chosen in ways:
                if same:
                    measure[row, start + row] = -np.inf
                for one in np.argpartition(-measure[row], count - 1)[:count]:
                    found[int(one), changes[chosen[row, one]]] = None
            yield start + row, list(found)


def _best(
    own: Floats, others: Floats, across: int, zooms: Sequence[float]
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the greatest likeness over zooms and flips, `(image, other)`, and at which of them it
    is, counted through the flips of one zoom after another.
    """
    alike = np.full((len(own), others.shape[1]), -np.inf, np.float32)
    best, number = np.zeros(alike.shape, np.int64), 0
    for zoom in zooms:
        zoomed = np.stack([_zoomed(one, zoom) for one in own])
        for flip in _flips(own.ndim - 1):
            parts = _parts(np.flip(zoomed, tuple(axis + 1 for axis in flip)), across)
            found = np.sort(parts @ others.transpose(0, 2, 1), axis=0)
            found = found[len(found) // 2 :].mean(0)
            better = found > alike
            alike[better], best[better] = found[better], number
            number += 1
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


def _smooth(small: Array) -> Floats:
    return np.asarray(ndimage.gaussian_filter(small, SMOOTH))


def _padded(small: Array) -> Array:
    return np.pad(small, [(0, 2 * MARGIN)] * small.ndim)


def _registered(image: Array, other: Array, transform: Array) -> float:
    """Return the distance of two images after the shift of greatest cross-correlation."""
    padded = _padded(image)
    cross = fft.irfftn(transform * np.conj(fft.rfftn(padded)), padded.shape)
    around = np.ix_(*[np.arange(-MARGIN, MARGIN + 1)] * image.ndim)
    near = cross[around]
    shift = np.array(np.unravel_index(int(near.argmax()), near.shape)) - MARGIN
    first, second = _overlap(image, other, shift)
    return float(np.sqrt(max(0.0, 2 - 2 * _tiled(first, second))))


def _overlap(image: Array, other: Array, shift: Array) -> tuple[Array, Array]:
    """Return the common part of two images, the first moved by whole voxels."""
    ours = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, image.shape, strict=True))
    theirs = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(shift, image.shape, strict=True))
    return image[ours], other[theirs]


def _tiled(first: Array, second: Array) -> float:
    """Return the mean correlation over the better half of the tiles that show something."""
    rows, others = _tiles(first), _tiles(second)
    rows, others = (one - one.mean(1, keepdims=True) for one in (rows, others))
    norms, theirs = (np.linalg.norm(one, axis=1) for one in (rows, others))
    least = PLAIN / np.sqrt(first.size) * np.sqrt(rows.shape[1])
    shown = (norms > least) | (theirs > least)
    if not shown.any():
        return 0.0
    both = np.maximum(norms * theirs, 1e-12)[shown]
    found = np.sort((rows * others).sum(1)[shown] / both)
    return float(found[len(found) - max(1, round(KEPT * len(found))) :].mean())


def _tiles(image: Array) -> Array:
    """Return tiles as rows; what is left at the far edges is left out."""
    counts = [n // TILE for n in image.shape]
    cut = image[tuple(slice(0, n * TILE) for n in counts)]
    split = cut.reshape([part for n in counts for part in (n, TILE)])
    order = [2 * axis for axis in range(image.ndim)] + [2 * axis + 1 for axis in range(image.ndim)]
    return split.transpose(order).reshape(int(np.prod(counts)), -1)
