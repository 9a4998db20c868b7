"""Total-variation reconstruction of MR scans by FISTA with an inner dual projection.

Block et al. 2007 (10.1002/mrm.21236); Chambolle 2004 dual projection
(10.1023/B:JMIV.0000011325.36760.1e).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from veridical.models.base import MRIModel
from veridical.models.problem import Problem


@dataclass(frozen=True)
class TotalVariation(MRIModel):
    """Piecewise smooth, consistent with the data."""

    name: ClassVar[str] = "total-variation"
    iterations: int = 30
    """FISTA iterations."""
    inner: int = 5
    """Dual steps per iteration; the dual variable is kept between iterations."""
    weight: float = 0.3
    """Weight in units of the noise standard deviation per real component."""
    least: float = 0.001
    """Smallest weight, as a share of the image's 99th percentile."""

    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        weight = max(self.weight * problem.sigma, self.least)
        adjoint = problem.operator.adjoint(problem.data)
        image = ahead = problem.start
        dual = torch.zeros(2, *image.shape, dtype=image.dtype)
        momentum = 1.0
        for _ in range(self.iterations):
            descended = ahead - (problem.operator.normal(ahead) - adjoint)
            renewed, dual = denoise(descended, weight, self.inner, dual)
            following = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
            ahead = renewed + (momentum - 1) / following * (renewed - image)
            image, momentum = renewed, following
        return image[None]


def denoise(image: Tensor, weight: float, iterations: int, dual: Tensor) -> tuple[Tensor, Tensor]:
    """Return `argmin 1/2 ||z - image||^2 + weight TV(z)` approximately, and the dual variable `(2,
    ..., y, x)`.
    """
    for _ in range(iterations):
        step = dual + gradient(image - weight * gradient_adjoint(dual)) / (8 * weight)
        dual = step / step.abs().square().sum(0).sqrt().clamp_min(1.0)
    return image - weight * gradient_adjoint(dual), dual


def gradient(image: Tensor) -> Tensor:
    """Forward differences with a zero last one: `(..., y, x)` to `(2, ..., y, x)`."""
    out = torch.zeros(2, *image.shape, dtype=image.dtype)
    out[0, ..., :-1, :] = image[..., 1:, :] - image[..., :-1, :]
    out[1, ..., :, :-1] = image[..., :, 1:] - image[..., :, :-1]
    return out


def gradient_adjoint(field: Tensor) -> Tensor:
    """The adjoint of `gradient` (minus the divergence)."""
    out = torch.zeros_like(field[0])
    out[..., 1:, :] += field[0, ..., :-1, :]
    out[..., :-1, :] -= field[0, ..., :-1, :]
    out[..., :, 1:] += field[1, ..., :, :-1]
    out[..., :, :-1] -= field[1, ..., :, :-1]
    return out
