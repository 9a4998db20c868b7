"""Ordered-subset expectation maximization of PET counts (Hudson and Larkin 1994,
10.1109/42.363108).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from veridical.models.base import MeasurementModel
from veridical.models.problem import Problem
from veridical.physics.linear import LinearOperator
from veridical.physics.pet import PET


@dataclass(frozen=True)
class Osem(MeasurementModel):
    """Activity that is never negative, by Poisson likelihood; stopping early keeps the noise
    down.
    """

    name: ClassVar[str] = "osem"
    iterations: int = 4
    """Passes through all angles."""
    subsets: int = 8
    """Interleaved subsets of the angles; one gives MLEM."""

    def accepts(self, operator: LinearOperator) -> bool:
        return isinstance(operator, PET)

    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        if not isinstance(problem.operator, PET):
            raise AssertionError("asked only for operators that it accepts")
        counts = (problem.data * problem.scale + problem.operator.background).clamp_min(
            0
        )  # rounding
        return problem.operator.osem(counts, self.iterations, self.subsets)[None] / problem.scale
