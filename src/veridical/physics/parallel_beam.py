"""Parallel-beam projection of an image slice: first-generation CT, rebinned CT, and PET's lines of
response.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from veridical.physics.backprojection import filtered_backprojection
from veridical.physics.geometry_table import ANGLES, GeometryTable
from veridical.physics.linear import LinearOperator
from veridical.physics.projection import PlanarBeam, gaps, turn


class ParallelBeam(PlanarBeam):
    """`y[a, d]`: integral along the line `x cos(a) + y sin(a) = u_d`, the mean over the detector
    bin.

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
        """Return `(angle,)` radians that sum to pi; a missing wedge is not made up for by the views
        at its edges.
        """
        widths = gaps(self.angles, math.pi)
        return torch.minimum(widths, 2 * widths.median())

    def classical(self, y: Tensor) -> Tensor:
        """Return the filtered back-projection `(..., y, x)` in 1/mm."""
        return filtered_backprojection(self, y)

    @classmethod
    def from_geometry(cls, settings: Mapping[str, Any]) -> ParallelBeam:
        """Build the beam from plain values.

        Args: settings: `shape` [rows, columns]; `spacing` [dy, dx] in mm; `angles` in degrees, or
            `views` with `start` (0) and `arc` (180) in degrees; if need be `detectors` and `pitch`
            in mm.

        Raises:
            SettingError: a key is unknown, missing or of a wrong value.
        """
        table = GeometryTable.of(
            cls.name, settings, ("shape", "spacing"), ("views", *ANGLES, "detectors", "pitch")
        )
        pitch = table.number("pitch", above=0) if "pitch" in settings else None
        return cls(
            table.grid(),
            table.pair("spacing"),
            table.angles(180.0),
            table.whole("detectors"),
            pitch,
        )

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        return cls((12, 15), (1.5, 1.0), torch.rand(9, generator=generator) * math.pi, 19, 1.2)


def half_turn(views: int) -> Tensor:
    """Return `views` equidistant angles over half a turn, the first 0, in radians."""
    return torch.arange(views) * (math.pi / views)
