"""Photoacoustic tomography in a plane: integrals of the initial pressure over arcs about point
detectors on a ring.

A pulse of light heats the tissue, the heat makes a pressure, and what a detector hears at time t
comes from distance `speed * t`. In the circular Radon model (Kuchment and Kunyansky 2008,
10.1017/S0956792508007353) its trace is a function of the integrals of the initial pressure over
circles about it. Exact inversion for a full ring: Finch, Haltmeier and Rakesh 2007,
10.1137/070682137; for pressure in three dimensions see Xu and Wang 2005,
10.1103/PhysRevE.71.016706.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veridical.compiled import njit
from veridical.errors import GeometryError, SettingError
from veridical.physics.differentiable import linear_map
from veridical.physics.footprints import PARTS, f4, fill, share
from veridical.physics.geometry_table import ANGLES, GeometryTable
from veridical.physics.linear import LinearOperator
from veridical.physics.projection import gaps
from veridical.types import Array


class Photoacoustic(LinearOperator):
    """`y[d, t]`: integral of the initial pressure over the arc of radius `speed * t` about detector
    d, the mean over a sample.

    Pixel `(row, column)` lies at `y = (row - (rows - 1) / 2) dy`, `x = (column - (columns - 1) / 2)
    dx` from the centre of the ring, detector d at `radius * (sin a, cos a)` in `(y, x)`; speed of
    sound is the same everywhere. A pixel's shadow on a trace is the trapezoid that a plane wave
    from its direction would cast, averaged over each sample: so the sum of a trace times the
    distance between samples is the total pressure times the area, for every detector that hears all
    of it.

    Measured pressure p is no arc integral yet: for a thin object it is the time derivative of `y /
    t` up to a factor, so that `y = t * (integral of p up to t)`; band-limited transducers leave
    some of it out.

    Args: shape: `(y, x)` of the image. spacing: `(dy, dx)` pixel size in mm. angles: `(detector,)`
        radians, where the detectors stand on the ring; a part of the ring is a limited view.
        radius: of the ring in mm; the image's corners lie inside. samples: of a trace. rate:
        sampling rate in MHz. speed: of sound in m/s. delay: time of the first sample in
        microseconds.

    Domain `(y, x)`, pressure in arbitrary units; range `(detector, time)`, the same unit times mm.

    Raises:
        GeometryError: shapes do not fit, or detectors would lie inside the image.
        SettingError: a number that must be positive is not, or the first sample lies before time 0.
    """

    name = "photoacoustic"
    nonnegative = True

    def __init__(
        self,
        shape: tuple[int, int],
        spacing: tuple[float, float],
        angles: Tensor,
        radius: float,
        samples: int,
        rate: float,
        speed: float,
        delay: float = 0.0,
    ) -> None:
        if angles.ndim != 1 or not len(angles) or len(shape) != 2:
            raise GeometryError(
                f"photoacoustic: angles of shape {tuple(angles.shape)}, image {tuple(shape)}; "
                "expected angles (detector,) in "
                "radians and an image grid (y, x)."
            )
        if min(*shape, samples) < 1 or min(*spacing, rate, speed) <= 0 or delay < 0:
            raise SettingError(
                f"photoacoustic: grid {tuple(shape)}, pixels {spacing} mm, {samples} samples at "
                f"{rate} MHz, {speed} m/s, "
                f"first at {delay} us; all must be positive, the first sample not before 0."
            )
        corner = 0.5 * math.hypot(shape[0] * spacing[0], shape[1] * spacing[1])
        if radius <= corner:
            raise GeometryError(
                f"photoacoustic: the detectors lie {radius:g} mm from the centre, the image's "
                f"corners {corner:g} mm; the ring "
                "must lie outside the image. Check that both are in mm, or make the image smaller."
            )
        self.domain, self.range = (int(shape[0]), int(shape[1])), (len(angles), int(samples))
        self.angles, self.spacing, self.radius = (
            angles.float(),
            (float(spacing[0]), float(spacing[1])),
            float(radius),
        )
        self.rate, self.speed, self.delay = float(rate), float(speed), float(delay)
        self._taps = math.ceil(math.hypot(*self.spacing) / self.step) + 1

    @property
    def step(self) -> float:
        """What sound travels from sample to sample, in mm."""
        return 1e-3 * self.speed / self.rate

    @property
    def radii(self) -> Tensor:
        """Radius of the arc of each sample, `(time,)` float64, in mm."""
        return (
            self.delay * self.rate + torch.arange(self.range[1], dtype=torch.float64)
        ) * self.step

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        return linear_map(x, 2, self._gather, self._smear)

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "the traces")
        return linear_map(y, 2, self._smear, self._gather)

    def classical(self, y: Tensor) -> Tensor:
        """Return the filtered back-projection `(..., y, x)`, for a full ring the inverse (Finch,
        Haltmeier and Rakesh 2007).

        Of a part of the ring it is the part that is seen; what the missing detectors would add is
        not made up for.
        """
        self.check(y, self.range, "the traces")
        widths = gaps(self.angles, 2 * math.pi)
        share_of_turn = torch.minimum(widths, 2 * widths.median()) / (2 * math.pi)
        filtered = y @ self._filter().to(y.device, y.dtype).mT
        area = self.spacing[0] * self.spacing[1]
        return self.adjoint(filtered * (share_of_turn[:, None] * self.step / area))

    def describe(self) -> dict[str, Any]:
        """Return the shapes, the grid and the ring in mm, sampling, speed of sound and a hash of
        the angles.
        """
        numbers = {name: getattr(self, name) for name in ("radius", "rate", "speed", "delay")}
        return super().describe() | {"spacing": list(self.spacing), **numbers}

    @classmethod
    def from_geometry(cls, settings: Mapping[str, Any]) -> Photoacoustic:
        """Build the operator from plain values.

        Args: settings: `shape` [rows, columns]; `spacing` [dy, dx] in mm; `radius` of the ring in
            mm; `samples`; `rate` in MHz; `speed` in m/s; `angles` of the detectors in degrees, or
            `detectors`, their number, with `start` (0) and `arc` (360) in degrees; if need be
            `delay` of the first sample in microseconds.

        Raises:
            SettingError: a key is unknown, missing or of a wrong value.
            GeometryError: detectors would lie inside the image.
        """
        needed = ("shape", "spacing", "radius", "samples", "rate", "speed")
        table = GeometryTable.of(cls.name, settings, needed, ("detectors", *ANGLES, "delay"))
        radius, rate, speed = (table.number(key, above=0) for key in ("radius", "rate", "speed"))
        angles, delay = table.angles(360.0, "detectors"), table.number("delay", 0.0, least=0)
        return cls(
            table.grid(),
            table.pair("spacing"),
            angles,
            radius,
            table.count("samples"),
            rate,
            speed,
            delay,
        )

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        angles = torch.rand(9, generator=generator) * 2 * math.pi
        return cls((12, 15), (1.5, 1.0), angles, 16.0, 40, 2.0, 1500.0, 2.5)

    def _filter(self) -> Tensor:
        """Return `(time, time)`: a trace to what is back-projected, `h(rho) = integral of (d/dr r
        d/dr M)(r) log|r^2 - rho^2|`.

        M is the mean over the circle, `y / (2 pi r)`. It is taken as constant over a sample and the
        logarithm is integrated exactly, so that its singularity does no harm.
        """
        radii, step, count = self.radii, self.step, self.range[1]
        heard = radii > 0.75 * step
        means = torch.diag(
            torch.where(heard, 1 / (2 * math.pi * radii.clamp_min(1e-9)), torch.zeros_like(radii))
        )
        edges = (radii[0] + (torch.arange(count + 1) - 0.5) * step).clamp_min(0)
        flux = (
            edges[:, None] * torch.diff(torch.nn.functional.pad(means, (0, 0, 1, 1)), dim=0) / step
        )
        bent = torch.diff(torch.nn.functional.pad(flux, (0, 0, 1, 1)), dim=0) / step
        ends = radii[0] + (torch.arange(count + 3) - 1.5) * step
        above, below = ends - radii[:, None], ends + radii[:, None]
        whole = torch.xlogy(above, above.abs()) - above + torch.xlogy(below, below.abs()) - below
        return torch.diff(whole, dim=1) @ bent

    def _gather(self, image: Array) -> Array:
        detectors, samples = self.range
        padded = np.zeros((len(image), detectors, samples + 2 * self._taps), f4)
        share(detectors, lambda low, high: _forward(image, padded, *self._numbers(), low, high))
        return np.ascontiguousarray(padded[..., self._taps : self._taps + samples])

    def _smear(self, traces: Array) -> Array:
        padded = np.pad(traces, ((0, 0), (0, 0), (self._taps, self._taps)))
        image = np.zeros((len(traces), *self.domain), f4)
        share(
            self.domain[0], lambda low, high: _adjoint(padded, image, *self._numbers(), low, high)
        )
        return image

    def _numbers(self) -> tuple[Array, Array, int]:
        angles = self.angles.detach().cpu().double().numpy()
        places = (self.radius * np.stack([np.sin(angles), np.cos(angles)], 1)).astype(f4)
        return (
            places,
            np.array([*self.spacing, 1 / self.step, self.delay * self.rate], f4),
            self._taps,
        )


@njit(fastmath=True, nogil=True, error_model="numpy")
def _shadows(
    y: f4, place: Array, numbers: Array, bins: int, first: Array, weights: Array, shadow: Array
) -> None:
    """Compute what each pixel of a row adds to which samples of one detector's trace.

    Args: y: of the row, mm. place: of the detector, `(y, x)` in mm. numbers: dy, dx, samples per
        mm, index of the first sample counted from time 0. bins: samples of a trace. first: out,
        `(x,)` the first sample touched, in a trace with `taps` samples of padding at each end.
        weights: out, `(taps, x)`. shadow: scratch, `(PARTS, x)`.
    """
    half, taps = f4(0.5), weights.shape[0]
    dy, dx, per_mm, begin = numbers
    middle, down = f4(0.5 * (first.size - 1)), y - place[0]
    for column in range(first.size):
        right = (f4(column) - middle) * dx - place[1]
        distance = np.sqrt(right * right + down * down)
        across, along = abs(right) / distance * dx * per_mm, abs(down) / distance * dy * per_mm
        ramp = max(min(across, along), f4(1e-4))
        top = max(across, along) - ramp
        left = distance * per_mm - begin + half - half * (across + along)
        cell = np.floor(left)
        shadow[0, column], shadow[1, column], shadow[2, column] = left - cell, ramp, top
        shadow[3, column], shadow[4, column] = dy * dx * per_mm / (top + ramp), f4(0)
        first[column] = np.int32(min(max(cell, f4(-taps)), f4(bins))) + np.int32(taps)
    fill(shadow, weights)


@njit(fastmath=True, nogil=True, error_model="numpy")
def _forward(
    image: Array, traces: Array, places: Array, numbers: Array, taps: int, low: int, high: int
) -> None:
    batch, rows, columns = image.shape
    first, shadow = np.empty(columns, np.int32), np.empty((PARTS, columns), np.float32)
    weights = np.empty((taps, columns), np.float32)
    for detector in range(low, high):
        for row in range(rows):
            y = (f4(row) - f4(0.5 * (rows - 1))) * numbers[0]
            _shadows(
                y, places[detector], numbers, traces.shape[2] - 2 * taps, first, weights, shadow
            )
            for item in range(batch):
                for tap in range(taps):
                    for column in range(columns):
                        traces[item, detector, first[column] + tap] += (
                            weights[tap, column] * image[item, row, column]
                        )


@njit(fastmath=True, nogil=True, error_model="numpy")
def _adjoint(
    traces: Array, image: Array, places: Array, numbers: Array, taps: int, low: int, high: int
) -> None:
    batch, rows, columns = image.shape
    first, shadow = np.empty(columns, np.int32), np.empty((PARTS, columns), np.float32)
    weights = np.empty((taps, columns), np.float32)
    for row in range(low, high):
        y = (f4(row) - f4(0.5 * (rows - 1))) * numbers[0]
        for detector in range(places.shape[0]):
            _shadows(
                y, places[detector], numbers, traces.shape[2] - 2 * taps, first, weights, shadow
            )
            for item in range(batch):
                for tap in range(taps):
                    for column in range(columns):
                        image[item, row, column] += (
                            weights[tap, column] * traces[item, detector, first[column] + tap]
                        )
