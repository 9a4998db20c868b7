"""Ultrafast ultrasound: echoes of plane waves at several steering angles, heard by the elements of
a linear array.

Point-scatterer (Born) model of Besson et al. 2018, 10.1109/TUFFC.2017.2768583: each point of the
tissue sends back the pulse, delayed by the way of the plane wave to it and the way back to each
element. Delay-and-sum for plane waves and their coherent compounding: Montaldo et al. 2009,
10.1109/TUFFC.2009.1067.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from veridical.compiled import njit
from veridical.errors import GeometryError, SettingError
from veridical.physics.differentiable import linear_map
from veridical.physics.footprints import f4, share
from veridical.physics.geometry_table import ANGLES, GeometryTable
from veridical.physics.linear import LinearOperator
from veridical.types import Array

FINE = 4
"""Delays are interpolated on a time grid so many times finer than the samples: at 4 samples a
period, to 1 % of the pulse.
"""
SHORT = 3.5
"""The pulse is cut off at so many standard deviations of its envelope, where it has fallen to 0.2
%.
"""


@dataclass(frozen=True)
class Probe:
    """A linear array and its pulse, a cosine under a Gaussian, symmetric about time 0."""

    elements: int
    """Number of elements, centred on x = 0."""
    pitch: float
    """Distance of neighbouring elements in mm."""
    frequency: float
    """Centre frequency in MHz."""
    bandwidth: float
    """Full width of the pulse's spectrum at -6 dB, transmit and receive together, as a share of the
    centre frequency.
    """
    rate: float
    """Sampling rate in MHz; at least four times the centre frequency for delays to be right."""
    speed: float
    """Speed of sound in m/s."""

    @property
    def deviation(self) -> float:
        """Standard deviation of the pulse's envelope in microseconds."""
        return math.sqrt(2 * math.log(2)) / (math.pi * self.bandwidth * self.frequency)

    def pulse(self, time: Tensor) -> Tensor:
        """Return the pulse at times in microseconds; 1 at 0."""
        return torch.exp(-0.5 * (time / self.deviation) ** 2) * torch.cos(
            2 * math.pi * self.frequency * time
        )


