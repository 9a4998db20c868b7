"""The joint brain prior: the MR contrasts of a slice as one state, any of them measured, degraded or missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from veridical.models.joint_prior import JointPrior


@dataclass(frozen=True)
class BrainPrior(JointPrior):
    """Sampler of brain slices: T1w, T2w, FLAIR, PD, T1c and `other`, any of them measured, degraded or missing."""

    name: ClassVar[str] = "brain-prior"
    weights: str = "brain-prior"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
