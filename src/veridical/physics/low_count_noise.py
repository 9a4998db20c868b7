"""Noise of PET with fewer counts: correlated over the post-filter's width, and stronger where more
is taken up.

Noise of an iterative reconstruction grows with the local activity, between its square root and
itself (Barrett, Wilson and Tsui 1994, 10.1088/0031-9155/39/5/004). `low_count.low_count_pet` makes
it from counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from veridical.physics.blur import FWHM
from veridical.physics.degradation import (
    Degradation,
    brightness,
    checked,
    log_uniform,
    scaled,
    seed,
)
from veridical.types import Array

BODY, LEAST = 0.1, 0.02
"""Share of the 99th percentile above which noise is counted, and that is added to the activity that
noise grows with.
"""


@dataclass(frozen=True)
class LowCountNoise(Degradation):
    """Noise of a stated size where there is activity; values below 0 become 0."""

    name: ClassVar[str] = "low-count-noise"
    modalities: ClassVar[tuple[str, ...]] = ("PET",)
    harmless: ClassVar[Mapping[str, Any]] = {"noise": (0.0, 0.0)}
    noise: tuple[float, float] = (0.05, 0.75)
    """Root mean square, SUV."""
    grain: tuple[float, float] = (4.0, 9.0)
    """Full width at half maximum of the noise, mm: resolution of the reconstruction and
    post-filter.
    """
    power: tuple[float, float] = (0.5, 1.0)
    """Noise grows with the activity to this power."""

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the `noise` in SUV, its `grain` in mm, the `power`, and the `seed`."""
        noise, grain, power = (
            log_uniform(self.noise, rng),
            rng.uniform(*self.grain),
            rng.uniform(*self.power),
        )
        return {"noise": noise, "grain": grain, "power": power, "seed": seed(rng)}

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices, level = checked(image), brightness(image)
        width = np.array([0, *(parameters["grain"] / FWHM / step for step in spacing)])
        white = np.random.default_rng(parameters["seed"]).standard_normal(slices.shape, np.float32)
        activity = ndimage.gaussian_filter(slices, 2 * width).clip(0) + LEAST * level
        noise = ndimage.gaussian_filter(white, width, mode="wrap") * activity ** parameters["power"]
        return np.asarray(
            (slices + scaled(noise, slices > BODY * level, parameters["noise"])).clip(0), np.float32
        )
