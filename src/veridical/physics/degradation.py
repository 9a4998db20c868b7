"""The base of all degradations of images: what goes wrong between the patient and the image,
without an operator to undo it.

One class a file. Parameters are drawn apart from being applied, so that they can be recorded,
repeated and stated in a card; training, calibration, benchmarks and tests use the same class.
TorchIO's transforms are the model (Pérez-García et al. 2021, 10.1016/j.cmpb.2021.106236).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.types import Array


@dataclass(frozen=True)
class Degradation(ABC):
    """A way in which images get worse. A subclass is a frozen dataclass; its fields are the ranges
    that parameters come from.

    Raises:
        SettingError: a range `(least, most)` that is not ordered, or a negative or infinite number.
    """

    name: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]] = ("MR",)
    """`MR`, `CT`, `PET`, `US` (ultrasound), `PA` (photoacoustics): whose images it happens to."""
    harmless: ClassVar[Mapping[str, Any]] = {}
    """Settings with which nothing changes; empty where there are none."""

    def __post_init__(self) -> None:
        for field in fields(self):
            ends = np.ravel(getattr(self, field.name)).tolist()
            numbers = all(isinstance(end, int | float) for end in ends)
            if numbers and not (all(0 <= end < math.inf for end in ends) and ends == sorted(ends)):
                raise SettingError(
                    f"{self.name}: {field.name} = {getattr(self, field.name)}; expected numbers of "
                    "0 or more, the least first."
                )

    @abstractmethod
    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Draw parameters for slices `(y, x)` with pixels of `spacing` mm: plain numbers and lists,
        ready for JSON.
        """

    @abstractmethod
    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        """Return degraded slices, float32.

        Args:
            image: `(slice, y, x)`, real: HU for CT, SUV for PET, magnitudes in any units for MR.
            spacing: `(dy, dx)`, mm.
            parameters: from `draw`; the same ones give the same result.

        Raises:
            InputError: not slices, or NaN or infinite values.
        """

    def __call__(
        self, image: Array, spacing: tuple[float, float], rng: np.random.Generator
    ) -> Array:
        """Draw parameters and apply them."""
        return self.apply(
            image, spacing, self.draw((image.shape[-2], image.shape[-1]), spacing, rng)
        )


def checked(image: Array) -> Array:
    """Return a float32 copy of slices, or raise an InputError."""
    if image.ndim != 3 or not np.isfinite(image).all():
        raise InputError(
            f"A degradation was asked for of an array of shape {image.shape}; expected finite "
            "slices (slice, y, x). Pass one "
            "slice as image[None], and write a number where it holds NaN or infinite values."
        )
    return np.array(image, np.float32)


def brightness(image: Array) -> float:
    """Return the 99th percentile of the magnitude, which strengths of MR artefacts are shares
    of.
    """
    return float(np.percentile(np.abs(image), 99))


def scaled(noise: Array, inside: Array, size: float) -> Array:
    """Return noise scaled to a root mean square of `size` over `inside`, or over everything where
    nothing is inside.
    """
    counted = noise[inside] if inside.any() else noise
    return np.asarray(
        noise * (size / max(float(np.sqrt(np.square(counted, dtype=np.float64).mean())), 1e-12))
    )


def log_uniform(ends: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw a number that is uniform in its logarithm; 0 where the range is `(0, 0)`."""
    return (
        float(math.exp(rng.uniform(math.log(ends[0]), math.log(ends[1]))))
        if ends[0] > 0
        else float(rng.uniform(*ends))
    )


def seed(rng: np.random.Generator) -> int:
    """Draw the seed of what is too long to be recorded."""
    return int(rng.integers(2**31))
