"""A diffusion bridge between contrasts: draws start from what was measured, mapped into the missing channel, not from noise.

In units of what is not known, the start of a missing channel is the mean of the measured channels, each with the mean and the
deviation of its kind taken out; a channel that is there but degraded starts as it is. Net, lessons and budget are those of
the joint prior.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from veridical.generative import bridge, flow
from veridical.models.joint_prior import AT_START, CEILING, SHIFT, JointPrior, denoise
from veridical.models.known import MEASURED, MISSING, Known
from veridical.models.one_pass import image, residual
from veridical.nets.joint import JointNet


@dataclass(frozen=True)
class Bridge(JointPrior):
    """Sampler of slices given any of their channels, by a Brownian bridge from the channels that were measured."""

    name: ClassVar[str] = "bridge"

    def complete(self, known: Known, draws: int, seed: int, noise: Tensor | None = None) -> Tensor:
        net, many = self.net(), known.to(self.place()).repeat(draws)
        generator, size = torch.Generator().manual_seed(seed), many.anchor.shape
        further = torch.randn(size[0], self.steps, *size[1:], generator=generator).to(self.place())
        if noise is not None:
            further[:, 0] = noise.flatten(0, 1).to(self.place())
        begin = start(net, many)

        def clean(state: Tensor, t: float) -> Tensor:
            return estimate(net, many, state, begin, torch.full((size[0],), t, device=state.device))

        with torch.inference_mode():
            found = image(many, bridge.walk(clean, begin, flow.times(self.steps, SHIFT), further[:, :-1].movedim(1, 0)))
        return found.reshape(known.anchor.shape[0], draws, *size[1:]).cpu()

    @classmethod
    def lesson_loss(cls, net: nn.Module, known: Known, truth: Tensor, generator: torch.Generator) -> Tensor:
        """Squared error of the clean residual at a random place of the bridge, relative to that of the best linear denoiser."""
        time = flow.training_times(truth.shape[0], generator, AT_START).to(truth)
        wanted, begin = residual(known, truth), start(net, known)
        noise = torch.randn(truth.shape, generator=generator).to(truth) * known.drawn
        state = bridge.interpolate(begin, wanted, time, noise)
        error = (estimate(net, known, state, begin, time) - wanted).square().mean((2, 3)).sum(1)
        count = known.drawn.sum(1).clamp_min(1.0).flatten()
        size = wanted.square().mean((2, 3)).sum(1) / count
        return (error / count / size.clamp_min(0.1) / (1 - time + CEILING)).mean()

    @classmethod
    def lesson_guess(cls, net: nn.Module, known: Known) -> Tensor:
        begin = start(net, known)
        with torch.inference_mode():
            return image(known, estimate(net, known, begin, begin, torch.zeros(len(begin), device=begin.device)))


def estimate(net: nn.Module, known: Known, state: Tensor, begin: Tensor, time: Tensor) -> Tensor:
    """Return the clean residual `(batch, channel, y, x)` for states of the bridge at times `(batch,)`, zero where not drawn.

    With its start taken out, which the net is shown as a hint, a state of the bridge is `size` times one of the flow from noise
    at another time: the net works at unit variance as it does for the prior.
    """
    at = known.over(time[:, None])
    size = (at + (at * (1 - at)).sqrt()).clamp_min(1e-6)
    seen = replace(known, hint=known.hint + begin)
    return denoise(net, seen, (state - (1 - at) * begin) / size * known.drawn, (at / size).flatten())


def start(net: nn.Module, known: Known) -> Tensor:
    """Return where the bridge starts, `(batch, channel, y, x)` in units of the level; zero where nothing was measured."""
    if not isinstance(net, JointNet):
        raise TypeError("Bridge.build makes a JointNet")
    mean, std = (torch.tensor(values).to(known.anchor)[:, None, None] for values in (net.prior_mean, net.prior_std))
    shown = (known.status == MEASURED).to(known.anchor)[..., None, None]
    standard = (known.anchor - mean * known.support) / std * shown
    common = standard.sum(1, keepdim=True) / shown.sum(1, keepdim=True).clamp_min(1.0)
    return common * (known.status == MISSING)[..., None, None]
