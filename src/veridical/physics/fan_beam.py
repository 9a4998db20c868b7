"""Fan-beam projection of an image slice onto a flat detector, as in C-arm and cone-beam CT in the
central plane.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from veridical.errors import GeometryError
from veridical.physics.backprojection import filtered_backprojection
from veridical.physics.geometry_table import ANGLES, GeometryTable
from veridical.physics.linear import LinearOperator
from veridical.physics.projection import PlanarBeam, gaps, turn


class FanBeam(PlanarBeam):
    """`y[a, d]`: integral along the ray from the source at angle `a` to bin `d` of a flat
    (equidistant) detector.

    The detector is described where it would stand at the centre of rotation: a real one at distance
    `D` from the source with bins of `p` has a pitch of `p * source / D` here. At angle `a` the
    source lies at `source * (sin a, -cos a)` in `(x, y)` and the detector runs along `(cos a, sin
    a)`. For a curved (equiangular) detector resample the views first.

    Args: shape: `(y, x)` of the image. spacing: `(dy, dx)` pixel size in mm. angles: `(angle,)`
        radians; filtered back-projection needs a full turn. source: distance of the source from the
        centre of rotation in mm; outside the image's corners. detectors: number of bins; None: as
        many as cover the diagonal's shadow. pitch: bin distance in mm at the centre of rotation;
        None: the smaller pixel size.

    Domain `(y, x)` in 1/mm; range `(angle, detector)`, dimensionless line integrals.

    Raises:
        GeometryError: the source would pass through the image.
    """

    name = "fan-beam"

    def __init__(
        self,
        shape: tuple[int, int],
        spacing: tuple[float, float],
        angles: Tensor,
        source: float,
        detectors: int | None = None,
        pitch: float | None = None,
    ) -> None:
        radius = 0.5 * math.hypot(shape[0] * spacing[0], shape[1] * spacing[1])
        if source <= radius:
            raise GeometryError(
                f"fan-beam: the source is {source:g} mm from the centre, the image's corners "
                f"{radius:g} mm; the source must "
                "stay outside the image. Check that both are in mm."
            )
        self.source, pitch = float(source), pitch or min(spacing)
        shadow = radius / math.sqrt(source**2 - radius**2) * source / radius
        bins = detectors or turn(shape, (spacing[0] * shadow, spacing[1] * shadow), pitch)
        self._set(shape, spacing, angles, bins, pitch, 1 / source)

    def quadrature(self) -> Tensor:
        """Return `(angle,)` radians that sum to pi: in a full turn every line is measured twice.

        Raises:
            GeometryError: a gap of more than four times the median gap: not a full turn.
        """
        widths = gaps(self.angles, 2 * math.pi)
        if widths.max() > 2.5 * widths.median():
            raise GeometryError(
                "fan-beam: filtered back-projection needs views over a full turn; the largest gap "
                "is about "
                f"{math.degrees(2 * float(widths.max())):.0f} degrees. Use sirt or tv-ct for a "
                "part of a turn."
            )
        return 0.5 * widths

    def classical(self, y: Tensor) -> Tensor:
        """Return the filtered back-projection `(..., y, x)` in 1/mm; of a part of a turn, damped
        least squares.
        """
        try:
            self.quadrature()
        except GeometryError:
            return super().classical(y)
        return filtered_backprojection(self, y)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the geometry, the source distance in mm included."""
        return super().describe() | {"source": self.source}

    @classmethod
    def from_geometry(cls, settings: Mapping[str, Any]) -> FanBeam:
        """Build the beam from plain values.

        Args: settings: `shape` [rows, columns]; `spacing` [dy, dx] in mm; `source`, its distance
            from the centre of rotation in mm; `angles` in degrees, or `views` with `start` (0) and
            `arc` (360) in degrees; if need be `detectors` and `pitch` in mm at the centre of
            rotation.

        Raises:
            SettingError: a key is unknown, missing or of a wrong value.
            GeometryError: the source would pass through the image.
        """
        table = GeometryTable.of(
            cls.name,
            settings,
            ("shape", "spacing", "source"),
            ("views", *ANGLES, "detectors", "pitch"),
        )
        pitch = table.number("pitch", above=0) if "pitch" in settings else None
        angles, source = table.angles(360.0), table.number("source", above=0)
        return cls(
            table.grid(), table.pair("spacing"), angles, source, table.whole("detectors"), pitch
        )

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        return cls(
            (12, 15), (1.5, 1.0), torch.rand(9, generator=generator) * 2 * math.pi, 30.0, 25, 1.2
        )


def full_turn(views: int) -> Tensor:
    """Return `views` equidistant angles over a full turn, the first 0, in radians."""
    return torch.arange(views) * (2 * math.pi / views)
