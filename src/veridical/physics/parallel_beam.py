"""Parallel-beam projection of an image slice: first-generation CT, rebinned CT, and PET's lines of response."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from veridical.physics.linear import LinearOperator
from veridical.physics.projection import PlanarBeam, gaps, turn


class ParallelBeam(PlanarBeam):
    """`y[a, d]`: integral along the line `x cos(a) + y sin(a) = u_d`, the mean over the detector bin.

    Args:
        shape: `(y, x)` of the image.
        spacing: `(dy, dx)` pixel size in mm.
        angles: `(angle,)` radians; half a turn sees everything.
        detectors: number of bins; None: as many as cover the diagonal.
        pitch: bin distance in mm; None: the smaller pixel size.

    Domain `(y, x)` in 1/mm; range `(angle, detector)`, dimensionless line integrals.
    """

    name = "parallel-beam"

    def __init__(
        self,
        shape: tuple[int, int],
        spacing: tuple[float, float],
        angles: Tensor,
        detectors: int | None = None,
        pitch: float | None = None,
    ) -> None:
        pitch = pitch or min(spacing)
        self._set(shape, spacing, angles, detectors or turn(shape, spacing, pitch), pitch, 0.0)

    def quadrature(self) -> Tensor:
        """Return `(angle,)` radians that sum to pi; a missing wedge is not made up for by the views at its edges."""
        widths = gaps(self.angles, math.pi)
        return torch.minimum(widths, 2 * widths.median())

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        return cls((12, 15), (1.5, 1.0), torch.rand(9, generator=generator) * math.pi, 19, 1.2)


def half_turn(views: int) -> Tensor:
    """Return `views` equidistant angles over half a turn, the first 0, in radians."""
    return torch.arange(views) * (math.pi / views)
