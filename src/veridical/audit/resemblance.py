"""How alike two images are, whichever way one is flipped, shifted, zoomed or partly changed: what
audits of copies ask.

Images are brought to a small grid about their centre of brightness. Candidates are the nearest
images by correlation at half of that resolution, over flips and zooms, and by Haar wavelet
scattering, which neither flips nor shifts change much; of each patient the nearest image. Each
candidate is then registered by cross-correlation and compared tile by tile. Only the better half of
the parts counts, so that a copy with a changed part stays a copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from veridical.audit.picture_pairs import (
    CANDIDATES,
    ChangedImages,
    Floats,
    Numbers,
    Screen,
    distances,
    smooth,
    transformed,
)
from veridical.errors import InputError
from veridical.features.wavelet_pyramid import wavelet_pyramid
from veridical.types import Array, Image

FLAT, DEEP = 48, 24
"""Voxels along each axis of the small grid, of slices and of volumes."""
FLOOR = 0.02
"""Least distance: below it two images differ by interpolation and rounding alone."""
GLARE = 2.5
"""Brightness over the median of the object above which no difference is made."""
FAINT = 0.01
"""Share of the largest brightness below which all is air."""
BLOCK = 512
"""Images that are compared at once."""
SUBJECT = re.compile(r"(?:^|[/_-])sub-([A-Za-z0-9]+)")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images on the small grid.

    Args:
        names: of the images.
        small: `(image, *grid)` float32, mean 0 and norm 1.
        features: `(image, 155)` wavelet scattering.
        patients: `(image,)`, a number for each patient, from 0 on.
    """

    names: tuple[str, ...]
    small: Floats
    features: Floats
    patients: Numbers

    def __len__(self) -> int:
        return len(self.names)

    def chosen(self, which: Sequence[int] | Array) -> Pictures:
        """Return some of the images."""
        names = tuple(self.names[index] for index in which)
        patients = np.unique(self.patients[which], return_inverse=True)[1]
        return Pictures(names, self.small[which], self.features[which], patients)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The images of another set that are most like each image, one of each patient, the most alike
    first.

    Args:
        index: `(image, candidate)`, positions in the other set.
        distance: `(image, candidate)`, `sqrt(2 - 2 r)` of the registered correlation `r` over the
            better half of all tiles; infinite where a candidate is missing.
    """

    index: Numbers
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
    return Pictures(tuple(names), unit, np.asarray(rows, np.float32), patients_of(names))


def patients_of(names: Sequence[str]) -> Numbers:
    """Return a number for each patient: images whose names have the same `sub-LABEL` (BIDS) are of
    one patient, any other image is of a patient of its own.
    """
    found = [SUBJECT.search(name) for name in names]
    labels = [one.group(1) if one else f"/{n}" for n, one in enumerate(found)]
    return np.unique(np.array(labels), return_inverse=True)[1].astype(np.int64)


def joined(first: Pictures, second: Pictures) -> Pictures:
    """Return two sets of different patients as one."""
    return Pictures(
        (*first.names, *second.names),
        np.concatenate([first.small, second.small]),
        np.concatenate([first.features, second.features]),
        numbered(first, second),
    )


def numbered(*sets: Pictures) -> Numbers:
    """Return a number for each patient of several sets, one after the other, of whom none is in two
    sets.
    """
    found, most = [], 0
    for one in sets:
        found.append(one.patients + most)
        most += int(one.patients.max()) + 1
    return np.concatenate(found)


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
    smooth = _without_glare(smooth - np.percentile(smooth, 5))
    lifted = np.maximum(smooth, 0)
    centre = np.array(ndimage.center_of_mass(lifted if lifted.any() else lifted + 1))
    corner, shape = centre - steps * (size - 1) / 2, (size,) * data.ndim
    return np.asarray(
        ndimage.affine_transform(smooth, steps, corner, shape, order=1, cval=smooth.min())
    )


def _without_glare(lifted: Array) -> Array:
    """Return an image above the level of air with its brightest parts cut to a few times the median
    of the object, so that a changed part of another brightness moves neither centre nor shift.
    """
    from skimage.filters import threshold_otsu

    most = float(lifted.max())
    if most <= 0:
        return lifted
    logarithm = np.log(np.maximum(lifted / most, FAINT))
    shown = lifted[logarithm > threshold_otsu(logarithm)] if np.ptp(logarithm) > 0 else lifted
    return np.asarray(np.minimum(lifted, GLARE * np.median(shown)))


def nearest(own: Pictures, others: Pictures, same: bool = False) -> Neighbours:
    """Return the images of another set that are most like each image of a set, one of each patient.

    Args:
        own: the set.
        others: the other one.
        same: both are one set, and no image of a patient is a neighbour of that patient's.
    """
    screen = Screen.of(others.small, others.features, others.patients)
    theirs = smooth(others.small)
    transforms = transformed(theirs)
    index = np.full((len(own), 3 * CANDIDATES), -1)
    distance = np.full(index.shape, np.inf, np.float32)
    for start in range(0, len(own), BLOCK):
        block = slice(start, start + BLOCK)
        changed = ChangedImages.of(own.small[block])
        pairs = screen.pairs(changed, own.features[block], own.patients[block] if same else None)
        apart = np.maximum(distances(changed, theirs, transforms, pairs), FLOOR)
        least: list[dict[int, tuple[float, int]]] = [{} for _ in own.names[block]]
        for row, other, found in zip(pairs.row, pairs.other, apart, strict=True):
            patient, this = int(others.patients[other]), (float(found), int(other))
            least[row][patient] = min(this, least[row].get(patient, this))
        for row, found_of in enumerate(least):
            for rank, (found, other) in enumerate(sorted(found_of.values())):
                distance[start + row, rank], index[start + row, rank] = found, other
    return Neighbours(index, distance)
