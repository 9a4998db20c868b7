"""Thick slices seen from the side: means over their profiles along one axis of the plane,
interpolated linearly in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.interpolate import interp1d

from veridical.physics.degradation import Degradation, checked
from veridical.physics.thick_slices import ThickSlices
from veridical.types import Array


@dataclass(frozen=True)
class ThickSliceBlur(Degradation):
    """The operator `ThickSlices` along one axis of the plane, brought back to the grid as viewers
    do.
    """

    name: ClassVar[str] = "thick-slice-blur"
    modalities: ClassVar[tuple[str, ...]] = ("MR", "CT", "PET")
    harmless: ClassVar[Mapping[str, Any]] = {"factor": (1.0, 1.0), "edge": 1e-3}
    factor: tuple[float, float] = (1.5, 6.0)
    """Thickness in pixels; no more than half of the image."""
    edge: float = 0.2
    """Blur of the edges of the profile as a share of the thickness; 1 is nearly a Gaussian."""

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the `axis` across the slices, 0 (y) or 1 (x), and the `thickness` in mm."""
        axis = int(rng.integers(2))
        return {
            "axis": axis,
            "thickness": min(rng.uniform(*self.factor), shape[axis] / 2) * float(spacing[axis]),
        }

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices, axis = checked(image), parameters["axis"]
        scan = ThickSlices(
            slices.shape, spacing[axis], parameters["thickness"], axis=1 + axis, edge=self.edge
        )
        thick = scan.forward(torch.from_numpy(slices)).numpy()
        centres, pixels = scan.centres.numpy(), np.arange(slices.shape[1 + axis]) * spacing[axis]
        between = interp1d(centres, thick, axis=1 + axis)
        return np.asarray(between(np.clip(pixels, centres[0], centres[-1])), np.float32)
