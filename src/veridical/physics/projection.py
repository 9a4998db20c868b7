"""Projection of a 2D image along the rays of a parallel or a fan beam, with a matched
back-projection.

Separable-footprint method (Long, Fessler and Balter 2010, 10.1109/TMI.2010.2050898) in the plane:
the shadow of a pixel on the detector is a trapezoid whose area is the pixel's, averaged over each
detector bin. So the total over the detector is exact for a parallel beam, and the back-projection
of a flat view is flat. Both directions compute the same weights.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veridical.compiled import njit
from veridical.errors import GeometryError, SettingError
from veridical.physics.differentiable import linear_map
from veridical.physics.footprints import PARTS, f4, fill, share
from veridical.physics.linear import LinearOperator
from veridical.types import Array

WEDGE = 2.5
"""Gap between views, in medians of all gaps, from which a wedge of directions is missing."""
ENOUGH = 1.5
"""Numbers measured over numbers wanted from which views are so dense that back-projection is a
plain blur.
"""
FITTING = {True: 8, False: 30}
"""Conjugate-gradient steps of a data step, by whether they are preconditioned."""


class PlanarBeam(LinearOperator):
    """Line integrals of a 2D image, each the mean over one detector bin.

    The image's pixel `(row, column)` lies at `y = (row - (rows - 1) / 2) dy`, `x = (column -
    (columns - 1) / 2) dx` from the centre of rotation. Domain `(y, x)` in 1/mm; range `(angle,
    detector)`, dimensionless.

    Attributes: angles: `(angle,)` radians. spacing: `(dy, dx)` pixel size in mm. pitch: distance of
        detector bins in mm, at the centre of rotation. curvature: 1 / distance of the source from
        the centre of rotation in 1/mm; 0 for a parallel beam.
    """

    angles: Tensor
    spacing: tuple[float, float]
    pitch: float
    curvature: float

    nonnegative = True

    @property
    def redundancy(self) -> float:
        """Numbers measured over numbers wanted; at most 1 where a wedge of directions was not
        measured.
        """
        widths = gaps(self.angles, math.pi)  # opposite views measure the same lines
        numbers = super().redundancy
        return min(numbers, 1.0) if widths.max() > WEDGE * widths.median() else numbers

    def _set(
        self,
        shape: tuple[int, int],
        spacing: tuple[float, float],
        angles: Tensor,
        detectors: int,
        pitch: float,
        curvature: float,
    ) -> None:
        if angles.ndim != 1 or not len(angles) or len(shape) != 2:
            raise GeometryError(
                f"{self.name}: angles of shape {tuple(angles.shape)}, image {tuple(shape)}; "
                "expected angles (angle,) in "
                "radians and an image grid (y, x)."
            )
        if min(*shape, detectors) < 1 or min(*spacing, pitch) <= 0:
            raise SettingError(
                f"{self.name}: grid {tuple(shape)}, pixels {spacing} mm, {detectors} detector bins "
                f"of {pitch} mm; all must "
                "be positive."
            )
        self.domain, self.range = (int(shape[0]), int(shape[1])), (len(angles), int(detectors))
        self.angles, self.spacing, self.pitch = (
            angles.float(),
            (float(spacing[0]), float(spacing[1])),
            float(pitch),
        )
        self.curvature = float(curvature)
        nearest = 1 - self.curvature * 0.5 * math.hypot(
            shape[0] * self.spacing[0], shape[1] * self.spacing[1]
        )
        self._taps = math.ceil(math.hypot(*self.spacing) / (self.pitch * nearest)) + 1
        self.shift_invariant = self.redundancy >= ENOUGH
        self.fitting_steps = FITTING[self.shift_invariant]

    @property
    def positions(self) -> Tensor:
        """Centres of the detector bins, `(detector,)`, in mm at the centre of rotation."""
        count = self.range[1]
        return (torch.arange(count, device=self.angles.device) - (count - 1) / 2) * self.pitch

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        return linear_map(x, 2, self._project, self._smear)

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "the sinogram")
        return linear_map(y, 2, self._smear, self._project)

    @abstractmethod
    def quadrature(self) -> Tensor:
        """Return `(angle,)` weights in radians that make a sum over views an integral over the
        angle.

        Raises:
            GeometryError: the views leave too much of the turn out for filtered back-projection.
        """

    def backproject(self, filtered: Tensor) -> Tensor:
        """Integrate filtered views over the angle, the last step of filtered back-projection:
        `(..., *range)` to the image.

        Linear interpolation between bins, which is sharper than the adjoint; in a fan beam each
        pixel is weighted by `1 / (1 + depth / source distance)^2` (Kak and Slaney 1988, chapter 3).
        """
        self.check(filtered, self.range, "the sinogram")
        stretch = torch.sqrt(1 + (self.curvature * self.positions) ** 2)
        views = filtered * (
            self.quadrature()[:, None] * self.pitch / (stretch * self.spacing[0] * self.spacing[1])
        )
        return linear_map(
            views, 2, lambda y: self._smear(y, True), lambda x: self._project(x, True)
        )

    def describe(self) -> dict[str, Any]:
        """Return the shapes, the grid in mm, the distances and a hash of the angles."""
        return super().describe() | {
            "spacing": list(self.spacing),
            "pitch": self.pitch,
            "curvature": self.curvature,
        }

    def _project(self, image: Array, analytic: bool = False) -> Array:
        views, detectors = self.range
        padded = np.zeros((len(image), views, detectors + 2 * self._taps), f4)
        share(
            views, lambda low, high: _forward(image, padded, *self._numbers(), analytic, low, high)
        )
        return np.ascontiguousarray(padded[..., self._taps : self._taps + detectors])

    def _smear(self, sinogram: Array, analytic: bool = False) -> Array:
        padded = np.pad(sinogram, ((0, 0), (0, 0), (self._taps, self._taps)))
        image = np.zeros((len(sinogram), *self.domain), f4)
        share(
            self.domain[0],
            lambda low, high: _adjoint(padded, image, *self._numbers(), analytic, low, high),
        )
        return image

    def _numbers(self) -> tuple[Array, Array, int]:
        angles = self.angles.detach().cpu().double().numpy()
        directions = np.stack([np.cos(angles), np.sin(angles)], 1).astype(f4)
        return directions, np.array([self.curvature, *self.spacing, self.pitch], f4), self._taps


def turn(shape: tuple[int, int], spacing: tuple[float, float], pitch: float) -> int:
    """Return how many detector bins of `pitch` mm cover the diagonal of the grid from every
    side.
    """
    return math.ceil(math.hypot(shape[0] * spacing[0], shape[1] * spacing[1]) / pitch) + 1


def gaps(angles: Tensor, period: float) -> Tensor:
    """Return for each angle half the distance between its two neighbours on a circle of `period`
    radians.
    """
    order = torch.argsort(torch.remainder(angles, period))
    ordered = torch.remainder(angles, period)[order]
    after = torch.diff(ordered, append=ordered[:1] + period)
    widths = torch.empty_like(ordered)
    widths[order] = 0.5 * (after + torch.roll(after, 1))
    return widths


@njit(fastmath=True, nogil=True, error_model="numpy")
def _footprints(
    y: f4,
    direction: Array,
    numbers: Array,
    bins: int,
    analytic: bool,
    first: Array,
    weights: Array,
    shadow: Array,
) -> None:
    """Compute what each pixel of a row adds to which detector bins of one view.

    Args: y: of the row, mm. direction: cosine and sine of the view's angle. numbers: curvature, dy,
        dx, pitch. bins: number of detector bins. analytic: the weights of filtered back-projection
        instead of the footprint: linear interpolation between the bins, and the magnification once
        more. first: out, `(x,)` the first bin touched, in a detector with `taps` bins of padding at
        each end. weights: out, `(taps, x)`. shadow: scratch, `(PARTS, x)`.
    """
    one, half, taps = f4(1), f4(0.5), weights.shape[0]
    curvature, dy, dx, pitch = numbers
    cosine, sine = direction
    per_bin, middle, centre = one / pitch, f4(0.5 * (first.size - 1)), f4(0.5 * bins)
    for column in range(first.size):
        x = (f4(column) - middle) * dx
        magnified = one / (one + curvature * (y * cosine - x * sine))
        u = (x * cosine + y * sine) * magnified
        tilt = u * curvature
        across = abs(cosine + tilt * sine) * magnified * dx * per_bin
        along = abs(sine - tilt * cosine) * magnified * dy * per_bin
        if analytic:
            across, along = one, f4(0)
        ramp = max(min(across, along), f4(1e-4))
        top = max(across, along) - ramp
        left = u * per_bin + centre - half * (across + along)
        cell = np.floor(left)
        mass = (
            np.sqrt(one + tilt * tilt)
            * magnified
            * dx
            * dy
            * per_bin
            * (magnified if analytic else one)
        )
        shadow[0, column], shadow[1, column], shadow[2, column] = left - cell, ramp, top
        shadow[3, column], shadow[4, column] = mass / (top + ramp), f4(0)
        first[column] = np.int32(min(max(cell, f4(-taps)), f4(bins))) + np.int32(taps)
    fill(shadow, weights)


@njit(fastmath=True, nogil=True, error_model="numpy")
def _forward(
    image: Array,
    sinogram: Array,
    directions: Array,
    numbers: Array,
    taps: int,
    analytic: bool,
    low: int,
    high: int,
) -> None:
    batch, rows, columns = image.shape
    first, shadow = np.empty(columns, np.int32), np.empty((PARTS, columns), np.float32)
    weights = np.empty((taps, columns), np.float32)
    for view in range(low, high):
        for row in range(rows):
            y = (f4(row) - f4(0.5 * (rows - 1))) * numbers[1]
            _footprints(
                y,
                directions[view],
                numbers,
                sinogram.shape[2] - 2 * taps,
                analytic,
                first,
                weights,
                shadow,
            )
            for item in range(batch):
                for tap in range(taps):
                    for column in range(columns):
                        sinogram[item, view, first[column] + tap] += (
                            weights[tap, column] * image[item, row, column]
                        )


@njit(fastmath=True, nogil=True, error_model="numpy")
def _adjoint(
    sinogram: Array,
    image: Array,
    directions: Array,
    numbers: Array,
    taps: int,
    analytic: bool,
    low: int,
    high: int,
) -> None:
    batch, rows, columns = image.shape
    first, shadow = np.empty(columns, np.int32), np.empty((PARTS, columns), np.float32)
    weights = np.empty((taps, columns), np.float32)
    for row in range(low, high):
        y = (f4(row) - f4(0.5 * (rows - 1))) * numbers[1]
        for view in range(directions.shape[0]):
            _footprints(
                y,
                directions[view],
                numbers,
                sinogram.shape[2] - 2 * taps,
                analytic,
                first,
                weights,
                shadow,
            )
            for item in range(batch):
                for tap in range(taps):
                    for column in range(columns):
                        image[item, row, column] += (
                            weights[tap, column] * sinogram[item, view, first[column] + tap]
                        )
