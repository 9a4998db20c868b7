"""Rectified flow on the residual: straight paths from noise to data, followed by a few Euler steps.

x-prediction (Liu et al. 2023, arXiv 2209.03003) started at an estimate, as in posterior-mean
rectified flow (Ohayon et al. 2024, arXiv 2410.00418). The network adds to the best linear estimate
of white data, `t x_t / (t^2 + (1 - t)^2)`, an output of unit variance at every time (Karras et al.
2022, arXiv 2206.00364, section 5, for this path); at t = 0 it is a regressor, so that its mean
costs one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from veridical.generative import flow
from veridical.generative.coloured import BEND, coloured
from veridical.generative.family import Family, Given
from veridical.generative.samplers import euler

COARSE_SHARE = {True: 0.3, False: 1.0}
"""Share of the noise's power that has the spectrum of images: what is unknown of a degraded image
is mostly fine, of a missing one it has all scales.
"""
SOFT = 0.05
"""Where the noise that draws start from bends, sooner than in training: fine noise that the network
leaves shows as grain.
"""
CEILING = 0.05
"""Limits the weight of late times: errors count relative to those of the best linear denoiser, plus
this.
"""
LEAST = 0.02
"""Squared error at t = 0, relative to that of the initial estimate, below which less is hardly
better.
"""
SPREAD_SHARE = 0.1
"""Share of the loss that is the likelihood of the error under the spread that the network tells."""
NARROWEST, WIDEST = -5.0, 3.0
"""Limits of the log of the spread, in units of the level."""


@dataclass(frozen=True)
class RectifiedFlow(Family):
    """Samples of what is missing, given everything that is known."""

    name: ClassVar[str] = "rectified-flow"
    tells_spread: ClassVar[bool] = True
    at_start: float = 0.5
    """Share of the training at t = 0, where the network is the posterior mean in one step: what
    matters most is learned there, and it is where every draw begins.
    """
    shift: float = 0.5
    """Puts more of a few sampler steps near the data, where the spread of the draws is made."""

    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Squared error of the residual, relative to its size and to that of the best linear
        denoiser; at t = 0 its logarithm, so that a decibel counts alike where the initial estimate
        is good and where it is poor. Where the network tells its expected error, the Gaussian
        likelihood of the error at t = 0 counts too (Kendall and Gal 2017, arXiv 1703.04977); it
        teaches the spread, not the mean.
        """
        time = flow.training_times(len(truth), generator, self.at_start).to(truth)
        residual = given.residual(truth)
        noise = start(given, torch.randn(truth.shape, generator=generator).to(truth), BEND)
        found, spread = _passed(net, given, flow.interpolate(noise, residual, time), time)
        error = found - residual
        linear = (1 - time).square() / (time.square() + (1 - time).square())
        later = given.average(error.square()) / given.size(residual) / (linear + CEILING)
        before = given.average(residual.square()).clamp_min(1e-6)
        first = (given.average(error.square()) / before + LEAST).log()
        if spread is not None:
            unlikely = 0.5 * error.detach().square() * (-2 * spread).exp() + spread
            first = first + SPREAD_SHARE * unlikely.flatten(1).mean(1)
        return torch.where(time > 0, later, first).mean()

    def mean(self, net: nn.Module, given: Given) -> Tensor:
        return self.mean_and_spread(net, given)[0]

    def mean_and_spread(self, net: nn.Module, given: Given) -> tuple[Tensor, Tensor | None]:
        with torch.inference_mode():
            found, spread = _at_start(net, given)
            return given.image(found), None if spread is None else given.level * spread.exp()

    def draw(self, net: nn.Module, given: Given, noise: Tensor, steps: int) -> Tensor:
        count = noise.shape[1]
        many = given.repeat(count)

        def clean(state: Tensor, t: float) -> Tensor:
            if t == 0:  # the network sees no state yet: one pass serves all draws of a slice
                return _at_start(net, given)[0].repeat_interleave(count, 0)
            return denoised(net, many, state, torch.full((len(state),), t, device=state.device))

        with torch.inference_mode():
            found = euler(clean, start(many, noise.flatten(0, 1)), flow.times(steps, self.shift))
            return many.image(found).reshape(noise.shape)


def denoised(net: nn.Module, given: Given, state: Tensor, time: Tensor) -> Tensor:
    """Return the clean residual `(batch, 1, y, x)` for states at times `(batch,)`."""
    return _passed(net, given, state, time)[0]


def _passed(
    net: nn.Module, given: Given, state: Tensor, time: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return the clean residual, and the log of its expected error where the network tells it."""
    t = time.reshape(-1, *[1] * (state.ndim - 1))
    power = t.square() + (1 - t).square()
    linear, count = t / power * state, state.shape[1]
    out = net(linear, time, given.conditioning)
    spread = out[:, count:].clamp(NARROWEST, WIDEST) if out.shape[1] > count else None
    return linear + (1 - t) / power.sqrt() * out[:, :count], spread


def _at_start(net: nn.Module, given: Given) -> tuple[Tensor, Tensor | None]:
    """Return the residual of the posterior mean, the network at t = 0, and its expected error."""
    return _passed(
        net, given, torch.zeros_like(given.initial), given.initial.new_zeros(len(given.initial))
    )


def start(given: Given, white: Tensor, bend: float = SOFT) -> Tensor:
    """Return where draws start, from white noise: noise with the spectrum of what is not known."""
    shares = [COARSE_SHARE[bool(measured)] for measured in given.measured]
    return coloured(white, torch.tensor(shares, device=white.device)[:, None], bend)
