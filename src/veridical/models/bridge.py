"""A diffusion bridge between contrasts: draws start from what was measured, mapped into the missing channel, not from noise.

In units of what is not known, the start of a missing channel is the mean of the measured channels, each with the mean and the
deviation of its kind taken out; a channel that is there but degraded starts as it is. Net, lessons and budget are those of
the joint prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from veridical.generate import bridge, flow
from veridical.models.joint_prior import AT_START, CEILING, SHIFT, JointPrior, denoise
from veridical.models.known import MEASURED, MISSING, Known
from veridical.models.one_pass import image, residual
from veridical.nets.joint import JointNet


@dataclass(frozen=True)
class Bridge(JointPrior):
    """Sampler of slices given any of their channels, by a Brownian bridge from the channels that were measured."""

    name: ClassVar[str] = "bridge"

    def complete(self, known: Known, draws: int, seed: int) -> Tensor:
        net, many = self.net(), known.to(self.place()).repeat(draws)
        shape = (many.anchor.shape[0], self.steps - 1, *many.anchor.shape[1:])
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.place()).movedim(1, 0)

        def clean(state: Tensor, t: float) -> Tensor:
            return denoise(net, many, state * many.drawn, torch.full((state.shape[0],), t, device=state.device))

        with torch.inference_mode():
            found = image(many, bridge.walk(clean, start(net, many), flow.times(self.steps, SHIFT), noise))
        return found.reshape(known.anchor.shape[0], draws, *known.anchor.shape[1:]).cpu()

    @classmethod
    def lesson_loss(cls, net: nn.Module, known: Known, truth: Tensor, generator: torch.Generator) -> Tensor:
        """Squared error of the clean residual at a random place of the bridge, weighted as the error of the drift (capped)."""
        time = flow.training_times(truth.shape[0], generator, AT_START).to(truth)
        wanted = residual(known, truth)
        noise = torch.randn(truth.shape, generator=generator).to(truth)
        state = bridge.interpolate(start(net, known), wanted, time, noise) * known.drawn
        error = (denoise(net, known, state, time) - wanted).square().mean((2, 3)).sum(1)
        count = known.drawn.sum(1).clamp_min(1.0).flatten()
        size = wanted.square().mean((2, 3)).sum(1) / count
        return (error / count / size.clamp(0.1, 4.0) / ((1 - time).square() + CEILING)).mean()

    @classmethod
    def lesson_guess(cls, net: nn.Module, known: Known) -> Tensor:
        time = torch.zeros(known.anchor.shape[0], device=known.anchor.device)
        with torch.inference_mode():
            return image(known, denoise(net, known, start(net, known), time))


def start(net: nn.Module, known: Known) -> Tensor:
    """Return where the bridge starts, `(batch, channel, y, x)` in units of the level; zero where nothing was measured."""
    if not isinstance(net, JointNet):
        raise TypeError("Bridge.build makes a JointNet")
    mean, std = (torch.tensor(values).to(known.anchor)[:, None, None] for values in (net.prior_mean, net.prior_std))
    shown = (known.status == MEASURED).to(known.anchor)[..., None, None]
    standard = (known.anchor - mean * known.support) / std * shown
    common = standard.sum(1, keepdim=True) / shown.sum(1, keepdim=True).clamp_min(1.0)
    return common * (known.status == MISSING)[..., None, None]
