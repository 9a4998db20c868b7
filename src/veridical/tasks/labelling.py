"""From an image on any grid to labels on the same grid: there and back by way of the isotropic grid
that a model of labels works on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from veridical.compiled import njit
from veridical.errors import InputError, SettingError
from veridical.models.base import LabelModel
from veridical.preprocessing.tissue_level import air_level
from veridical.types import Array, Geometry, Image

STANDS_OUT = 0.1
"""Share of the 99th percentile above which a voxel belongs to the object."""
MARGIN = 10.0
"""mm of air about the object that the model sees."""
LARGEST = 6_000_000
"""Voxels of the model's grid: a cube of 36 cm at 2 mm; more is no head."""
HOUNSFIELD = (1000.0, 2500.0)
"""Added to CT, and its largest value: air is 0."""
SMOOTH = 0.45
"""Standard deviation of the Gaussian before a grid is made coarser, in voxels of the fine grid for
each voxel that is left out.
"""


@dataclass(frozen=True, eq=False)
class Labelling:
    """What a model says of an image.

    Args:
        probabilities: `(label, x, y, z)` float32 on the model's grid.
        names: of the labels, the background first.
        grid: isotropic, RAS+, about what the image shows.
        seen: `(x, y, z)` bool on that grid, the field of view of the image.
    """

    probabilities: Array
    names: tuple[str, ...]
    grid: Geometry
    seen: Array

    @cached_property
    def best(self) -> Array:
        """The most probable label, `(x, y, z)` uint8 on the model's grid."""
        return np.asarray(self.probabilities.argmax(0), np.uint8)

    def where(self, names: Sequence[str]) -> Array:
        """Return where one of some labels is the most probable, bool `(x, y, z)` on the model's
        grid.
        """
        wanted = np.array([name in names for name in self.names])
        return np.asarray(wanted[self.best])

    def volume(self, names: Sequence[str]) -> float:
        """Return the ml of some labels together, on the model's grid."""
        return float(self.where(names).sum()) * float(np.prod(self.grid.spacing)) / 1000

    def merged(self, sets: Mapping[str, Sequence[str]]) -> Labelling:
        """Return probabilities of sets of labels, the background first.

        Raises:
            SettingError: a set has labels that the model does not tell apart.
        """
        missing = {name for names in sets.values() for name in names} - set(self.names)
        if missing:
            raise SettingError(
                f"This model does not tell {', '.join(sorted(missing))} apart; it knows "
                f"{', '.join(self.names)}. Ask for its structures: --what structures."
            )
        values = [self.probabilities[[self.names.index(n) for n in each]].sum(0)
                  for each in sets.values()]  # fmt: skip
        return replace(self, probabilities=np.stack(values), names=tuple(sets))

    def placed(self, target: Geometry) -> tuple[Array, Array]:
        """Return the most probable label, `(x, y, z)` uint8, and its probability, float32, on
        another grid; probabilities are interpolated linearly.
        """
        step = _steps(self.grid, target)
        labels, confidence = np.zeros(target.shape, np.uint8), np.zeros(target.shape, np.float32)
        _most_probable(
            np.ascontiguousarray(np.moveaxis(self.probabilities, 0, -1), np.float32),
            self.best, step[:3, :3], step[:3, 3], labels, confidence,
        )  # fmt: skip
        return labels, confidence


def labelled(model: LabelModel, image: Image, channels: Sequence[str]) -> Labelling:
    """Ask a model of labels about an image: the mean of what it says of each channel.

    Args:
        model: any that labels.
        image: MR in any units, CT in HU; any orientation and spacing.
        channels: which of its channels.

    Raises:
        InputError: the voxel size is not known, values are complex or not finite, or it shows more
            than a head.
    """
    _check(image, channels)
    volumes = [_from_zero(image, name) for name in channels]
    grid = _grid(volumes, image.geometry, model.spacing)
    seen = _inside(image.geometry, grid)
    found = np.zeros((len(model.labels), *grid.shape), np.float32)
    for volume in volumes:
        found += model.probabilities(_resampled(volume, image.geometry, grid) * seen)
    return Labelling(found / np.float32(len(channels)), model.labels, grid, seen)


def ml_of(labels: Array, names: Sequence[str], geometry: Geometry) -> dict[str, float]:
    """Return the ml of each label but the background."""
    voxel = abs(float(np.linalg.det(geometry.affine[:3, :3]))) / 1000
    counts = np.bincount(labels.ravel(), minlength=len(names))
    return {n: round(float(c) * voxel, 2) for n, c in zip(names[1:], counts[1:], strict=True)}


def _check(image: Image, channels: Sequence[str]) -> None:
    if image.geometry.frame == "index":
        raise InputError(
            "The voxel size of this image is not known, and the size of structures is in "
            "millimetres. Read it with its header, or state it: --spacing 1,1,1."
        )
    for name in channels:
        data = image[name]
        if np.iscomplexobj(data):
            raise InputError(f"{name} is complex; expected real values. Take its magnitude.")
        if not np.isfinite(data).all():
            raise InputError(
                f"{name} holds NaN or infinite values; write a number there, 0 for what is outside "
                "the body."
            )


