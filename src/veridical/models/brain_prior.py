"""The joint brain prior: five MR contrasts of a slice as one state, given raw data, degraded images or other contrasts.

One set of weights for every job; raw data reach it through the unrolled reconstruction that it is anchored in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from veridical.models.base import MRIModel
from veridical.models.joint_prior import JointPrior
from veridical.models.prepared_scan import Scan
from veridical.models.scan_known import known_scan


@dataclass(frozen=True)
class BrainPrior(JointPrior, MRIModel):
    """Sampler of brain slices: T1w, T2w, FLAIR, PD, T1c and `other`, any of them measured, degraded or missing."""

    name: ClassVar[str] = "brain-prior"
    weights: str = "brain-prior"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""

    def solve(self, scan: Scan, draws: int, seed: int, contrast: str) -> Tensor:
        found = known_scan(self.net(), scan.to(self.place()), contrast, str(self.place()))
        drawn = self.complete(found.known, draws, seed)[0].to(self.place())
        return found.images(drawn).cpu()
