"""The best simple estimate of what is to be made: what a classical method says, or the degraded
image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy import ndimage

from veridical.conditioning.condition import Condition
from veridical.conditioning.request import LEAST_LEVEL, Request
from veridical.types import Array

NEAR = 5
"""Pixels over which the estimate is averaged to tell its detail."""
MOST = 5.0
"""Detail is clipped at so many expected errors: more carries no further information."""


@dataclass(frozen=True)
class InitialEstimate(Condition):
    """The estimate, its detail in units of the expected error, where the object is, and where in it
    each pixel lies.
    """

    name: ClassVar[str] = "initial-estimate"
    kind: ClassVar[Literal["map", "vector"]] = "map"

    @property
    def size(self) -> int:
        return 5

    def value(self, request: Request) -> Array | None:
        fine = request.initial - ndimage.uniform_filter(request.initial, NEAR)
        detail = np.clip(fine / max(request.level, LEAST_LEVEL), -MOST, MOST)
        return np.stack([request.initial, detail, request.support, *positions(request.support)])


def positions(support: Array) -> Array:
    """Return where each pixel lies in an object `(y, x)`: `(2, y, x)`, in units of twice its
    standard deviation.
    """
    weight = np.asarray(support, np.float64) + 1e-6
    found = []
    for axis in np.indices(support.shape).astype(np.float64):
        mean = np.average(axis, weights=weight)
        spread = max(1.0, float(np.sqrt(np.average((axis - mean) ** 2, weights=weight))))
        found.append((axis - mean) / (2 * spread))
    return np.stack(found).astype(np.float32)
