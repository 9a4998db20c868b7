"""CG-SENSE: the damped least-squares solution by conjugate gradient (Pruessmann et al. 2001,
10.1002/mrm.1241).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from veridical.models.base import MRIModel
from veridical.models.problem import Problem
from veridical.physics.linear import conjugate_gradient


@dataclass(frozen=True)
class CgSense(MRIModel):
    """Parallel imaging without a prior; stopping early and damping keep the noise down."""

    name: ClassVar[str] = "cg-sense"
    iterations: int = 12
    """Conjugate-gradient iterations; more resolve more aliasing and amplify more noise."""
    damping: float = 0.01
    """Tikhonov weight relative to the operator, whose norm is at most 1."""

    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        adjoint = problem.operator.adjoint(problem.data)
        return conjugate_gradient(
            problem.operator.normal, adjoint, 3, self.iterations, self.damping
        )[None]