class Ultrasound(LinearOperator):
    """`y[a, e, t] = sum over pixels of w_e(r) pulse(t - (z cos a + x sin a + |r - r_e|) / speed)
    x(r)`.

    Element e lies at `x_e = (e - (elements - 1) / 2) pitch`, `z = 0`; pixel `(row, column)` at `z =
    depth + row dz`, `x = (column - (columns - 1) / 2) dx`. Time 0: the plane wave passes the centre
    of the array. The weight `w_e = (z / |r - r_e|) / sqrt(|r - r_e|)`, lengths in mm, is a small
    element in a soft baffle (Selfridge, Kino and Khuri-Yakub 1980, 10.1063/1.91692) and the
    spreading of a cylindrical wave. There is no attenuation and no multiple scattering.

    Args: shape: `(depth, lateral)` of the image. spacing: `(dz, dx)` pixel size in mm; an eighth of
        the wavelength of the centre frequency in depth resolves the echoes. angles: `(angle,)`
        radians, steering of the plane waves, positive towards positive x. probe: the array and the
        pulse. samples: of a trace. depth: of the first row in mm, > 0. delay: time of the first
        sample in microseconds.

    Domain `(y, x)`: depth and lateral, reflectivity in arbitrary units; range `(angle, element,
    time)`, the same units.

    Raises:
        GeometryError: shapes do not fit.
        SettingError: a number that must be positive is not, or an angle of 90 degrees or more.
    """

    name = "ultrasound"

    def __init__(
        self,
        shape: tuple[int, int],
        spacing: tuple[float, float],
        angles: Tensor,
        probe: Probe,
        samples: int,
        depth: float,
        delay: float = 0.0,
    ) -> None:
        if angles.ndim != 1 or not len(angles) or len(shape) != 2:
            raise GeometryError(
                f"ultrasound: angles of shape {tuple(angles.shape)}, image {tuple(shape)}; "
                "expected angles (angle,) in radians "
                "and an image grid (depth, lateral)."
            )
        if min(*shape, samples, *asdict(probe).values(), *spacing, depth) <= 0:
            raise SettingError(
                f"ultrasound: grid {tuple(shape)}, pixels {spacing} mm, first row at {depth} mm, "
                f"{samples} samples, {probe}; "
                "all must be positive."
            )
        if float(angles.abs().max()) >= 0.5 * math.pi:
            raise SettingError(
                f"ultrasound: a wave is steered by {float(angles.abs().max()):.2f} radians; "
                "expected less than pi / 2."
            )
        self.domain, self.range = (
            (int(shape[0]), int(shape[1])),
            (len(angles), probe.elements, int(samples)),
        )
        self.angles, self.spacing, self.probe = (
            angles.float(),
            (float(spacing[0]), float(spacing[1])),
            probe,
        )
        self.depth, self.delay = float(depth), float(delay)
        self._half = math.ceil(SHORT * probe.deviation * probe.rate * FINE)
        size = scipy.fft.next_fast_len(FINE * self.range[2] + 2 * self._half, real=True)
        self._size = int(size + size % 2)
        time = torch.arange(-self._half, self._half + 1, dtype=torch.float64) / (FINE * probe.rate)
        around = torch.zeros(self._size, dtype=torch.float64)
        around[torch.arange(-self._half, self._half + 1)] = probe.pulse(time)
        self._spectrum = torch.fft.rfft(around).real.float()

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        echoes = self._convolve(linear_map(x, 2, self._scatter, self._gather))
        return echoes[..., self._half : self._half + FINE * self.range[2] : FINE].contiguous()

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "the echoes")
        spread = torch.nn.functional.pad(y[..., None], (0, FINE - 1)).flatten(-2)
        padded = torch.nn.functional.pad(
            spread, (self._half, self._size - self._half - spread.shape[-1])
        )
        return linear_map(self._convolve(padded), 3, self._gather, self._scatter)

    def classical(self, y: Tensor) -> Tensor:
        """Return delay-and-sum of the matched-filtered echoes, `(..., y, x)`, all angles
        compounded.

        It is scaled so that one scatterer alone keeps its reflectivity at its place; its envelope
        along depth is the B-mode.
        """
        energy = (
            float(
                self.probe.pulse(
                    torch.arange(-self._half, self._half + 1) / (FINE * self.probe.rate)
                )
                .square()
                .sum()
            )
            / FINE
        )
        ones = np.ones((1, self.range[0], self.range[1], self._size), f4)
        power = torch.from_numpy(self._gather(ones, True)[0]).to(y.device, y.dtype) * energy
        return self.adjoint(y) / power.clamp_min(1e-3 * float(power.max()))

    def delays(self, row: int, column: int) -> Tensor:
        """Return when the echo of a pixel arrives, `(angle, element)`, in microseconds after the
        wave passed the array.
        """
        z, x = (
            self.depth + row * self.spacing[0],
            (column - (self.domain[1] - 1) / 2) * self.spacing[1],
        )
        back = torch.hypot(x - self._places(), torch.tensor(z, dtype=torch.float64))
        there = z * torch.cos(self.angles.double()) + x * torch.sin(self.angles.double())
        return 1e3 * (there[:, None] + back) / self.probe.speed

    def describe(self) -> dict[str, Any]:
        """Return the shapes, the grid in mm, the probe, and hashes of the angles and of the pulse's
        spectrum.
        """
        return super().describe() | {
            "spacing": list(self.spacing),
            "depth": self.depth,
            "delay": self.delay,
            "probe": asdict(self.probe),
        }

    @classmethod
    def from_geometry(cls, settings: Mapping[str, Any]) -> Ultrasound:
        """Build the operator from plain values.

        Args: settings: `shape` [rows, columns] and `spacing` [dz, dx] in mm of the image, `depth`
            of its first row in mm; the fields of `Probe`: `elements`, `pitch` in mm, `frequency` in
            MHz, `bandwidth`, `rate` in MHz, `speed` in m/s; `samples`; `angles` in degrees, or
            `views` with `start` (0) and `arc` in degrees; if need be `delay` of the first sample in
            microseconds.

        Raises:
            SettingError: a key is unknown, missing or of a wrong value.
        """
        numbers = ("pitch", "frequency", "bandwidth", "rate", "speed")
        needed = ("shape", "spacing", "depth", "elements", *numbers, "samples")
        table = GeometryTable.of(cls.name, settings, needed, ("views", *ANGLES, "delay"))
        probe = Probe(table.count("elements"), *(table.number(key, above=0) for key in numbers))
        depth, delay = table.number("depth", above=0), table.number("delay", 0.0)
        return cls(
            table.grid(),
            table.pair("spacing"),
            table.angles(None),
            probe,
            table.count("samples"),
            depth,
            delay,
        )

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        angles = (torch.rand(2, generator=generator) - 0.5) * 0.5
        return cls((12, 15), (0.3, 0.3), angles, Probe(9, 0.5, 2.0, 0.7, 8.0, 1540.0), 60, 3.0, 2.0)

    def _convolve(self, traces: Tensor) -> Tensor:
        result: Tensor = torch.fft.irfft(torch.fft.rfft(traces) * self._spectrum, self._size)
        return result

    def _places(self) -> Tensor:
        return (
            torch.arange(self.probe.elements, dtype=torch.float64) - (self.probe.elements - 1) / 2
        ) * self.probe.pitch

    def _scatter(self, image: Array) -> Array:
        traces = np.zeros((len(image), *self.range[:2], self._size), f4)
        share(self.range[1], lambda low, high: _forward(image, traces, *self._numbers(), low, high))
        return traces

    def _gather(self, traces: Array, squared: bool = False) -> Array:
        image = np.zeros((len(traces), *self.domain), f4)
        share(
            self.domain[0],
            lambda low, high: _adjoint(traces, image, *self._numbers(), squared, low, high),
        )
        return image

    def _numbers(self) -> tuple[Array, Array, Array]:
        angles = self.angles.detach().cpu().double().numpy()
        per_mm = 1e3 / self.probe.speed * self.probe.rate * FINE
        begin = self.delay * self.probe.rate * FINE - self._half
        directions = np.stack([np.cos(angles), np.sin(angles)], 1).astype(f4)
        return (
            directions,
            self._places().numpy().astype(f4),
            np.array([*self.spacing, self.depth, per_mm, begin], f4),
        )


