"""Noise of low-dose CT, put into real slices: textured by the reconstruction, stronger behind bone
and in fat bodies.

The model is that of `ct_noise` (Kijewski and Judy 1987, 10.1088/0031-9155/32/5/003). The dose
decides where noise is stronger; how strong it is over all is drawn apart, because a patch does not
show what else its rays passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from veridical.physics.ct_noise import low_dose_surrogate
from veridical.physics.degradation import Degradation, checked, log_uniform, scaled, seed
from veridical.physics.low_dose import GE, check_dose
from veridical.types import Array

BODY = -500.0
"""HU above which noise is counted."""


@dataclass(frozen=True)
class LowDoseNoise(Degradation):
    """Noise of a stated standard deviation in the body; no streaks of starved rays, no bias of the
    mean.
    """

    name: ClassVar[str] = "low-dose-noise"
    modalities: ClassVar[tuple[str, ...]] = ("CT",)
    harmless: ClassVar[Mapping[str, Any]] = {"noise": (0.0, 0.0)}
    noise: tuple[float, float] = (4.0, 150.0)
    """Root mean square in the body, HU."""
    dose: tuple[float, float] = (0.003, 0.5)
    """Share of the full dose: less makes noise behind bone stronger than elsewhere."""
    sharp: float = 0.25
    """Share of slices reconstructed with a sharp kernel (Shepp-Logan), not a soft one (Hann)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for end in self.dose:
            check_dose(end)

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the `noise` in HU, the `dose`, the `window` on the ramp filter, and the `seed`."""
        window = "shepp-logan" if rng.random() < self.sharp else "hann"
        dose = log_uniform(self.dose, rng)
        return {
            "noise": log_uniform(self.noise, rng),
            "dose": dose,
            "window": window,
            "seed": seed(rng),
        }

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices, rng = checked(image), np.random.default_rng(parameters["seed"])
        scanner = replace(GE, window=parameters["window"])
        noise = low_dose_surrogate(slices, spacing, parameters["dose"], rng, scanner) - slices
        return np.asarray(slices + scaled(noise, slices > BODY, parameters["noise"]), np.float32)
