"""What a dose predictor sees of a patient: doses of optimized fluences, distances, depths and CT.

Grids here are `(x, y, z)` with x to the patient's right, y to the front and z to the head.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from veridical.models.dose_anatomy import FAR, PlanAnatomy, body_of
from veridical.physics.fluence import Goals, optimized
from veridical.physics.photon_beams import BeamSet, electron_density
from veridical.physics.prescriptions import ORGANS, TARGETS
from veridical.types import Array

UNIT = 70.0
"""Gy that count as 1."""
STRATEGIES = {"gentle": (0.03, 0.1, 4.0), "strict": (0.1, 0.5, 2.5)}
"""Plan -> weight of healthy tissue, weight of organs, Gy a mm by which dose should fall off."""
SERIAL, PARALLEL = (
    ("Brainstem", "SpinalCord"),
    ("RightParotid", "LeftParotid", "Esophagus", "Larynx"),
)
SERIAL_LIMIT, PARALLEL_LIMIT = 25.0, 20.0
"""Gy above which organs are spared: those that a hot spot harms, and those that the mean harms."""
SOFT = 0.6
"""Voxels by which the optimized doses are blurred, for the scatter that they lack."""
CHANNELS = (
    *(f"plan {name}" for name in STRATEGIES),
    "prescription",
    "distance to targets",
    *(f"distance to {name}" for name in (*TARGETS, *ORGANS)),
    "density",
    "depth",
    "least depth",
    "open fields",
    "beams crossing",
    "beyond targets",
    "highest prescription",
    "inside",
)
MIRRORED = tuple(
    CHANNELS.index(name.replace("Right", "?").replace("Left", "Right").replace("?", "Left"))
    for name in CHANNELS
)
"""Where each channel lies in a patient who is mirrored left to right: parotids change places."""


def goals(anatomy: PlanAnatomy, strategy: str, near: Array) -> Goals:
    """Return what a plan of a strategy should reach.

    Args:
        anatomy: of the patient.
        strategy: of `STRATEGIES`.
        near: mm to the nearest target.
    """
    healthy, organs, fall = STRATEGIES[strategy]
    level = anatomy.prescription
    target = level > 0
    serial, parallel = anatomy.mask(*SERIAL) & ~target, anatomy.mask(*PARALLEL) & ~target
    limit = np.where(target, level, np.maximum(level.max() - 8 - fall * np.maximum(near, 0), 0))
    limit = np.where(serial, np.minimum(limit, SERIAL_LIMIT), limit)
    limit = np.where(parallel & ~serial, np.minimum(limit, PARALLEL_LIMIT), limit)
    penalty = np.where(target | ~anatomy.inside, 0.0, healthy)
    penalty = np.where(parallel, organs, penalty)
    penalty = np.where(serial, 4 * organs, penalty)
    return Goals(
        level, target.astype(np.float32), limit.astype(np.float32), penalty.astype(np.float32)
    )


def features(anatomy: PlanAnatomy) -> Array:
    """Return `(channel, x, y, z)` in the order of `CHANNELS`, about 1 in size, 0 where no dose may
    be.

    What beams give is 0 in slices that none of them reaches.
    """
    level = anatomy.prescription
    slices = np.flatnonzero((level > 0).any((0, 1)))
    z = np.arange(level.shape[2])
    beyond = np.maximum(slices[0] - z, z - slices[-1]) * anatomy.spacing[2]
    *plans, depth, least, opened, crossing = of_beams(anatomy)
    found = [
        *plans,
        level / UNIT,
        anatomy.distance(level > 0) / FAR,
        *(anatomy.distance(anatomy.mask(name)) / FAR for name in (*TARGETS, *ORGANS)),
        anatomy.ct.clip(-1000, 1500) / 1000 + 1,
        depth,
        least,
        opened,
        crossing,
        np.broadcast_to(np.clip(beyond, -FAR, FAR) / FAR, level.shape),
        np.broadcast_to(level.max() / UNIT, level.shape),
        np.broadcast_to(1.0, level.shape),
    ]
    stacked = np.stack([one.astype(np.float32, copy=False) for one in found])
    return np.asarray(stacked * anatomy.inside)


def of_beams(anatomy: PlanAnatomy) -> Array:
    """Return what beams give, `(channel, x, y, z)`: optimized doses, mean and least depth, open
    fields, beams crossing.
    """
    z, slab = anatomy.near_targets()
    target = slab.prescription > 0
    body = body_of(slab.ct) | slab.inside
    beams, near = BeamSet(electron_density(slab.ct) * body, slab.spacing), slab.distance(target)
    doses = [beams.dose(optimized(beams, goals(slab, name, near))) for name in STRATEGIES]
    depths = np.stack(list(beams.depths))
    opened, crossing = beams.open_fields(target.astype(np.float32))
    found = np.zeros((len(STRATEGIES) + 4, *anatomy.ct.shape), np.float32)
    found[..., z] = [
        *(ndimage.gaussian_filter(dose, SOFT) / UNIT for dose in doses),
        depths.mean(0) / 100,
        depths.min(0) / 50,
        opened / max(float(opened.max()), 1e-6),
        crossing / len(beams.beams),
    ]
    return found
