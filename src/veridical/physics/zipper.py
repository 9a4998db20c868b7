"""Zippers: dotted lines that a radio signal from outside leaves across the phase-encoding direction
of MR images.

The signal has one frequency, so it falls on one column, and another phase on each line of k-space.
What they look like: Graves and Mitchell 2013, J Magn Reson Imaging 38:269.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from veridical.physics.degradation import Degradation, brightness, checked, seed
from veridical.types import Array


@dataclass(frozen=True)
class Zipper(Degradation):
    """One line along the phase-encoding axis, at the same place in all slices, with other dots in
    each.
    """

    name: ClassVar[str] = "zipper"
    harmless: ClassVar[Mapping[str, Any]] = {"strength": (0.0, 0.0)}
    strength: tuple[float, float] = (0.1, 1.0)
    """Root mean square of the line as a share of the 99th percentile."""

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the phase-encoding `axis`, the `place` across it, the `strength`, and the `seed`
        of the phases.
        """
        axis = int(rng.integers(2))
        place = int(rng.integers(shape[1 - axis]))
        return {
            "axis": axis,
            "place": place,
            "strength": rng.uniform(*self.strength),
            "seed": seed(rng),
        }

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices = checked(image)
        turned = np.moveaxis(slices, 1 + parameters["axis"], 1)
        phases = 2 * np.pi * np.random.default_rng(parameters["seed"]).random(turned.shape[:2])
        line = (
            np.fft.ifft(np.exp(1j * phases), norm="ortho")
            * parameters["strength"]
            * brightness(slices)
        )
        turned[:, :, parameters["place"]] = np.abs(turned[:, :, parameters["place"]] + line)
        return slices
