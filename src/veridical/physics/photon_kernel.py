"""The point kernel of a 6 MV beam in water, as cones in which energy falls off exponentially.

Around a point where photons interact, the energy that goes into a cone at the angle theta to the
beam is `share * exp(-r / length) / length` per mm of water (Ahnesjo A, Med Phys 1989;16:577,
10.1118/1.596360): once for the electrons that the beam sets free (primary) and once for all that
its scattered photons do (scatter). The table was made by `benchmarks/photon_kernel.py`: a Monte
Carlo of the published spectrum in water.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.types import Array

EDGES = (0, 4, 9, 15, 22, 30, 39, 50, 63, 78, 95, 120, 150, 180)
"""Edges of the polar angles in degrees; 0 is along the beam."""
AROUND = (1, 8, 8, 8, 8, 8, 12, 12, 12, 12, 12, 8, 4)
"""Cones around the beam for each of them; even, so that left and right are alike."""
PRIMARY = (
    (0.03274, 3.43), (0.09719, 4.058), (0.1519, 4.456), (0.1764, 4.742), (0.1706, 4.773),
    (0.1424, 4.5), (0.111, 3.948), (0.06892, 3.17), (0.03318, 2.36), (0.01199, 1.666),
    (0.003441, 1.111), (0.0003128, 0.7047), (1.049e-05, 0.4607),
)  # fmt: skip
"""Share of the electrons' energy, and its mean distance in mm of water."""
SCATTER = (
    (0.01546, 318.6), (0.05706, 315.1), (0.1011, 304.7), (0.1279, 290.7), (0.1311, 277),
    (0.1188, 264.7), (0.1091, 253.9), (0.09253, 242.5), (0.07545, 231.2), (0.06038, 219.6),
    (0.05889, 207.9), (0.03959, 197.6), (0.01262, 192),
)  # fmt: skip
"""The same of the scattered photons' energy."""


@dataclass(frozen=True)
class Cone:
    """One direction in which energy leaves the point of an interaction.

    Args:
        direction: unit vector.
        primary, scatter: share of the energy, and mean distance in mm of water.
    """

    direction: Array
    primary: tuple[float, float]
    scatter: tuple[float, float]


def cones(axis: Array) -> list[Cone]:
    """Return the cones around a beam; their shares add up to 1 for each kind.

    Args:
        axis: `(3,)`, unit vector along which the beam travels.
    """
    helper = np.eye(3)[int(np.argmin(np.abs(axis)))]
    first = np.cross(axis, helper)
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    total = [sum(share for share, _ in table) for table in (PRIMARY, SCATTER)]
    found = []
    for ring, count in enumerate(AROUND):
        middle = np.radians(EDGES[ring] + EDGES[ring + 1]) / 2 if count > 1 else 0.0
        for turn in 2 * np.pi * (np.arange(count) + 0.5) / count:
            aside = np.cos(turn) * first + np.sin(turn) * second
            direction = np.cos(middle) * axis + np.sin(middle) * aside
            parts = [
                (table[ring][0] / whole / count, table[ring][1])
                for table, whole in zip((PRIMARY, SCATTER), total, strict=True)
            ]
            found.append(Cone(direction, parts[0], parts[1]))
    return found
