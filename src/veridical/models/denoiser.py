"""The denoiser as prior: plug-and-play estimates and posterior samples of any linear measurement, by exact physics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.generative.posterior import Settings, denoised_directly, plug_and_play, posterior_samples, samples_of_noisy
from veridical.generative.preconditioned import Preconditioned
from veridical.models import weights
from veridical.models.base import MeasurementModel, make, pick_device
from veridical.models.image_prior import ImagePrior, VolumePrior
from veridical.models.problem import Problem
from veridical.nets.unet import UNet
from veridical.physics.identity import Identity

DIRECT_ROUNDS = 2
"""Steps of the sampler where the image itself was measured."""
BACKBONES: dict[str, type[nn.Module]] = {"unet": UNet}


@dataclass(frozen=True)
class Denoiser(MeasurementModel):
    """One denoiser, every measurement: MR, CT, PET, any operator; complex or real, slices or volumes."""

    name: ClassVar[str] = "denoiser"
    stochastic: ClassVar[bool] = True
    weights: str = "denoiser"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""

    def solve(self, problem: Problem, draws: int, seed: int) -> Tensor:
        place = pick_device(self.device)
        net = denoising_net(self.weights, place)
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
    def weights_hash(self) -> str:
        return weights.fingerprint(self.weights)

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> Preconditioned:
        """Make the untrained denoiser from the recipe's `[model]` table: `backbone`, `reach`, and the backbone's settings."""
        left = dict(settings)
        reach, name = int(left.pop("reach", 2)), str(left.pop("backbone", "unet"))
        if name not in BACKBONES:
            raise SettingError(f"backbone = {name!r}; expected one of {', '.join(BACKBONES)}.")
        shape = {"inputs": 3 + 4 * reach, "outputs": 2, "conditions": 1}
        return Preconditioned(make(BACKBONES[name], {**shape, **left}), reach)


@cache
def denoising_net(name: str, device: torch.device) -> Preconditioned:
    """Load a trained denoiser once."""
    net = weights.network(Denoiser.name, Denoiser.build, name)
    if not isinstance(net, Preconditioned):
        raise AssertionError("Denoiser.build makes a Preconditioned")
    return net.to(device).eval()
