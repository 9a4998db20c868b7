"""Photoacoustic images from detectors on a part of the circle: edges that face no detector are
lost.

An edge is seen by a detector on its normal (Xu, Wang, Ambartsoumian and Kuchment 2004,
10.1118/1.1644531), so that what is left is the wedge of spatial frequencies that the detectors
face. Raw data have their own operator, `photoacoustic`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from veridical.errors import SettingError
from veridical.physics.degradation import Degradation, checked
from veridical.types import Array

SOFT = 6.0
"""Degrees over which the edge of the wedge falls to zero."""


@dataclass(frozen=True)
class LimitedView(Degradation):
    """Spatial frequencies outside of a wedge are lost, all but the slowest; values below 0 become
    0.
    """

    name: ClassVar[str] = "limited-view"
    modalities: ClassVar[tuple[str, ...]] = ("PA",)
    harmless: ClassVar[Mapping[str, Any]] = {"angle": (180.0, 180.0)}
    angle: tuple[float, float] = (70.0, 140.0)
    """Degrees of the half circle that detectors face."""
    slowest: float = 0.01
    """Cycles a pixel below which frequencies of all directions are seen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.angle[1] > 180:
            raise SettingError(
                f"limited-view: angle = {self.angle}; expected at most 180 degrees, all directions."
            )

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the `angle` of the wedge and the direction of its `middle`, in degrees."""
        return {
            "angle": float(rng.uniform(*self.angle)),
            "middle": float(rng.uniform(0, 180)),
        }

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices, half = checked(image), parameters["angle"] / 2
        if half >= 90:
            return slices
        ky, kx = (
            np.fft.fftfreq(n, step) for n, step in zip(slices.shape[1:], spacing, strict=True)
        )
        turned = np.degrees(np.arctan2(ky[:, None], kx[None])) - parameters["middle"]
        away = np.abs((turned + 90) % 180 - 90)
        wedge = np.clip((half + SOFT / 2 - away) / SOFT, 0, 1)
        slow = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, slices.shape[1:]), indexing="ij"))
        wedge = np.maximum(wedge, np.exp(-math.log(2) * (slow / max(self.slowest, 1e-9)) ** 2))
        found = np.fft.ifft2(np.fft.fft2(slices) * wedge).real
        return np.asarray(found.clip(0), np.float32)
