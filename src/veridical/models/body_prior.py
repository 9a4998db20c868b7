"""The joint body prior: MR, CT and PET of a slice as one state, any of them measured, degraded or missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from veridical.models.joint_prior import JointPrior


@dataclass(frozen=True)
class BodyPrior(JointPrior):
    """Sampler of slices of T1w, CT and PET of limbs: CT from MR, PET from both, low-dose and sparse-view CT, low counts."""

    name: ClassVar[str] = "body-prior"
    weights: str = "body-prior"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
