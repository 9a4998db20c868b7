"""What an operator is usually inverted by: filtered back-projection, OSEM, gridding, delay-and-sum,
compressed sensing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from veridical.models.base import MeasurementModel
from veridical.models.problem import Problem


@dataclass(frozen=True)
class Classical(MeasurementModel):
    """The reconstruction that every other model starts from."""

    name: ClassVar[str] = "classical"

    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        return problem.start[None]
