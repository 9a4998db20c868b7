"""From the grid of an image to the one that doses are predicted on, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from veridical.errors import InputError
from veridical.models.dose_anatomy import PlanAnatomy, body_of, turned_back
from veridical.types import Array, Geometry, Image

LEAST, MOST = (2.5, 2.5, 1.4), (5.6, 5.6, 3.3)
"""Voxel sizes in mm along x, y, z that are taken as they are: about those of the training."""
USUAL = (4.0, 4.0, 2.5)
"""Voxel size that others are brought to, mm."""
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class DoseGrid:
    """An anatomy on the grid of the predictor, cut to the body.

    Args:
        anatomy: what is predicted on.
        box: where it lies in the grid along the patient's axes.
        whole: that grid's shape.
        inside: where dose may be, on the image's grid turned to the patient's axes.
        spacing: of the image along these axes, mm.
        geometry: of the image.
    """

    anatomy: PlanAnatomy
    box: tuple[slice, ...]
    whole: Shape
    inside: Array
    spacing: tuple[float, float, float]
    geometry: Geometry

    @classmethod
    def of(cls, image: Image) -> DoseGrid:
        """Bring an image with CT and structures to the predictor's grid.

        Raises:
            InputError: no target lies where dose may be.
        """
        given = PlanAnatomy.of(image)
        anatomy = given if fits(given.spacing) else resampled(given)
        target = anatomy.prescription > 0
        if not (target & anatomy.inside).any():
            raise InputError(
                "No voxel of a target lies in the body; expected targets on the grid of the CT."
            )
        shown = anatomy.inside | body_of(anatomy.ct) | anatomy.mask(*anatomy.structures)
        (box,) = ndimage.find_objects(shown.astype(np.uint8))
        cut = {name: mask[box] for name, mask in anatomy.structures.items() if mask[box].any()}
        inner = replace(anatomy, ct=anatomy.ct[box], structures=cut, inside=anatomy.inside[box])
        x, y, z = anatomy.ct.shape
        return cls(inner, box, (x, y, z), given.inside, given.spacing, image.geometry)

    def restored(self, volume: Array) -> Array:
        """Return a volume of the anatomy's grid on that of the image, 0 where no dose may be."""
        whole = np.zeros(self.whole, np.float32)
        whole[self.box] = volume
        if self.whole != self.inside.shape or self.anatomy.spacing != self.spacing:
            whole = sampled(whole, self.anatomy.spacing, self.spacing, self.inside.shape)
        return turned_back(whole * self.inside, self.geometry)


def fits(spacing: tuple[float, float, float]) -> bool:
    """Say whether a voxel size is about that of the training patients."""
    pairs = zip(LEAST, spacing, MOST, strict=True)
    return all(low <= size <= high for low, size, high in pairs)


def resampled(anatomy: PlanAnatomy) -> PlanAnatomy:
    """Return an anatomy on voxels of the usual size, of the same outer edges."""
    sizes = zip(anatomy.ct.shape, anatomy.spacing, USUAL, strict=True)
    x, y, z = (max(1, int(np.ceil(n * size / new - 1e-6))) for n, size, new in sizes)

    def brought(volume: Array) -> Array:
        return sampled(volume.astype(np.float32), anatomy.spacing, USUAL, (x, y, z))

    masks = {name: brought(mask) > 0.5 for name, mask in anatomy.structures.items()}
    kept = {name: mask for name, mask in masks.items() if mask.any()}
    return PlanAnatomy(brought(anatomy.ct), kept, brought(anatomy.inside) > 0.5, USUAL)


def sampled(
    volume: Array,
    old: tuple[float, float, float],
    new: tuple[float, float, float],
    shape: tuple[int, ...],
) -> Array:
    """Return a volume on voxels of another size that begin at the same corner, linear, smoothed
    before where they are larger.
    """
    ratio = np.array(new) / np.array(old)
    width = 0.35 * np.where(ratio > 1.2, ratio, 0)
    smooth = ndimage.gaussian_filter(volume, width, mode="nearest") if width.any() else volume
    return np.asarray(
        ndimage.affine_transform(
            smooth, ratio, 0.5 * ratio - 0.5, output_shape=shape, order=1, mode="nearest"
        ),
        np.float32,
    )
