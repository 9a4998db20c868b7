"""Fluence optimization: how much each ray should carry, so that targets get their dose and the rest
little.

A convex problem in the fluences x >= 0, with dose d = A x:

    sum of weight (d - wanted)^2 + penalty max(d - limit, 0)^2

solved by accelerated projected gradients (FISTA: Beck and Teboulle, SIAM J Imaging Sci 2009,
10.1137/080716542).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.errors import InputError
from veridical.physics.photon_beams import BeamSet
from veridical.types import Array

POWER_STEPS = 8
MARGIN = 1.05
"""By which the step is smaller than the estimated curvature allows, which power steps bound from
below.
"""


@dataclass(frozen=True, eq=False)
class Goals:
    """What a plan should reach, `(x, y, z)` each.

    Args:
        wanted: dose that targets should have, Gy.
        weight: of deviations from it; 0 outside of targets.
        limit: dose above which there is a penalty, Gy.
        penalty: its weight; 0 where anything goes.
    """

    wanted: Array
    weight: Array
    limit: Array
    penalty: Array

    def objective(self, dose: Array) -> float:
        """Return half of the weighted sum of squares."""
        over = np.maximum(dose - self.limit, 0)
        return float(0.5 * (self.weight * (dose - self.wanted) ** 2 + self.penalty * over**2).sum())

    def slope(self, dose: Array) -> Array:
        """Return the derivative of the objective by the dose."""
        over = np.maximum(dose - self.limit, 0)
        return np.asarray(self.weight * (dose - self.wanted) + self.penalty * over, np.float32)


def optimized(beams: BeamSet, goals: Goals, iterations: int = 60) -> Array:
    """Return fluences `(beam, ray, slice)` that minimize the objective.

    Args:
        beams: around the patient.
        goals: on their grid.
        iterations: of FISTA.

    Raises:
        InputError: no voxel is a target, or no beam reaches one.
    """
    target = goals.weight > 0
    start = beams.adjoint(target.astype(np.float32))
    reached = beams.dose(start)[target]
    if not target.any() or reached.mean() <= 0:
        raise InputError(
            "No beam reaches a target; expected at least one voxel with a weight above 0, inside "
            "of the volume."
        )
    fluence = start * np.float32(goals.wanted[target].mean() / reached.mean())
    step = 1 / (MARGIN * curvature(beams, goals))
    ahead, momentum = fluence, 1.0
    for _ in range(iterations):
        slope = beams.adjoint(goals.slope(beams.dose(ahead)))
        new = np.maximum(ahead - np.float32(step) * slope, 0)
        later = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + np.float32((momentum - 1) / later) * (new - fluence)
        fluence, momentum = new, later
    return np.asarray(fluence)


def curvature(beams: BeamSet, goals: Goals) -> float:
    """Return the largest eigenvalue of the objective's second derivative, by power iteration."""
    weight = (goals.weight + goals.penalty).astype(np.float32)
    vector = np.random.default_rng(0).random(beams.fluence_shape, dtype=np.float32)
    norm = 1.0
    for _ in range(POWER_STEPS):
        vector = beams.adjoint(weight * beams.dose(vector))
        norm = float(np.linalg.norm(vector))
        vector /= np.float32(max(norm, 1e-30))
    return norm
