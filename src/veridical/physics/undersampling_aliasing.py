"""Aliasing of MR from too few lines of k-space: the zero-filled image of lines that lie at random
about a full centre.

The sampling is that of compressed sensing (Lustig, Donoho and Pauly 2007, 10.1002/mrm.21391), of
one coil and a real object. Raw data of several coils have their own operator, `cartesian-mri`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from veridical.errors import SettingError
from veridical.physics.degradation import Degradation, checked, log_uniform, seed
from veridical.types import Array


@dataclass(frozen=True)
class UndersamplingAliasing(Degradation):
    """Lines along one axis are left out, fewest in the middle of k-space; magnitudes are kept."""

    name: ClassVar[str] = "undersampling-aliasing"
    harmless: ClassVar[Mapping[str, Any]] = {"factor": (1.0, 1.0)}
    factor: tuple[float, float] = (2.0, 6.0)
    """How many times fewer lines are measured than the image has."""
    centre: tuple[float, float] = (0.06, 0.12)
    """Share of the lines that is measured completely, about the middle."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor[0] < 1 or self.centre[1] > 1:
            raise SettingError(
                f"undersampling-aliasing: factor = {self.factor}, centre = {self.centre}; expected "
                "a factor of 1 or more, and a centre of at most 1."
            )

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the `axis` that the lines are counted along, the `factor`, the `centre`, and the
        `seed` of the other lines.
        """
        return {
            "axis": int(rng.integers(2)),
            "factor": log_uniform(self.factor, rng),
            "centre": float(rng.uniform(*self.centre)),
            "seed": seed(rng),
        }

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices, axis = checked(image), 1 + parameters["axis"]
        lines = slices.shape[axis]
        wanted = max(1, round(lines / parameters["factor"]))
        if wanted == lines:
            return slices
        away = np.abs(np.fft.fftfreq(lines))
        order = np.argsort(away, kind="stable")
        middle = order[: min(wanted, max(1, round(parameters["centre"] * lines)))]
        rng = np.random.default_rng(parameters["seed"])
        # Efraimidis and Spirakis 2006: the largest of u^(1/w) is a draw by weight.
        luck = rng.random(lines) ** (1 / np.maximum((1 - 1.6 * away) ** 2, 1e-3))
        luck[middle] = 2.0
        kept = np.zeros(lines, bool)
        kept[np.argsort(-luck, kind="stable")[:wanted]] = True
        spectrum = np.fft.fft(slices, axis=axis)
        shape = [1, 1, 1]
        shape[axis] = lines
        return np.abs(np.fft.ifft(spectrum * kept.reshape(shape), axis=axis)).astype(np.float32)
