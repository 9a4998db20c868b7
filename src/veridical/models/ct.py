"""What all models of CT slices share: which operators they take, and the sums that scale their
steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from veridical.models.base import MeasurementModel
from veridical.models.problem import Problem
from veridical.physics.linear import LinearOperator
from veridical.physics.projection import PlanarBeam


@dataclass(frozen=True)
class CTModel(MeasurementModel, ABC):
    """A solver of parallel-beam or fan-beam slices. Subclasses are frozen dataclasses; their fields
    are their settings.
    """

    @abstractmethod
    def reconstruct(self, operator: PlanarBeam, sinogram: Tensor) -> Tensor:
        """Return attenuation `(..., y, x)` from line integrals `(..., angle, detector)`; 1/mm from
        dimensionless ones.
        """

    def accepts(self, operator: LinearOperator) -> bool:
        return isinstance(operator, PlanarBeam)

    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        if not isinstance(problem.operator, PlanarBeam):
            raise AssertionError("asked only for operators that it accepts")
        return self.reconstruct(problem.operator, problem.data)[None]


def sensitivities(operator: PlanarBeam) -> tuple[Tensor, Tensor]:
    """Return 1 / (A 1) and 1 / (A^T 1), 0 where a ray misses the image or a pixel is not seen."""
    chords = operator.forward(torch.ones(operator.domain))
    visits = operator.adjoint(torch.ones(operator.range))
    return _inverse(chords), _inverse(visits)


def _inverse(sums: Tensor) -> Tensor:
    return torch.where(sums > 1e-3 * sums.max(), 1 / sums, torch.zeros_like(sums))
