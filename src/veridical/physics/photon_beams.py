"""Photon beams for planning: parallel rays, water-equivalent depth and exponential attenuation.

What a planner needs to know of a beam is which voxels a ray crosses and how much of it is left
there. Scatter, divergence and the spectrum are left out, so that this is no dose engine: it gives
the shape of what nine beams can do, from which a network learns the rest. Attenuation of a 6 MV
beam in water and its build-up: Khan FM, Gibbons JP, The Physics of Radiation Therapy, 5th ed. 2014,
chapter 9.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from veridical.compiled import njit
from veridical.errors import GeometryError
from veridical.types import Array

ANGLES = tuple(range(0, 360, 40))
"""Gantry angles of nine coplanar beams in degrees, as those of the OpenKBP plans (Babier et al.,
Medical Physics 2021, 10.1002/mp.14845); 0 comes from the front, 90 from the patient's left.
"""
ATTENUATION = 0.0045
"""Of a 6 MV beam of 10 cm x 10 cm in water, 1/mm."""
SURFACE, BUILD_UP = 0.4, 5.0
"""Share of the dose at the surface, and mm of water in which the rest builds up."""
PENUMBRA = 3.0
"""Standard deviation of the edge of a ray, mm."""
DENSEST = 2.0
"""Relative electron density at which HU are cut: above it is metal."""


@dataclass(frozen=True, eq=False)
class Beam:
    """One beam through the columns of a volume that hold something.

    Args:
        first: `(column,)`, the first ray that a column sees.
        shares: `(column, tap)`, how much of that ray and the next ones.
        transmission: `(column, slice)`, dose per fluence there.
        depth: `(column, slice)`, mm of water in front.
    """

    first: Array
    shares: Array
    transmission: Array
    depth: Array


class BeamSet:
    """Beams around the body axis, and the dose that their fluences give.

    Args:
        density: `(x, y, z)` relative electron density; x points to the patient's right, y to the
            front, z along the axis of rotation. Columns along z without any get no dose.
        spacing: mm.
        angles: of the gantry, degrees.

    Raises:
        GeometryError: the density is no volume, or the spacing is not three numbers above 0.
    """

    def __init__(
        self, density: Array, spacing: Sequence[float], angles: Sequence[float] = ANGLES
    ) -> None:
        if density.ndim != 3 or len(spacing) != 3 or min(spacing) <= 0:
            raise GeometryError(
                f"A density of shape {density.shape} with spacing {tuple(spacing)} was given; "
                "expected (x, y, z) and three spacings above 0 mm."
            )
        self.shape: tuple[int, int, int] = density.shape
        self.spacing = tuple(float(size) for size in spacing)
        self.step = min(self.spacing[:2])
        """mm between rays."""
        self.reach = int(np.ceil(2 * PENUMBRA / self.step))
        """Rays to each side of a column that it sees."""
        sides = [n * size for n, size in zip(self.shape, self.spacing, strict=True)]
        self.count = int(np.ceil(np.hypot(sides[0], sides[1]) / self.step)) + 2 * self.reach + 3
        self.columns = np.flatnonzero((density > 0).any(2).ravel())
        self.beams = tuple(self._beam(np.asarray(density, np.float32), angle) for angle in angles)

    @property
    def fluence_shape(self) -> tuple[int, int, int]:
        """`(beam, ray, slice)`."""
        return len(self.beams), self.count, self.shape[2]

    @property
    def depths(self) -> Iterator[Array]:
        """Water-equivalent depth `(x, y, z)` of each beam, mm; 0 in empty columns."""
        return (self._placed(beam.depth) for beam in self.beams)

    def dose(self, fluence: Array) -> Array:
        """Return the dose `(x, y, z)` of fluences `(beam, ray, slice)`, in their units."""
        found = np.zeros((len(self.columns), self.shape[2]), np.float32)
        for beam, part in zip(self.beams, self._smooth(fluence), strict=True):
            _spread(part, beam.first, beam.shares, beam.transmission, found)
        return self._placed(found)

    def adjoint(self, dose: Array) -> Array:
        """Return the exact adjoint of `dose`: `(x, y, z)` to `(beam, ray, slice)`."""
        flat = np.ascontiguousarray(dose.reshape(-1, self.shape[2])[self.columns], np.float32)
        found = np.zeros(self.fluence_shape, np.float32)
        for beam, part in zip(self.beams, found, strict=True):
            _gather(flat, beam.first, beam.shares, beam.transmission, part)
        return self._smooth(found)

    def open_fields(self, target: Array) -> tuple[Array, Array]:
        """Return the dose of fields that are open where they see a target, and how many beams cross
        each voxel on their way: `(x, y, z)` each.
        """
        seen = self.adjoint(target)
        fluence = (seen > 0.1 * seen.max(initial=1e-6)).astype(np.float32)
        crossing = np.zeros((len(self.columns), self.shape[2]), np.float32)
        for beam, part in zip(self.beams, fluence, strict=True):
            crossing += part[beam.first + self.reach] > 0
        return self.dose(fluence), self._placed(crossing)

    def _placed(self, values: Array) -> Array:
        """Return `(x, y, z)` of values of the columns."""
        found = np.zeros((self.shape[0] * self.shape[1], self.shape[2]), np.float32)
        found[self.columns] = values
        return found.reshape(self.shape)

    def _smooth(self, fluence: Array) -> Array:
        """Blur along z, by what the edge of a leaf does; symmetric, so its own adjoint."""
        return np.asarray(
            ndimage.gaussian_filter1d(
                fluence, PENUMBRA / self.spacing[2], axis=2, mode="constant", truncate=2.5
            )
        )

    def _beam(self, density: Array, angle: float) -> Beam:
        turn = np.radians(angle)
        along = np.array([np.sin(turn), -np.cos(turn)])  # of travel: 0 degrees comes from the front
        across = np.array([np.cos(turn), np.sin(turn)])
        middle = [(n - 1) / 2 for n in self.shape[:2]]
        x, y = (
            (index - m) * size
            for index, m, size in zip(
                np.unravel_index(self.columns, self.shape[:2]), middle, self.spacing, strict=False
            )
        )
        begin = -(self.count - 1) / 2 * self.step
        places = begin + self.step * np.arange(self.count)
        t, u = np.meshgrid(places, places, indexing="ij")
        ways = [(along[k] * t + across[k] * u) / self.spacing[k] + middle[k] for k in range(2)]
        turned = _sampled(density, ways)
        water = (np.cumsum(turned, 0) - 0.5 * turned) * self.step
        at = [(way[0] * x + way[1] * y - begin) / self.step for way in (along, across)]
        depth = _sampled(water, at)
        return Beam(*self._rays(at[1]), transmission(depth), depth)

    def _rays(self, place: Array) -> tuple[Array, Array]:
        """Return the first ray that each column sees, and its shares: a normal profile."""
        taps = np.round(place).astype(np.int64)[:, None] + np.arange(-self.reach, self.reach + 1)
        shares = np.exp(-0.5 * ((taps - place[:, None]) * self.step / PENUMBRA) ** 2)
        shares /= shares.sum(1, keepdims=True)
        return taps[:, 0].copy(), shares.astype(np.float32)


@njit(fastmath=True)
def _spread(fluence: Array, first: Array, shares: Array, transmission: Array, out: Array) -> None:
    """Add to `out`, `(column, slice)`, the dose of one beam."""
    slices = out.shape[1]
    row = np.empty(slices, np.float32)
    for column in range(out.shape[0]):
        row[:] = 0
        for tap in range(shares.shape[1]):
            share, ray = shares[column, tap], first[column] + tap
            for z in range(slices):
                row[z] += share * fluence[ray, z]
        for z in range(slices):
            out[column, z] += transmission[column, z] * row[z]


@njit(fastmath=True)
def _gather(dose: Array, first: Array, shares: Array, transmission: Array, out: Array) -> None:
    """Add to `out`, `(ray, slice)`, the adjoint of `_spread`."""
    slices = out.shape[1]
    row = np.empty(slices, np.float32)
    for column in range(dose.shape[0]):
        for z in range(slices):
            row[z] = transmission[column, z] * dose[column, z]
        for tap in range(shares.shape[1]):
            share, ray = shares[column, tap], first[column] + tap
            for z in range(slices):
                out[ray, z] += share * row[z]


def transmission(depth: Array) -> Array:
    """Return the dose per fluence at a depth in mm of water: build-up, then exponential decay."""
    built = 1 - (1 - SURFACE) * np.exp(-depth / BUILD_UP)
    return np.asarray(built * np.exp(-ATTENUATION * depth), np.float32)


def electron_density(hu: Array) -> Array:
    """Return the electron density relative to water of CT in HU: air 0, water 1, cut at metal."""
    return np.asarray(np.clip(hu / 1000 + 1, 0, DENSEST), np.float32)


def _sampled(volume: Array, at: Sequence[Array]) -> Array:
    """Return `(*at, z)`: the volume `(x, y, z)` at places in the plane, linear, 0 outside."""
    low = [np.floor(one).astype(int) for one in at]
    high = [one - base for one, base in zip(at, low, strict=True)]
    found = np.zeros((*at[0].shape, volume.shape[2]), np.float32)
    for dx in (0, 1):
        for dy in (0, 1):
            i, j = low[0] + dx, low[1] + dy
            inside = (i >= 0) & (i < volume.shape[0]) & (j >= 0) & (j < volume.shape[1])
            weight = np.where(dx, high[0], 1 - high[0]) * np.where(dy, high[1], 1 - high[1])
            found[inside] += weight[inside, None].astype(np.float32) * volume[i[inside], j[inside]]
    return found
