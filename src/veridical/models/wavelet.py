"""L1-wavelet compressed sensing of MR scans; the algorithm is that of `physics/sparse.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from veridical.models.base import MRIModel
from veridical.models.problem import Problem
from veridical.physics.sparse import fista


@dataclass(frozen=True)
class Wavelet(MRIModel):
    """Sparse in Haar wavelets, consistent with the data."""

    name: ClassVar[str] = "wavelet"
    iterations: int = 30
    """FISTA iterations."""
    weight: float = 0.3
    """Threshold in units of the noise standard deviation per real component."""
    least: float = 0.001
    """Smallest threshold, as a share of the image's 99th percentile: aliasing needs one even
    without noise.
    """
    levels: int = 3
    """Levels of the transform."""

    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        threshold = max(self.weight * problem.sigma, self.least)
        adjoint = problem.operator.adjoint(problem.data)
        return fista(
            problem.operator.normal,
            adjoint,
            problem.start,
            threshold,
            self.iterations,
            self.levels,
            seed,
        )[None]
