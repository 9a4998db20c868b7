"""Named parts of the grid that are counted: the foreground by one stated rule, structures by their
labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from veridical.errors import GeometryError, InputError
from veridical.types import Array, Geometry, Image

ROUNDING = 0.01
"""How far a stored label may lie from a whole number."""


@dataclass(frozen=True, eq=False)
class Region:
    """A named part of the grid, `mask` bool `(x, y, z)`; `said` is how it was found, empty when it
    was given.
    """

    name: str
    mask: Array
    said: str = ""

    def checked(self, geometry: Geometry) -> Region:
        """Return the region, or refuse one that is empty or on another grid."""
        if self.mask.shape != geometry.shape or not self.mask.any():
            raise GeometryError(
                f"The mask of the {self.name} has shape {self.mask.shape} and "
                f"{int(self.mask.sum())} voxels; expected at least "
                f"one voxel on the grid {geometry.shape} of the images."
            )
        return self


def magnitude(data: Array) -> Array:
    """Return the array as a reader sees it: magnitudes of complex values, real ones as they are,
    float64.
    """
    return np.asarray(np.abs(data) if np.iscomplexobj(data) else data, dtype=np.float64)


def foreground(image: Image) -> Region:
    """Return the voxels that stand out from the air, by a rule that the sentence states."""
    data = magnitude(image.data)
    low, high = np.percentile(data, (1, 99))
    mask = (data > low + 0.1 * (high - low)).any(axis=0)
    if not mask.any():
        return Region("image", np.ones_like(mask), "all voxels, since none stands out")
    return Region(
        "foreground",
        mask,
        "voxels above a tenth of the way from the 1st to the 99th percentile of the image",
    )


def structures(labels: Image, names: Mapping[int, str]) -> dict[str, Array]:
    """Return every structure of a label map as bool `(x, y, z)`, by name; background is 0.

    Args:
        labels: one channel of whole numbers; a mask counts as the structure 1.
        names: label -> name; other labels are called `label-N`.

    Raises:
        InputError: several channels, or values that are no whole numbers.
    """
    if len(labels.data) != 1:
        raise InputError(
            f"Labels must be one channel of whole numbers; got {len(labels.data)} channels. Give "
            "one map a case."
        )
    data = whole_numbers(labels.data)[0]
    found = {int(value): data == value for value in np.unique(data) if value != 0}
    return {names.get(value, f"label-{value}"): mask for value, mask in found.items()}


def whole_numbers(labels: Array) -> Array:
    """Return labels as the whole numbers that they are but for rounding: 1.0000001 is 1.

    Raises: InputError: some lie further from whole numbers: probabilities, or labels that were
        interpolated.
    """
    whole = np.round(labels)
    away = np.abs(labels - whole)
    if not (away <= ROUNDING).all():
        share = float((~(away <= ROUNDING)).mean())
        raise InputError(
            f"Labels must be whole numbers; got values from {labels.min():g} to {labels.max():g}, "
            f"{share:.1%} of them between "
            "whole numbers. Threshold a probability map; resample labels by the nearest neighbour."
        )
    return np.asarray(whole)


def blurred(image: Image, sigma: float) -> Image:
    """Return the image smoothed by a Gaussian of `sigma` voxels standard deviation along every axis
    that has some.
    """
    widths = [0.0] + [sigma if n > 1 else 0.0 for n in image.data.shape[1:]]
    return replace(image, data=ndimage.gaussian_filter(image.data.astype(np.float32), widths))
