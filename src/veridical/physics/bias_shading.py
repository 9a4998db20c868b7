"""Shading of MR images by uneven coils: a smooth factor, the exponential of a random polynomial of
degree 3.

BrainWeb counts its strength as the span `(1 + s/2) / (1 - s/2)` of the field: 0.2 to 0.4 at 1.5 T
(Collins et al. 1998, 10.1109/42.712135), up to 0.8 at 3 T and more near surface coils.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.polynomial import legendre

from veridical.errors import GeometryError, SettingError
from veridical.physics.degradation import Degradation, checked, log_uniform
from veridical.types import Array

DEGREE = 3
STRONGEST = 2.0
"""Strength at which the field would be 0 somewhere."""


@dataclass(frozen=True)
class BiasShading(Degradation):
    """A smooth factor with geometric mean 1, the same in all slices."""

    name: ClassVar[str] = "bias-shading"
    harmless: ClassVar[Mapping[str, Any]] = {"strength": (0.0, 0.0)}
    strength: tuple[float, float] = (0.1, 1.2)
    """As BrainWeb counts it, below 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.strength[1])

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the `strength` and the `coefficients` of the polynomial, along y and x."""
        return {
            "strength": log_uniform(self.strength, rng),
            "coefficients": random_polynomial(2, rng).tolist(),
        }

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices = checked(image)
        shape = (slices.shape[1], slices.shape[2])
        return slices * smooth_field(
            shape, np.array(parameters["coefficients"]), parameters["strength"]
        )


def random_polynomial(axes: int, rng: np.random.Generator) -> Array:
    """Return Legendre coefficients `(4, ) * axes` up to degree 3, without a constant, falling with
    the degree.
    """
    degrees = np.indices((DEGREE + 1,) * axes).sum(0)
    usual = rng.standard_normal(degrees.shape) / np.maximum(degrees, 1)
    return np.where((degrees > 0) & (degrees <= DEGREE), usual, 0)


def smooth_field(shape: tuple[int, ...], coefficients: Array, strength: float) -> Array:
    """Return a factor that is smooth over a grid.

    Args:
        shape: `(y, x)` or `(x, y, z)`, any number of axes of 2 voxels or more.
        coefficients: of `random_polynomial`, as many axes.
        strength: the field spans `(1 + s/2) / (1 - s/2)`.

    Returns:
        float32 of that shape, above 0, with geometric mean 1.

    Raises:
        SettingError: a strength outside [0, 2).
        GeometryError: an axis of less than 2 voxels.
    """
    _check(strength)
    if min(shape) < 2:
        raise GeometryError(
            f"bias shading: a grid of {shape}; expected at least 2 voxels along each axis."
        )
    field = coefficients
    for axis, size in enumerate(shape):
        basis = legendre.legvander(np.linspace(-1, 1, size), DEGREE)
        field = np.moveaxis(np.tensordot(basis, np.moveaxis(field, axis, 0), 1), 0, axis)
    span = math.log((1 + strength / 2) / (1 - strength / 2))
    return np.asarray(np.exp(span * (field - field.mean()) / np.ptp(field)), np.float32)


def _check(strength: float) -> None:
    if not 0 <= strength < STRONGEST:
        raise SettingError(
            f"bias shading: strength = {strength}; expected 0 (none) or more, below 2; 0.2 to 0.4 "
            "is usual."
        )
