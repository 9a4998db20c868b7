"""Noise of MR magnitude images: the magnitude of an image with complex Gaussian noise.

Its law: Gudbjartsson and Patz 1995, 10.1002/mrm.1910340618. Parallel imaging makes it uneven
(Pruessmann et al. 1999, SENSE), and scanners that interpolate make neighbours alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from veridical.physics.bias_shading import random_polynomial, smooth_field
from veridical.physics.degradation import Degradation, brightness, checked, log_uniform, seed
from veridical.physics.fourier import centre, ifft
from veridical.types import Array


@dataclass(frozen=True)
class RicianNoise(Degradation):
    """Complex noise, white or interpolated, even or uneven, and then the magnitude."""

    name: ClassVar[str] = "rician-noise"
    harmless: ClassVar[Mapping[str, Any]] = {"noise": (0.0, 0.0)}
    noise: tuple[float, float] = (0.01, 0.25)
    """Standard deviation of each component, root mean square over the image, as a share of the 99th
    percentile.
    """
    uneven: float = 0.5
    """Share of images with uneven noise."""
    strength: float = 1.0
    """How uneven that is: the span of a smooth field, as of `BiasShading`."""
    interpolated: float = 0.25
    """Share of images that were interpolated: noise fills 0.5 to 0.9 of k-space along each axis."""

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the `noise`, the `matrix` that it fills in k-space, its `strength` of unevenness
        with the `coefficients` of that, and its `seed`.
        """
        share = rng.uniform(0.5, 0.9) if rng.random() < self.interpolated else 1.0
        return {
            "noise": log_uniform(self.noise, rng),
            "matrix": [max(2, round(n * share)) for n in shape],
            "strength": self.strength if rng.random() < self.uneven else 0.0,
            "coefficients": random_polynomial(2, rng).tolist(),
            "seed": seed(rng),
        }

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices = checked(image)
        count, *shape = slices.shape
        rows, columns = parameters["matrix"]
        rng = np.random.default_rng(parameters["seed"])
        kspace = torch.from_numpy(
            rng.standard_normal((count, rows, columns, 2), np.float32).view(np.complex64)[..., 0]
        )
        noise = ifft(centre(kspace, (shape[0], shape[1]))).numpy() * np.sqrt(
            shape[0] * shape[1] / (rows * columns)
        )
        gain = smooth_field(
            (shape[0], shape[1]), np.array(parameters["coefficients"]), parameters["strength"]
        )
        size = parameters["noise"] * brightness(slices) / np.sqrt(np.square(gain).mean())
        return np.asarray(np.abs(slices + size * gain * noise), np.float32)
