"""Zero-filled reconstruction: the adjoint; unsampled k-space is taken to be zero. The floor of
every comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from veridical.models.base import MRIModel
from veridical.models.problem import Problem


@dataclass(frozen=True)
class ZeroFilled(MRIModel):
    """`A^H y`, combined by the coil maps."""

    name: ClassVar[str] = "zero-filled"

    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        return problem.operator.adjoint(problem.data)[None]
