"""Stripes that sparks in the scanner room leave in MR images: single wrong samples of k-space.

What they look like: Graves and Mitchell 2013, J Magn Reson Imaging 38:269.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from veridical.physics.degradation import Degradation, brightness, checked
from veridical.types import Array


@dataclass(frozen=True)
class KspaceSpikes(Degradation):
    """Plane waves of constant magnitude, one for each wrong sample, the same in all slices."""

    name: ClassVar[str] = "kspace-spikes"
    harmless: ClassVar[Mapping[str, Any]] = {"strength": (0.0, 0.0)}
    strength: tuple[float, float] = (0.05, 0.5)
    """Amplitude of each set of stripes as a share of the 99th percentile; 0.05 is just seen, 0.5
    spoils the image.
    """
    count: tuple[int, int] = (1, 3)
    """Number of wrong samples, at different places."""

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the `strength`, the `samples` (ky, kx) from the centre of k-space, and their
        `phases` in radians.
        """
        count = int(rng.integers(self.count[0], self.count[1] + 1))
        places = np.unravel_index(rng.choice(shape[0] * shape[1], count, replace=False), shape)
        samples = np.stack(places, 1) - np.array(shape) // 2
        phases = rng.uniform(0, 2 * np.pi, count)
        return {
            "strength": rng.uniform(*self.strength),
            "samples": samples.tolist(),
            "phases": phases.tolist(),
        }

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices = checked(image)
        y, x = (np.arange(n) / n for n in slices.shape[1:])
        waves = [
            np.exp(1j * (2 * np.pi * (ky * y[:, None] + kx * x) + phase))
            for (ky, kx), phase in zip(parameters["samples"], parameters["phases"], strict=True)
        ]
        stripes = parameters["strength"] * brightness(slices) * np.sum(waves, 0)
        return np.asarray(np.abs(slices + stripes), np.float32)
