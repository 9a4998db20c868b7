"""Blur and downsample: the point spread of a scanner, the slice profile, and averaging into larger
voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from veridical.errors import GeometryError, SettingError
from veridical.physics.linear import LinearOperator

FWHM = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian in standard deviations."""


class Blur(LinearOperator):
    """A Gaussian along each axis, then the mean of blocks of voxels; one small matrix an axis, so
    the adjoint is exact.

    Each output is a weighted mean of inputs with weights that sum to 1: constants stay, also at the
    borders.

    Args: shape: `(y, x)` or `(x, y, z)`, any number of axes. spacing: voxel size along each axis in
        mm. fwhm: full width at half maximum along each axis in mm; 0: sharp. A slice profile is a
        width along one axis. factor: voxels averaged into one along each axis; must divide the
        shape. None: 1. dtype: of `x`: float32 or complex64.

    Domain `shape`; range `shape / factor`; both in the units of the object.

    Raises:
        GeometryError: the numbers of axes differ, or a factor does not divide the shape.
        SettingError: a spacing that is not positive, a negative width or a factor below 1.
    """

    name = "blur"

    def __init__(
        self,
        shape: Sequence[int],
        spacing: Sequence[float],
        fwhm: Sequence[float],
        factor: Sequence[int] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        factor = [1] * len(shape) if factor is None else factor
        if not len(shape) == len(spacing) == len(fwhm) == len(factor):
            raise GeometryError(
                f"blur: shape {tuple(shape)}, spacing {tuple(spacing)}, fwhm {tuple(fwhm)} and "
                f"factor {tuple(factor)} must "
                "have one number an axis each."
            )
        if min(spacing) <= 0 or min(fwhm) < 0 or min(factor) < 1:
            raise SettingError(
                f"blur: spacing {tuple(spacing)} mm > 0, fwhm {tuple(fwhm)} mm >= 0, factor "
                f"{tuple(factor)} >= 1."
            )
        if any(size % step for size, step in zip(shape, factor, strict=True)):
            raise GeometryError(
                f"blur: factor {tuple(factor)} does not divide {tuple(shape)}. Crop or pad the "
                "image first."
            )
        self.spacing, self.fwhm, self.factor = (
            tuple(map(float, spacing)),
            tuple(map(float, fwhm)),
            tuple(map(int, factor)),
        )
        self.domain = tuple(map(int, shape))
        self.range = tuple(
            size // step for size, step in zip(self.domain, self.factor, strict=True)
        )
        self.dtype = dtype
        self._matrices = tuple(map(_matrix, self.domain, self.spacing, self.fwhm, self.factor))

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        for axis, matrix in enumerate(self._matrices):
            x = _along(x, axis - len(self.domain), matrix)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "the blurred image")
        for axis, matrix in enumerate(self._matrices):
            y = _along(y, axis - len(self.domain), matrix.T)
        return y

    def describe(self) -> dict[str, Any]:
        """Return the grid, the widths in mm and the factors."""
        return super().describe() | {
            "spacing": list(self.spacing),
            "fwhm": list(self.fwhm),
            "factor": list(self.factor),
        }

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        return cls((12, 15), (1.0, 1.5), (2.5, 3.0), (2, 3))


def _matrix(size: int, spacing: float, fwhm: float, factor: int) -> Tensor:
    """Return `(size / factor, size)`: rows of a Gaussian cut off at the borders and normalised,
    averaged in blocks.
    """
    position = torch.arange(size, dtype=torch.float64) * spacing
    rows = torch.eye(size, dtype=torch.float64)
    if fwhm:
        rows = torch.exp(-0.5 * ((position[:, None] - position) * (FWHM / fwhm)) ** 2)
    rows = rows / rows.sum(1, keepdim=True)
    return rows.reshape(size // factor, factor, size).mean(1).float()


def _along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    return torch.movedim(torch.movedim(x, axis, -1) @ matrix.T.to(x.device, x.dtype), -1, axis)
