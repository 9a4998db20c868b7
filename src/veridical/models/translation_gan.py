"""A conditional generative adversarial network between contrasts: L1 plus a patch discriminator, noise for draws.

Isola et al., CVPR 2017 (arXiv 1611.07004), with the least-squares loss of Mao et al., ICCV 2017 (arXiv 1611.04076). Generator,
lessons and budget are those of the joint prior. Its draws are known to differ too little, which its coverage shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from veridical.models.base import make
from veridical.models.known import ABSENT, Known
from veridical.models.one_pass import OnePassModel, image, l1, passed, residual
from veridical.nets.joint import JointNet
from veridical.nets.patch_discriminator import PatchDiscriminator

ADVERSARIAL = 0.05
"""Weight of the adversarial term beside an L1 in units of the level; near the 1 : 100 of Isola et al. for images in [-1, 1]."""


class TranslationNet(JointNet):
    """The generator, and the discriminator that only training needs; settings are those of the joint net."""

    def __init__(
        self,
        channels: tuple[str, ...],
        widths: tuple[int, ...] = (48, 64, 128),
        blocks: int = 2,
        prior_mean: tuple[float, ...] = (),
        prior_std: tuple[float, ...] = (),
    ) -> None:
        super().__init__(channels, widths, blocks, prior_mean, prior_std)
        self.critic = PatchDiscriminator(2 * len(channels))


@dataclass(frozen=True)
class TranslationGAN(OnePassModel):
    """Adversarially trained sampler of slices given any of their channels, whole or degraded."""

    name: ClassVar[str] = "translation-gan"
    stochastic: ClassVar[bool] = True

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        return make(TranslationNet, settings)

    def complete(self, known: Known, draws: int, seed: int, noise: Tensor | None = None) -> Tensor:
        batch, *size = known.anchor.shape
        if noise is None:
            noise = torch.randn(batch, draws, *size, generator=_seeded(seed))
        many = known.to(self.place()).repeat(draws)
        with torch.inference_mode():
            found = image(many, passed(self.net(), noisy(many, noise.flatten(0, 1).to(self.place()))))
        return found.reshape(batch, draws, *size).cpu()

    @classmethod
    def lesson_loss(cls, net: nn.Module, known: Known, truth: Tensor, generator: torch.Generator) -> Tensor:
        """L1, what the fixed discriminator says of the made images, and the discriminator's own loss on detached ones.

        The three add up to one scalar, since no parameter has a gradient from both of the adversarial terms.
        """
        if not isinstance(net, TranslationNet):
            raise TypeError("TranslationGAN.build makes a TranslationNet")
        noise = torch.randn(truth.shape, generator=generator).to(truth)
        wanted, made = residual(known, truth), passed(net, noisy(known, noise))
        fixed = {name: value.detach() for name, value in net.critic.named_parameters()}
        fooled = functional_call(net.critic, fixed, (judged(known, made),))
        on_made, on_real = net.critic(judged(known, made.detach())), net.critic(judged(known, wanted))
        critic = on_made.square().mean() + (on_real - 1).square().mean()
        loss: Tensor = l1(made, wanted, known).mean() + ADVERSARIAL * (fooled - 1).square().mean() + critic
        return loss

    @classmethod
    def lesson_guess(cls, net: nn.Module, known: Known) -> Tensor:
        """Return one draw: the generator has no mean of its own."""
        noise = torch.randn(known.anchor.shape, generator=_seeded(0)).to(known.anchor)
        with torch.inference_mode():
            return image(known, passed(net, noisy(known, noise)))


def noisy(known: Known, noise: Tensor) -> Known:
    """Return what is known with noise as the hint of the channels to be drawn."""
    return replace(known, hint=known.hint + noise * known.drawn)


def judged(known: Known, found: Tensor) -> Tensor:
    """Return what the discriminator sees, `(batch, 2 * channel, y, x)`: the whole state, and which channels were drawn."""
    shown = image(known, found) * known.over(known.status != ABSENT)
    return torch.cat([shown, known.drawn.expand_as(shown)], 1)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
