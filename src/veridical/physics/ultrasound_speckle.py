"""Speckle of ultrasound: echoes of many small scatterers add up with random phases.

Fully developed speckle has a Rayleigh amplitude, whatever the tissue (Wagner, Smith, Sandrik and
Lopez 1983, 10.1109/T-SU.1983.31404); its grain is the resolution cell, which is wider across the
beam than along it. Raw echoes have their own operator, `ultrasound`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from veridical.errors import SettingError
from veridical.physics.blur import FWHM
from veridical.physics.degradation import Degradation, checked, seed
from veridical.types import Array


@dataclass(frozen=True)
class UltrasoundSpeckle(Degradation):
    """Amplitudes are multiplied by speckle of mean 1, in part: compounding averages several."""

    name: ClassVar[str] = "ultrasound-speckle"
    modalities: ClassVar[tuple[str, ...]] = ("US",)
    harmless: ClassVar[Mapping[str, Any]] = {"strength": (0.0, 0.0)}
    strength: tuple[float, float] = (0.3, 1.0)
    """Share of the contrast of fully developed speckle, whose standard deviation is 0.52 of the
    mean.
    """
    along: tuple[float, float] = (1.0, 2.5)
    """Full width at half maximum of the grain along the beam (down the rows), mm."""
    across: tuple[float, float] = (2.0, 5.0)
    """The same across the beam."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength[1] > 1:
            raise SettingError(
                f"ultrasound-speckle: strength = {self.strength}; expected at most 1, fully "
                "developed."
            )

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the `strength`, the grain `along` and `across` the beam in mm, and the `seed`."""
        return {
            "strength": float(rng.uniform(*self.strength)),
            "along": float(rng.uniform(*self.along)),
            "across": float(rng.uniform(*self.across)),
            "seed": seed(rng),
        }

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices = checked(image)
        width = (
            0.0,
            parameters["along"] / FWHM / spacing[0],
            parameters["across"] / FWHM / spacing[1],
        )
        white = np.random.default_rng(parameters["seed"]).standard_normal((2, *slices.shape))
        parts = [ndimage.gaussian_filter(part, width, mode="wrap") for part in white]
        speckle = np.hypot(*parts)
        speckle = 1 + parameters["strength"] * (speckle / speckle.mean() - 1)
        return np.asarray(slices * speckle, np.float32)
