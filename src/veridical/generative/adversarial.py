"""A conditional generative adversarial network: an L1 that allows for variety, a patch
discriminator, noise for draws.

Isola et al., CVPR 2017 (arXiv 1611.07004), with the regularized relativistic loss of R3GAN (Huang
et al., NeurIPS 2024, arXiv 2501.05441): each made image is judged against the real one of the same
slice, and the discriminator's slope is penalized on both. A plain L1 makes the generator ignore its
noise. What two draws differ by is therefore taken off, which makes the L1 the energy score
(Gneiting and Raftery 2007, 10.1198/016214506000001437): it is least where draws vary as the truth
does. At time 0 the network is shown no noise and is a regressor; at time 1 it draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from veridical.generative.conditioned import Conditioned
from veridical.generative.family import Family, Given
from veridical.generative.regression import one_pass
from veridical.nets.patch_discriminator import PatchDiscriminator

PENALIZED = 4
"""One slice in so many has its slope penalized, at least one of a batch: the penalty costs as much
as the rest of the step.
"""


@dataclass(frozen=True)
class Adversarial(Family):
    """Adversarially trained sampler."""

    name: ClassVar[str] = "adversarial"
    weight: float = 0.05
    """Of the adversarial term beside an L1 in units of the level; near the 1 : 100 of Isola et al.
    for images in [-1, 1].
    """
    at_start: float = 0.3
    """Share of the training without noise, where the network is a regressor."""
    penalty: float = 1.0
    """Of the discriminator's squared slope, summed over an image, for each of its scores."""

    def prepare(self, net: Conditioned) -> nn.Module:
        net.add_module("critic", PatchDiscriminator(2))
        return net

    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The energy score, what the fixed discriminator says of the made images, and the
        discriminator's own loss on detached ones.

        The three add up to one scalar, since no parameter has a gradient from both of the
        adversarial terms. The discriminator's is as small as the other, lest it take up the limit
        on the gradient's norm that both nets share; Adam does not see its size.
        """
        wanted = given.residual(truth)
        noise = torch.randn(2, *truth.shape, generator=generator).to(truth)
        known = (torch.rand(len(truth), generator=generator) >= self.at_start).to(truth)
        made, other = (made_from(net, given, white, known) for white in noise)
        score = (made - wanted).abs() + (other - wanted).abs() - (made - other).abs()
        critic = net.get_submodule("critic")
        fixed = {name: value.detach() for name, value in critic.named_parameters()}
        real, fake = judged(given, wanted), judged(given, made)
        fooled = functional_call(critic, fixed, (fake,)) - functional_call(critic, fixed, (real,))
        told = critic(real) - critic(fake.detach())
        few = torch.randperm(len(truth), generator=generator)[: -(-len(truth) // PENALIZED)]
        slopes = slope(critic, real[few]) + slope(critic, fake.detach()[few])
        game = known * (softplus(-fooled) + softplus(-told)).flatten(1).mean(1)
        return given.average(score).mean() / 2 + self.weight * (
            game.mean() + self.penalty / 2 * slopes
        )

    def mean(self, net: nn.Module, given: Given) -> Tensor:
        with torch.inference_mode():
            return given.image(one_pass(net, given))

    def draw(self, net: nn.Module, given: Given, noise: Tensor, steps: int) -> Tensor:
        many = given.repeat(noise.shape[1])
        with torch.inference_mode():
            return many.image(made_from(net, many, noise.flatten(0, 1))).reshape(noise.shape)


def made_from(net: nn.Module, given: Given, noise: Tensor, known: Tensor | None = None) -> Tensor:
    """Return the residual `(batch, 1, y, x)` that is made of noise of that shape.

    Args:
        net: the generator.
        given: the batch.
        noise: of unit variance.
        known: `(batch,)`, 0 where the noise is hidden; None: nowhere.
    """
    time = noise.new_ones(len(noise)) if known is None else known
    found: Tensor = net(noise * time.reshape(-1, 1, 1, 1), time, given.conditioning)
    return found


def judged(given: Given, residual: Tensor) -> Tensor:
    """Return what the discriminator sees, `(batch, 2, y, x)`: the residual, and the estimate that
    it is added to.
    """
    return torch.cat([residual, given.initial], 1)


def slope(critic: nn.Module, seen: Tensor) -> Tensor:
    """Return the squared slope of a discriminator's scores by what it sees, summed over an image,
    for each score: the penalty R1 on real images, R2 on made ones.
    """
    seen = seen.detach().requires_grad_()
    scores = critic(seen)
    (found,) = torch.autograd.grad(scores.sum(), seen, create_graph=True)
    penalty: Tensor = found.square().sum() / scores.numel()
    return penalty
