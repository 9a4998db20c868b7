"""The joint body prior: MR, CT and PET of a slice as one state, any of them measured, degraded or missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from veridical.models.joint_prior import JointPrior


@dataclass(frozen=True)
class BodyPrior(JointPrior):
    """Sampler of slices of T1w, CT and PET of limbs: CT from MR, PET from both, low-dose and sparse-view CT, low counts."""

    name: ClassVar[str] = "body-prior"
    limits: ClassVar[str] = (
        "Slices of thighs, lower legs and groins of six patients with soft-tissue sarcoma: T1w, CT and FDG-PET of one set. Not "
        "for diagnosis, and not for dose: cortical bone is as dark in MR as air, and a tumour's uptake does not follow from MR "
        "or CT. Other anatomy, contrasts, tracers and scanners are outside of what it knows; there is no scope check."
    )
    weights: str = "body-prior"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
