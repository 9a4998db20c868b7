"""Speckle: noise that multiplies the image, as coherent waves leave it (Goodman 1976,
10.1364/JOSA.66.001145).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from veridical.physics.degradation import Degradation
from veridical.types import Array


@dataclass(frozen=True)
class Speckle(Degradation):
    """Every pixel times one plus noise."""

    name: ClassVar[str] = "speckle"
    strength: tuple[float, float] = (0.05, 0.3)
    """Least and largest standard deviation of the factor."""

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        return {"strength": float(rng.uniform(*self.strength)), "seed": int(rng.integers(2**31))}

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        noise = np.random.default_rng(parameters["seed"]).standard_normal(image.shape, np.float32)
        return np.asarray(image * (1 + parameters["strength"] * noise), np.float32)
