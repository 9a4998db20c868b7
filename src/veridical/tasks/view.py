"""A volume as networks see it: slices with the front or the top of the patient up, each channel in network units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from veridical.errors import InputError
from veridical.models.known import HOUNSFIELD, UPTAKE
from veridical.types import Array, Geometry, Image

THICKER = 1.5
"""An axis whose spacing is this much larger than the others' is the slice axis."""


@dataclass(frozen=True, eq=False)
class View:
    """A volume cut along one axis.

    Args:
        images: channel -> `(slice, y, x)` float32 in network units.
        scales: channel -> what one network unit is in the units of the image.
        spacing: `(slice, y, x)`, mm.
        restore: turns `(..., slice, y, x)` back into `(..., x, y, z)` of the image's grid.
        cut: the inverse of `restore`.
    """

    images: Mapping[str, Array]
    scales: Mapping[str, float]
    spacing: tuple[float, float, float]
    restore: Callable[[Array], Array]
    cut: Callable[[Array], Array]

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(slice, y, x)`."""
        first = next(iter(self.images.values()))
        return (int(first.shape[0]), int(first.shape[1]), int(first.shape[2]))


def view(image: Image, axis: int | None = None) -> View:
    """Turn an image so that its slices look as in training.

    Args:
        image: any orientation; oblique ones are turned to the nearest axes.
        axis: slice axis in patient space: 0 sagittal, 1 coronal, 2 axial; None takes the axis of the thickest voxels, else
            axial.

    Raises:
        InputError: values that are not finite, or a channel that shows nothing.
    """
    data = np.asarray(image.data)
    if not np.isfinite(data).all():
        raise InputError("The image holds NaN or infinite values; write a number there, 0 for what is outside the body.")
    turn, back = _turned(image.geometry)
    patient = turn(data)
    spacing = _spacing(image.geometry)
    along = _slice_axis(spacing) if axis is None else axis
    forward, backward = _cut(along, upright=image.geometry.frame != "index")
    cut = forward(patient)
    scales = {name: scale(name, channel) for name, channel in zip(image.channels, data, strict=True)}
    images = {
        name: np.ascontiguousarray(channel / scales[name], np.float32)
        for name, channel in zip(image.channels, cut, strict=True)
    }
    rest = [spacing[a] for a in (2, 1, 0) if a != along]
    return View(images, scales, (spacing[along], rest[0], rest[1]), lambda a: back(backward(a)), lambda a: forward(turn(a)))


def scale(name: str, data: Array) -> float:
    """Return what one network unit is: 1000 HU for CT, 5 SUV for PET, else the 99th percentile of the foreground.

    Raises:
        InputError: the channel shows nothing above zero.
    """
    if name in ("CT", "PET"):
        return HOUNSFIELD if name == "CT" else UPTAKE
    top = float(np.percentile(data, 99)) or float(data.max())
    if not top > 0:
        raise InputError(f"The channel {name} shows nothing above zero. Leave it out, or crop it to what it shows.")
    return float(np.percentile(data[data > 0.1 * top], 99))


def _turned(geometry: Geometry) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Return the turn of the last three axes to RAS+ and its inverse; arrays without known space stay as they are."""
    from nibabel.orientations import io_orientation

    if geometry.frame == "index":
        return (lambda array: array), (lambda array: array)
    orientation = io_orientation(geometry.affine)
    order = [int(np.flatnonzero(orientation[:, 0] == axis)[0]) for axis in range(3)]
    flips = [int(axis) for axis in range(3) if orientation[order[axis], 1] < 0]

    def turn(array: Array) -> Array:
        lead = array.ndim - 3
        moved = np.transpose(array, (*range(lead), *(lead + o for o in order)))
        return np.flip(moved, tuple(lead + f for f in flips)) if flips else moved

    def back(array: Array) -> Array:
        lead = array.ndim - 3
        unflipped = np.flip(array, tuple(lead + f for f in flips)) if flips else array
        return np.transpose(unflipped, (*range(lead), *(lead + int(a) for a in np.argsort(order))))

    return turn, back


def _spacing(geometry: Geometry) -> tuple[float, float, float]:
    """Return the spacing along the patient's x, y and z."""
    from nibabel.orientations import io_orientation

    axes = io_orientation(geometry.affine)[:, 0].astype(int)
    found = [1.0, 1.0, 1.0]
    for array_axis, patient_axis in enumerate(axes):
        found[patient_axis] = geometry.spacing[array_axis]
    return found[0], found[1], found[2]


def _slice_axis(spacing: tuple[float, float, float]) -> int:
    thickest = int(np.argmax(spacing))
    others = [s for axis, s in enumerate(spacing) if axis != thickest]
    return thickest if spacing[thickest] > THICKER * max(others) else 2


def _cut(axis: int, upright: bool) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Return `(..., x, y, z)` to `(..., slice, row, column)` with the front (axial) or the top (others) up, and its inverse."""
    rest = [a for a in (2, 1, 0) if a != axis]
    order = [axis, *rest]

    def forward(array: Array) -> Array:
        lead = array.ndim - 3
        moved = np.transpose(array, (*range(lead), *(lead + a for a in order)))
        return np.flip(moved, -2) if upright else moved

    def backward(array: Array) -> Array:
        lead = array.ndim - 3
        moved = np.flip(array, -2) if upright else array
        return np.transpose(moved, (*range(lead), *(lead + int(a) for a in np.argsort(order))))

    return forward, backward
