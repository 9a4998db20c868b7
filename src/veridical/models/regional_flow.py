"""Deformations of a brain whose regions grow or shrink at given rates: a stationary velocity field
for the rate of each region, whose sum flows in time.

The velocity is the gradient of a potential inside of the skull (`phantoms.volume_change`). Flows of
stationary velocity fields are one to one at all times (Arsigny et al., MICCAI 2006,
10.1007/11866565_113): topology is kept, and the Jacobian stays above 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.errors import InputError
from veridical.models.atrophy_rates import NAMES, REGIONS
from veridical.phantoms import volume_change
from veridical.types import Array, Geometry

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]

FLUID = "fluid around the brain"
SMALLEST = 0.2
"""ml of a region below which it has no velocity of its own."""
LEAST_BRAIN = 200.0
"""ml of brain below which the labels show no head."""


@dataclass(frozen=True, eq=False)
class RegionalFlow:
    """A brain and how each of its regions changes it.

    Args:
        shares: region -> `(x, y, z)` share of each voxel.
        velocities: `(region, x, y, z, 3)` mm for a change of the region's log volume by 1.
        spacing: isotropic, mm.
        inside: `(x, y, z)` bool, all that lies inside of the skull.
    """

    shares: Mapping[str, Floats]
    velocities: Floats
    spacing: float
    inside: NDArray[np.bool_]

    @property
    def volumes(self) -> Reals:
        """Volume of each region, ml, in the order of `NAMES`."""
        voxel = self.spacing**3 / 1000
        return np.array([float(self.shares[name].sum()) * voxel for name in NAMES])

    def velocity(self, change: Reals) -> Floats:
        """Return the velocity `(x, y, z, 3)` in mm of changes `(region,)` of the log volumes."""
        return np.asarray(np.tensordot(change.astype(np.float32), self.velocities, 1), np.float32)

    def displacement(self, change: Reals, way: float = 1.0) -> Floats:
        """Return where each point lies once the regions have changed, relative to where it was:
        `(x, y, z, 3)` mm; with `way` -1 where each point of the changed brain was.
        """
        return volume_change.flow_of(self.velocity(change), way, self.spacing)

    def changed(self, change: Reals) -> Reals:
        """Return the volume of each region in ml once they have changed, from the Jacobian."""
        grown = volume_change.jacobian(self.displacement(change), self.spacing)
        voxel = self.spacing**3 / 1000
        return np.array([float((self.shares[name] * grown).sum()) * voxel for name in NAMES])


def regional_flow(probabilities: Mapping[str, Array], geometry: Geometry) -> RegionalFlow:
    """Return how the regions of a brain change it.

    Args:
        probabilities: structure -> `(x, y, z)` share of each voxel.
        geometry: their grid, isotropic.

    Raises:
        InputError: voxels are not isotropic, or there is no brain.
    """
    spacing = geometry.spacing[0]
    if np.ptp(geometry.spacing) > 0.02 * spacing:
        raise InputError(f"{geometry}; expected isotropic voxels.")
    nothing = np.zeros(geometry.shape, np.float32)
    shares = {
        name: np.sum([probabilities.get(part, nothing) for part in parts], 0).astype(np.float32)
        for name, parts in REGIONS.items()
    }
    fluid = np.asarray(probabilities.get(FLUID, nothing), np.float32)
    third = np.asarray(probabilities.get("third and fourth ventricle", nothing), np.float32)
    brain = np.sum([*shares.values()], 0)
    found = float(brain.sum()) * spacing**3 / 1000
    if found < LEAST_BRAIN:
        raise InputError(
            f"{found:.0f} ml of brain were found; a head has more than {LEAST_BRAIN:g}."
        )
    inside = ndimage.binary_closing(brain + fluid + third > 0.5, iterations=2)
    raw = _velocities(np.stack([*shares.values()]), fluid, inside, spacing)
    real = np.array([[_rate(one, shares[name], spacing) for name in NAMES] for one in raw])
    used = np.array([float(shares[name].sum()) * spacing**3 / 1000 > SMALLEST for name in NAMES])
    mixing = np.zeros_like(real)
    mixing[np.ix_(used, used)] = np.linalg.inv(real[np.ix_(used, used)])
    velocities = np.tensordot(mixing.astype(np.float32), raw, 1)
    return RegionalFlow(shares, np.asarray(velocities, np.float32), spacing, inside)


def _velocities(shares: Floats, fluid: Floats, inside: NDArray[np.bool_], spacing: float) -> Floats:
    """Return the velocity `(region, x, y, z, 3)` that makes each region grow at rate 1; the fluid
    around the brain gives way. It is sought in the box of what lies inside of the skull.
    """
    places = np.argwhere(inside)
    low, high = np.maximum(places.min(0) - 2, 0), places.max(0) + 3
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    outside = (fluid * inside)[box]
    found = np.zeros((*shares.shape, 3), np.float32)
    for share, into in zip(shares, found, strict=True):
        total = float((share * inside).sum())
        rate = share[box] - outside * np.float32(total / max(float(outside.sum()), 1.0))
        into[box] = volume_change.velocity_of(
            np.asarray(rate, np.float32), inside[box].copy(), spacing
        )
    return found


def _rate(velocity: Floats, share: Floats, spacing: float) -> float:
    """Return the rate that a velocity gives a region: the mean of its divergence."""
    slope = sum(np.gradient(velocity[..., d], spacing, axis=d) for d in range(3))
    return float((share * slope).sum() / max(float(share.sum()), 1e-6))