def _from_zero(image: Image, name: str) -> Array:
    """Return a channel with air at 0."""
    data = np.asarray(image[name], np.float32)
    if image.units_of(name) == "HU":
        return np.asarray(np.clip(data + HOUNSFIELD[0], 0, HOUNSFIELD[1]), np.float32)
    return np.asarray(np.maximum(data - np.float32(air_level(data)), 0))


def _grid(volumes: Sequence[Array], source: Geometry, spacing: float) -> Geometry:
    """Return the grid of a spacing, RAS+, about what the volumes show."""
    shown = np.zeros(source.shape, bool)
    for data in volumes:
        shown |= ndimage.uniform_filter(data, 3) > STANDS_OUT * np.percentile(data, 99)
    box = [np.flatnonzero(shown.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not len(box[0]):
        box = [np.arange(n) for n in source.shape]
    ends = [
        (max(b[0] - MARGIN / size, -0.5), min(b[-1] + MARGIN / size, n - 0.5))
        for b, size, n in zip(box, source.spacing, source.shape, strict=True)
    ]
    corners = np.stack(np.meshgrid(*ends, [1.0], indexing="ij")).reshape(4, -1)
    at = (source.affine @ corners)[:3]
    low, extent = at.min(1), np.ptp(at, axis=1)
    shape = tuple(int(n) for n in np.maximum(1, np.ceil(extent / spacing - 1e-6)))
    if np.prod(shape) > LARGEST:
        size = " x ".join(f"{n * spacing:.0f}" for n in shape)
        raise InputError(
            f"The image shows something over {size} mm; expected a head. Crop it to the head."
        )
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low + (extent - spacing * (np.array(shape) - 1)) / 2
    return Geometry((shape[0], shape[1], shape[2]), affine, source.frame)


def _steps(source: Geometry, target: Geometry) -> Array:
    """Return the affine from voxels of a grid to voxels of another."""
    return np.asarray(np.linalg.inv(source.affine) @ target.affine)


def _inside(source: Geometry, grid: Geometry) -> Array:
    """Return which voxels of a grid lie within the field of view of another."""
    step = _steps(source, grid)
    axes = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
    seen = np.ones(grid.shape, bool)
    for row, n in zip(step[:3], source.shape, strict=True):
        place = row[3] + sum(row[a] * axes[a] for a in range(3))
        seen &= (place >= -0.5 - 1e-6) & (place <= n - 0.5 + 1e-6)
    return seen


def _resampled(data: Array, source: Geometry, grid: Geometry) -> Array:
    """Return a volume on another grid, linearly, as the mean over its voxels where these are
    larger.
    """
    factors = np.maximum(1.0, grid.spacing[0] / np.array(source.spacing))
    smooth = ndimage.gaussian_filter(data, SMOOTH * (factors - 1), mode="nearest")
    step = _steps(source, grid)
    moved = ndimage.affine_transform(
        smooth, step[:3, :3], step[:3, 3], grid.shape, order=1, mode="nearest"
    )
    return np.asarray(moved, np.float32)


@njit(nogil=True, error_model="numpy")
def _most_probable(found, best, step, offset, labels, confidence):  # type: ignore[no-untyped-def]
    """Fill `labels` and `confidence` `(x, y, z)` from probabilities `(u, v, w, label)`, whose
    largest is `best`; beyond the grid its border counts.
    """
    n0, n1, n2, count = found.shape
    weights = np.zeros(8)
    places = np.zeros((8, 3), np.int64)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            for k in range(labels.shape[2]):
                u = step[0, 0] * i + step[0, 1] * j + step[0, 2] * k + offset[0]
                v = step[1, 0] * i + step[1, 1] * j + step[1, 2] * k + offset[1]
                w = step[2, 0] * i + step[2, 1] * j + step[2, 2] * k + offset[2]
                u = min(max(u, 0.0), n0 - 1.0)
                v = min(max(v, 0.0), n1 - 1.0)
                w = min(max(w, 0.0), n2 - 1.0)
                a, b, c = int(u), int(v), int(w)
                alike = True
                for corner in range(8):
                    p = min(a + (corner >> 2), n0 - 1)
                    q = min(b + (corner >> 1 & 1), n1 - 1)
                    r = min(c + (corner & 1), n2 - 1)
                    x = u - a if corner >> 2 else 1.0 - (u - a)
                    y = v - b if corner >> 1 & 1 else 1.0 - (v - b)
                    z = w - c if corner & 1 else 1.0 - (w - c)
                    weights[corner] = x * y * z
                    places[corner, 0], places[corner, 1], places[corner, 2] = p, q, r
                    if best[p, q, r] != best[a, b, c]:
                        alike = False
                first, last = (best[a, b, c], best[a, b, c] + 1) if alike else (0, count)
                most = -1.0
                for label in range(first, last):
                    value = 0.0
                    for corner in range(8):
                        value += (
                            weights[corner]
                            * found[places[corner, 0], places[corner, 1], places[corner, 2], label]
                        )
                    if value > most:
                        most = value
                        labels[i, j, k] = label
                confidence[i, j, k] = most
