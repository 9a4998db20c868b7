"""Thick slices: what a multi-slice scan makes of a volume, each slice a mean over its profile, with
gaps or overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veridical.errors import GeometryError, SettingError
from veridical.physics.blur import FWHM
from veridical.physics.linear import LinearOperator
from veridical.types import Geometry

FINE = 9
"""Points a voxel at which the profile is taken."""


class ThickSlices(LinearOperator):
    """`y[j]`: the mean of the volume along one axis, weighted with the profile of slice j; the
    other axes stay as they are.

    The profile is a rectangle as wide as the slice with edges that fall off like the integral of a
    Gaussian, as those of selective pulses do. Weights sum to 1, so constants stay. As many slices
    as fit, centred in the volume.

    Args: shape: `(x, y, z)` or `(z,)`, any number of axes. spacing: voxel size along the axis in
        mm. thickness: full width of a slice at half maximum in mm; 2 to 6 in two-dimensional MR, 3
        to 10 in older CT. distance: of the slices' centres in mm; above the thickness: gaps; None:
        the thickness. axis: of the slices. edge: full width at half maximum of the edges' blur as a
        share of the thickness, above 0; 1 is nearly a Gaussian. dtype: of `x`: float32 or
        complex64.

    Domain `shape`; range the same with the number of slices along the axis; both in the units of
    the object.

    Raises:
        GeometryError: no slice fits into the volume, or there is no such axis.
        SettingError: sizes that are not above 0.
    """

    name = "thick-slices"

    def __init__(
        self,
        shape: Sequence[int],
        spacing: float,
        thickness: float,
        distance: float | None = None,
        axis: int = -1,
        edge: float = 0.2,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        distance = thickness if distance is None else distance
        if min(spacing, thickness, distance, edge) <= 0:
            raise SettingError(
                f"thick-slices: voxels of {spacing} mm, slices of {thickness} mm every {distance} "
                f"mm, edges {edge}; all must "
                "be above 0."
            )
        if not -len(shape) <= axis < len(shape) or thickness > shape[axis] * spacing:
            raise GeometryError(
                f"thick-slices: slices of {thickness:g} mm along axis {axis} of a volume "
                f"{tuple(shape)} with voxels of "
                f"{spacing:g} mm do not fit. Give the axis of the slices, and sizes in mm."
            )
        self.axis, self.dtype = axis % len(shape), dtype
        self.spacing, self.thickness, self.distance, self.edge = map(
            float, (spacing, thickness, distance, edge)
        )
        count = math.floor((shape[axis] * spacing - thickness) / distance + 1e-6) + 1
        self.domain = tuple(map(int, shape))
        self.range = (*self.domain[: self.axis], count, *self.domain[self.axis + 1 :])
        self._profiles = self._matrix()

    @property
    def centres(self) -> Tensor:
        """Of the slices, `(slice,)`, in mm from the centre of the first voxel."""
        count, middle = self.range[self.axis], 0.5 * (self.domain[self.axis] - 1) * self.spacing
        return (
            middle + (torch.arange(count, dtype=torch.float64) - 0.5 * (count - 1)) * self.distance
        )

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the volume")
        return self._along(x, self._profiles)

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "the stack of slices")
        return self._along(y, self._profiles.T)

    def grid(self, geometry: Geometry) -> Geometry:
        """Return where the slices lie, from the grid of the volume.

        Raises:
            GeometryError: the grid is not of the domain.
        """
        if geometry.shape != self.domain:
            raise GeometryError(
                f"thick-slices: a grid of {geometry.shape}; expected {self.domain}, as the "
                "operator's domain."
            )
        affine = np.array(geometry.affine)
        affine[:3, 3] += affine[:3, self.axis] * float(self.centres[0]) / self.spacing
        affine[:3, self.axis] *= self.distance / self.spacing
        x, y, z = self.range
        return Geometry((x, y, z), affine, geometry.frame)

    def describe(self) -> dict[str, Any]:
        """Return the shapes, the axis, and the sizes in mm."""
        return super().describe() | {
            "axis": self.axis,
            "spacing": self.spacing,
            "thickness": self.thickness,
            "distance": self.distance,
            "edge": self.edge,
        }

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        return cls((4, 17, 5), 1.2, 3.0, 4.0, axis=1)

    def _matrix(self) -> Tensor:
        """Return `(slice, voxel)`: the mean of each profile over each voxel, normalised."""
        offsets = (torch.arange(FINE, dtype=torch.float64) - (FINE - 1) / 2) / FINE
        fine = (
            torch.arange(self.domain[self.axis], dtype=torch.float64)[:, None] + offsets
        ).flatten() * self.spacing
        away = (fine - self.centres[:, None]) * (FWHM / (math.sqrt(2) * self.edge * self.thickness))
        half = FWHM / (math.sqrt(2) * self.edge * 2)
        profile = torch.special.erf(away + half) - torch.special.erf(away - half)
        weights: Tensor = profile.reshape(len(profile), -1, FINE).sum(2)
        return (weights / weights.sum(1, keepdim=True)).float()

    def _along(self, x: Tensor, matrix: Tensor) -> Tensor:
        axis = self.axis - len(self.domain)
        return torch.movedim(torch.movedim(x, axis, -1) @ matrix.T.to(x.device, x.dtype), -1, axis)
