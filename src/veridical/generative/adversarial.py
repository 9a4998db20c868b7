"""A conditional generative adversarial network: L1 plus a patch discriminator, noise for draws.

Isola et al., CVPR 2017 (arXiv 1611.07004), with the least-squares loss of Mao et al., ICCV 2017
(arXiv 1611.04076). Its draws are known to differ too little, which its coverage shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from veridical.generative.family import Family, Given
from veridical.generative.regression import one_pass
from veridical.nets.patch_discriminator import PatchDiscriminator


@dataclass(frozen=True)
class Adversarial(Family):
    """Adversarially trained sampler."""

    name: ClassVar[str] = "adversarial"
    weight: float = 0.05
    """Of the adversarial term beside an L1 in units of the level; near the 1 : 100 of Isola et al.
    for images in [-1, 1].
    """

    def prepare(self, net: nn.Module) -> nn.Module:
        net.add_module("critic", PatchDiscriminator(2))
        return net

    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        """L1, what the fixed discriminator says of the made images, and the discriminator's own
        loss on detached ones.

        The three add up to one scalar, since no parameter has a gradient from both of the
        adversarial terms.
        """
        noise = torch.randn(truth.shape, generator=generator).to(truth)
        wanted, made = given.residual(truth), one_pass(net, given, noise)
        critic = net.get_submodule("critic")
        fixed = {name: value.detach() for name, value in critic.named_parameters()}
        fooled = functional_call(critic, fixed, (judged(given, made),))
        on_made, on_real = critic(judged(given, made.detach())), critic(judged(given, wanted))
        own = on_made.square().mean() + (on_real - 1).square().mean()
        loss: Tensor = (
            (made - wanted).abs().mean() + self.weight * (fooled - 1).square().mean() + own
        )
        return loss

    def mean(self, net: nn.Module, given: Given) -> Tensor:
        """Return one draw of fixed noise: the generator has no mean of its own."""
        noise = torch.randn(given.initial.shape, generator=torch.Generator().manual_seed(0)).to(
            given.initial
        )
        with torch.inference_mode():
            return given.image(one_pass(net, given, noise))

    def draw(self, net: nn.Module, given: Given, noise: Tensor, steps: int) -> Tensor:
        many = given.repeat(noise.shape[1])
        with torch.inference_mode():
            return many.image(one_pass(net, many, noise.flatten(0, 1))).reshape(noise.shape)


def judged(given: Given, residual: Tensor) -> Tensor:
    """Return what the discriminator sees, `(batch, 2, y, x)`: the made image and the estimate that
    it began from.
    """
    return torch.cat([given.image(residual), given.initial], 1)