@njit(fastmath=True, nogil=True, error_model="numpy")
def _forward(
    image: Array,
    traces: Array,
    directions: Array,
    places: Array,
    numbers: Array,
    low: int,
    high: int,
) -> None:
    """Add every pixel's weight, linearly interpolated, where its echo arrives; elements `low` to
    `high`.
    """
    batch, rows, columns = image.shape
    dz, dx, depth, per_mm, begin = numbers
    last = traces.shape[3] - 1
    for element in range(low, high):
        for row in range(rows):
            z = depth + f4(row) * dz
            for column in range(columns):
                x = (f4(column) - f4(0.5 * (columns - 1))) * dx
                way = np.sqrt(z * z + (x - places[element]) * (x - places[element]))
                weight = z / (way * np.sqrt(way))
                for angle in range(directions.shape[0]):
                    at = (
                        z * directions[angle, 0] + x * directions[angle, 1] + way
                    ) * per_mm - begin
                    cell = np.int32(np.floor(at))
                    if 0 <= cell < last:
                        share_of_next = at - f4(cell)
                        for item in range(batch):
                            value = weight * image[item, row, column]
                            traces[item, angle, element, cell] += (f4(1) - share_of_next) * value
                            traces[item, angle, element, cell + 1] += share_of_next * value


@njit(fastmath=True, nogil=True, error_model="numpy")
def _adjoint(
    traces: Array,
    image: Array,
    directions: Array,
    places: Array,
    numbers: Array,
    squared: bool,
    low: int,
    high: int,
) -> None:
    """Gather for every pixel of the rows `low` to `high` what arrives when its echo would;
    `squared`: with squared weights.
    """
    batch, _, columns = image.shape
    dz, dx, depth, per_mm, begin = numbers
    last = traces.shape[3] - 1
    for row in range(low, high):
        z = depth + f4(row) * dz
        for element in range(places.size):
            for angle in range(directions.shape[0]):
                for item in range(batch):
                    trace, line = traces[item, angle, element], image[item, row]
                    for column in range(columns):
                        x = (f4(column) - f4(0.5 * (columns - 1))) * dx
                        way = np.sqrt(z * z + (x - places[element]) * (x - places[element]))
                        weight = z / (way * np.sqrt(way))
                        weight = weight * weight if squared else weight
                        at = (
                            z * directions[angle, 0] + x * directions[angle, 1] + way
                        ) * per_mm - begin
                        cell = np.int32(np.floor(at))
                        inside = (cell >= 0) & (cell < last)
                        cell = cell if inside else np.int32(0)
                        share_of_next = at - f4(cell)
                        value = trace[cell] + share_of_next * (trace[cell + 1] - trace[cell])
                        line[column] += weight * value if inside else f4(0)
