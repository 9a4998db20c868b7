"""What a generator is shown in training: which other contrasts, and what scanners do to them.

Shading, noise and blur vary only what is shown. The truth stays as it was, so that a generator
learns to see through them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from veridical.physics.bias_shading import BiasShading
from veridical.physics.rician_noise import RicianNoise
from veridical.preprocessing.preprocessing import UNITS
from veridical.types import Array

SHADED, NOISY, BLURRED = 0.4, 0.4, 0.3
"""Shares of images."""
SHADING = BiasShading(strength=(0.05, 0.6))
NOISE = RicianNoise(noise=(0.005, 0.06))
WIDEST = 0.9
"""Largest standard deviation of the blur along an axis, pixels: interpolation, thicker slices."""
SELDOM = 0.2
"""How often CT and PET are shown where MR was measured too: patients rarely have both."""


def shown_of(others: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Draw which other contrasts are given, at least one."""
    likely = [name for name in others if name not in UNITS or rng.random() < SELDOM]
    return (likely or list(others))[: int(rng.integers(1, max(len(likely), 1) + 1))]


def varied(
    images: Mapping[str, Array], spacing: tuple[float, float], rng: np.random.Generator
) -> dict[str, Array]:
    """Return MR images `(3, y, x)` in network units as another scanner might have given them; CT
    and PET stay as they are.
    """
    return {
        name: image if name in UNITS else _varied(image, spacing, rng)
        for name, image in images.items()
    }


def _varied(image: Array, spacing: tuple[float, float], rng: np.random.Generator) -> Array:
    found = image
    if rng.random() < BLURRED:
        found = ndimage.gaussian_filter(found, (0.0, *rng.uniform(0, WIDEST, 2)))
    if rng.random() < SHADED:
        found = SHADING(found, spacing, rng)
    if rng.random() < NOISY and np.any(found):
        found = NOISE(found, spacing, rng)
    return np.asarray(found, np.float32)
