"""Voxel average: what an image of large voxels is of the same object on a finer grid that shares
its edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from veridical.errors import GeometryError, SettingError
from veridical.physics.blur import FWHM
from veridical.physics.linear import LinearOperator


class VoxelAverage(LinearOperator):
    """Each coarse voxel is the mean of the fine voxels inside it; along one axis it may be a
    Gaussian slice profile instead.

    The fine grid is that of `tasks.grids.subdivided`. Weights sum to 1, so constants stay, also at
    the borders.

    Args: shape: of the fine grid, `(z, y, x)` or `(y, x)`, any number of axes. factors: fine voxels
        to a coarse one along each axis, in the order of `shape` (a geometry has x first); each must
        divide it. fwhm: of the slice profile, full width at half maximum in coarse voxels, so that
        1 is slices without gap; 0: a box, the mean as along the other axes. axis: of the slices.
        dtype: of `x`: float32 or complex64.

    Domain `shape`; range `shape / factors`; both in the units of the object.

    Raises: GeometryError: the numbers of axes differ, there is no such axis, or a factor does not
        divide the shape. SettingError: a factor below 1 or a width that is negative or not finite.
    """

    name = "voxel-average"
    fitting_steps = 6

    def __init__(
        self,
        shape: Sequence[int],
        factors: Sequence[int],
        fwhm: float = 0.0,
        axis: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if min(factors) < 1 or not 0 <= fwhm < np.inf:
            raise SettingError(
                f"voxel-average: factors {tuple(factors)} and fwhm {fwhm}; expected factors from 1 "
                "and a finite width from 0."
            )
        if len(shape) != len(factors) or any(
            size % factor for size, factor in zip(shape, factors, strict=True)
        ):
            raise GeometryError(
                f"voxel-average: factors {tuple(factors)} for a fine grid {tuple(shape)}; expected "
                "one an axis, each a divisor "
                "of its size. Multiply the coarse shape by the factors."
            )
        if not -len(shape) <= axis < len(shape):
            raise GeometryError(
                f"voxel-average: axis {axis} of {tuple(shape)}; expected one of its {len(shape)} "
                "axes."
            )
        self.factors, self.fwhm, self.axis, self.dtype = (
            tuple(map(int, factors)),
            float(fwhm),
            axis % len(shape),
            dtype,
        )
        self.domain = tuple(map(int, shape))
        self.range = tuple(
            size // factor for size, factor in zip(self.domain, self.factors, strict=True)
        )
        widths = [self.fwhm if number == self.axis else 0.0 for number in range(len(shape))]
        self._means = tuple(map(_profiles, self.range, self.factors, widths))
        self._splines = tuple(map(_spline, self.range, self.factors))

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the fine image")
        return _product(x, self._means)

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "the coarse image")
        return _product(y, [matrix.T for matrix in self._means])

    def classical(self, y: Tensor, iterations: int = 100, tolerance: float = 1e-5) -> Tensor:
        """Return a cubic spline through the coarse image, corrected until its averages are `y`.

        Iterative back-projection of Irani and Peleg 1991 (10.1016/1049-9652(91)90045-L), with the
        spline as back-projection. Boxes and profiles up to about 1.5 voxels converge in 20 to 100
        iterations. Wider profiles take more, and noise grows: there stop at about 5.

        Args: y: `(..., *range)`. iterations: at most so many. tolerance: stop when `A x - y` is
            below this share of `y`, in the norm of the whole batch.

        Returns:
            `(..., *domain)`, in the units of `y`.
        """
        self.check(y, self.range, "the coarse image")
        x = _product(y, self._splines)
        for _ in range(iterations):
            missing = y - _product(x, self._means)
            if float(missing.norm()) <= tolerance * float(y.norm()):
                break
            x = x + _product(missing, self._splines)
        return x

    def describe(self) -> dict[str, Any]:
        """Return the shapes, the factors and the slice profile."""
        return super().describe() | {
            "factors": list(self.factors),
            "fwhm": self.fwhm,
            "axis": self.axis,
        }

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        return cls((12, 6, 10), (3, 1, 2), fwhm=1.0)


def _profiles(coarse: int, factor: int, fwhm: float) -> Tensor:
    """Return `(coarse, fine)`: the weight of each fine voxel in each coarse one."""
    edges = torch.arange(coarse * factor + 1, dtype=torch.float64) / factor
    centres = torch.arange(coarse, dtype=torch.float64)[:, None] + 0.5
    away = edges - centres
    below = torch.special.ndtr(away * (FWHM / fwhm)) if fwhm else away.clamp(-0.5, 0.5)
    weights = below.diff(dim=1)
    return (weights / weights.sum(1, keepdim=True)).float()


def _spline(coarse: int, factor: int) -> Tensor:
    """Return `(fine, coarse)`: cubic-spline interpolation at the centres of the fine voxels, edges
    continued.
    """
    matrix = ndimage.zoom(np.eye(coarse), (factor, 1), order=3, mode="nearest", grid_mode=True)
    return torch.from_numpy(matrix).float()


def _product(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Apply one matrix along each of the last axes."""
    for number, matrix in enumerate(matrices):
        axis = number - len(matrices)
        x = torch.movedim(torch.movedim(x, axis, -1) @ matrix.T.to(x.device, x.dtype), -1, axis)
    return x
