"""The denoiser as prior: plug-and-play estimates and posterior samples of any linear measurement,
by exact physics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from veridical.generative.posterior import (
    Settings,
    denoised_directly,
    plug_and_play,
    posterior_samples,
    samples_of_noisy,
)
from veridical.generative.preconditioned import Preconditioned
from veridical.models import weights
from veridical.models.base import MeasurementModel, WithWeights, pick_device
from veridical.models.image_prior import ImagePrior, VolumePrior
from veridical.models.problem import Problem
from veridical.models.runtime import accelerated
from veridical.nets.backbone import backbone
from veridical.physics.identity import Identity

DIRECT_ROUNDS = 2
"""Steps of the sampler where the image itself was measured."""


@dataclass(frozen=True)
class Denoiser(WithWeights, MeasurementModel):
    """One denoiser, every measurement: MR, CT, PET, any operator; complex or real, slices or
    volumes.
    """

    name: ClassVar[str] = "denoiser"
    learns: ClassVar[str] = "denoising"
    weights: str = "denoiser"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""
    runtime: str = "auto"
    """What runs the network: auto, torch, or on a CPU onnxruntime (up to 1.7 times as fast) or
    openvino.
    """

    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        place = pick_device(self.device)
        net = denoising_net(self.weights, place, self.runtime)
        prior = VolumePrior(net, problem.isotropic) if problem.stacked else ImagePrior(net)
        here, settings = problem.to(place), Settings()
        if isinstance(problem.operator, Identity):
            estimate = denoised_directly(here, prior, 3 if problem.isotropic else 2)
            if draws < 2:
                return estimate[None].cpu()
            return samples_of_noisy(here, prior, estimate, draws, seed, DIRECT_ROUNDS).cpu()
        estimate = plug_and_play(here, prior, settings)
        if draws < 2:
            return estimate[None].cpu()
        return posterior_samples(here, prior, estimate, draws, seed, settings).cpu()

    @property
    def stochastic(self) -> bool:
        return True

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> Preconditioned:
        """Make the untrained denoiser from the recipe's `[model]` table: `backbone`, `reach`, and
        the backbone's settings.
        """
        left = dict(settings)
        reach, name = int(left.pop("reach", 2)), str(left.pop("backbone", "unet"))
        return Preconditioned(backbone(name, 3 + 4 * reach, 2, 1, left), reach)


@cache
def denoising_net(name: str, device: torch.device, runtime: str = "torch") -> Preconditioned:
    """Load a trained denoiser once."""
    return accelerated(
        weights.network(Denoiser.name, Denoiser.build, name).to(device).eval(), runtime, device
    )
