"""Preprocessing: one invertible step between images as files hold them and images as networks see
them.

Training, calibration, tasks and benchmarks call the same object, and the card of weights stores its
parameters. Slices are turned so that the front or the top of the patient is up. CT and PET keep
absolute units; images in arbitrary units have air at 0 and are scaled by their inner tissue, so
that a head and the same head without its skull have equal brains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from veridical.errors import FormatError, InputError, UnitsError
from veridical.preprocessing.tissue_level import air_level, tissue_level
from veridical.types import Array, Geometry, Image

THICKER = 1.5
"""An axis whose spacing is this much larger than the others' is the slice axis."""
UNITS = {"CT": "HU", "PET": "SUV"}
"""Modality -> the units that its images must be in."""


@dataclass(frozen=True)
class Preprocessing:
    """From images to network units and back: orientation, intensity scale, clipping."""

    tissue: float = 0.4
    """What the inner tissue of an image in arbitrary units becomes; bright fat and fluid then lie
    near 1.
    """
    hounsfield: float = 1000.0
    """HU that are 1 in network units; air is -1 and water 0."""
    uptake: float = 5.0
    """SUV that are 1 in network units."""
    most: float = 4.0
    """Network units above which training images are clipped: metal, vessels, hot spots. Tasks clip
    nothing.
    """

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Preprocessing:
        """Return the preprocessing that weights were trained with.

        Raises:
            FormatError: the card states a parameter that is not known here.
        """
        stored = card.get("preprocessing", {})
        known = [f.name for f in fields(cls)]
        if unknown := set(stored) - set(known):
            raise FormatError(
                f"The card's preprocessing states {', '.join(sorted(unknown))}; expected "
                f"{', '.join(known)}."
            )
        return cls(**stored)

    def to_card(self) -> dict[str, float]:
        """Return the parameters as a card stores them."""
        return asdict(self)

    def scale(
        self, channel: str, units: str, data: Array, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    ) -> float:
        """Return what one network unit is, in the units of an image.

        Args:
            channel: contrast or modality.
            units: of the data.
            data: `(z, y, x)`.
            spacing: mm, in the same order.

        Raises:
            UnitsError: CT that is not in HU, PET that is not in SUV.
            InputError: an image in arbitrary units shows nothing above zero.
        """
        name = channel.split(".")[0]
        if name in UNITS and units != UNITS[name]:
            raise UnitsError(
                f"{channel} is in {units!r}; expected {UNITS[name]}, which is what networks were "
                "trained on. Convert it, or "
                f"say so if it is: --units {UNITS[name]}."
            )
        if name in UNITS:
            return self.hounsfield if name == "CT" else self.uptake
        return self.unit(data, spacing)

    def unit(self, data: Array, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> float:
        """Return what one network unit is for an MR image `(..., y, x)`, real or complex."""
        return tissue_level(np.abs(data), (spacing[0], spacing[1], spacing[2])) / self.tissue

    def clipped(self, data: Array) -> Array:
        """Return network units as training sees them."""
        return np.clip(data, -1.0, self.most)

    def air(self, channel: str) -> float:
        """Return what a channel shows where nothing is, in network units."""
        return -1000.0 / self.hounsfield if channel.split(".")[0] == "CT" else 0.0

    def foreground(self, channel: str, data: Array) -> Array:
        """Return where an image `(..., y, x)` in network units shows something, bool."""
        from scipy import ndimage

        above = np.asarray(data, np.float32) + (0.7 if channel.split(".")[0] == "CT" else 0.0)
        smooth = ndimage.uniform_filter(above, (1,) * (data.ndim - 2) + (5, 5), mode="constant")
        return np.asarray(smooth > (0.04 if channel.split(".")[0] == "PET" else 0.06))

    def __call__(self, image: Image, axis: int | None = None) -> Prepared:
        """Turn an image into slices as networks see them.

        Args: image: any orientation; oblique ones are turned to the nearest axes. Label maps keep
            their values. axis: slice axis in patient space: 0 sagittal, 1 coronal, 2 axial; None
            takes that of a single slice, else of the thickest voxels, else axial.

        Raises: InputError: complex values or such that are not finite, a channel that shows
            nothing, one that was standardized within a mask. UnitsError: as `scale`.
        """
        data = np.asarray(image.data)
        if np.iscomplexobj(data):
            raise InputError(
                "The image is complex; networks take real images. Take its magnitude, or "
                "reconstruct its k-space."
            )
        if not np.isfinite(data).all():
            raise InputError(
                "The image holds NaN or infinite values; write a number there, 0 for what is "
                "outside the body."
            )
        turn, back = _turned(image.geometry)
        spacing = patient_spacing(image.geometry)
        x, y, z = (int(n) for n in turn(data).shape[-3:])
        along = slice_axis(spacing, (x, y, z)) if axis is None else axis
        forward, backward = _cut(along, upright=image.geometry.frame != "index")
        rest = [spacing[a] for a in (2, 1, 0) if a != along]
        size = (spacing[along], rest[0], rest[1])
        cut = forward(turn(data))
        scales, offsets, images = dict[str, float](), dict[str, float](), dict[str, Array]()
        for name, channel in zip(image.channels, cut, strict=True):
            units = image.units_of(name)
            absolute = units == "label" or name.split(".")[0] in UNITS
            offsets[name] = 0.0 if absolute else air_level(channel)
            shifted = channel - offsets[name] if offsets[name] else channel
            scales[name] = 1.0 if units == "label" else self.scale(name, units, shifted, size)
            images[name] = np.ascontiguousarray(shifted / scales[name], np.float32)
        return Prepared(
            images, scales, offsets, size, lambda a: back(backward(a)), lambda a: forward(turn(a))
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """A volume as networks see it, cut along one axis.

    Args:
        images: channel -> `(slice, y, x)` float32 in network units.
        scales: channel -> what one network unit is in the units of the image.
        offsets: channel -> what 0 network units are, in the units of the image.
        spacing: `(slice, y, x)`, mm.
        restore: turns `(..., slice, y, x)` back into `(..., x, y, z)` of the image's grid.
        cut: the inverse of `restore`.
    """

    images: Mapping[str, Array]
    scales: Mapping[str, float]
    offsets: Mapping[str, float]
    spacing: tuple[float, float, float]
    restore: Callable[[Array], Array]
    cut: Callable[[Array], Array]

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(slice, y, x)`."""
        first = next(iter(self.images.values()))
        return (int(first.shape[0]), int(first.shape[1]), int(first.shape[2]))


def _turned(geometry: Geometry) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Return the turn of the last three axes to RAS+ and its inverse; arrays without known space
    stay as they are.
    """
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


def patient_spacing(geometry: Geometry) -> tuple[float, float, float]:
    """Return the spacing along the patient's x, y and z, mm."""
    from nibabel.orientations import io_orientation

    axes = io_orientation(geometry.affine)[:, 0].astype(int)
    found = [1.0, 1.0, 1.0]
    for array_axis, patient_axis in enumerate(axes):
        found[patient_axis] = geometry.spacing[array_axis]
    return found[0], found[1], found[2]


def slice_axis(spacing: tuple[float, float, float], shape: tuple[int, int, int] = (2, 2, 2)) -> int:
    """Return the axis of the slices: that of a single slice, else of much thicker voxels, else the
    third.
    """
    if 1 in shape:
        return max((axis for axis in (0, 1, 2) if shape[axis] == 1), key=lambda axis: spacing[axis])
    thickest = int(np.argmax(spacing))
    others = [s for axis, s in enumerate(spacing) if axis != thickest]
    return thickest if spacing[thickest] > THICKER * max(others) else 2


def _cut(axis: int, upright: bool) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Return `(..., x, y, z)` to `(..., slice, row, column)` with the front (axial) or the top
    (others) up, and its inverse.
    """
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
