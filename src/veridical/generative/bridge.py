"""Brownian bridge from the initial estimate to data: its marginals, its exact transitions, and the
family that they make.

Convention: `x_t = (1 - t) start + t x + sigma sqrt(t (1 - t)) noise`, so that t = 0 is the start,
which needs no noise, and t = 1 is data; the network predicts the clean `x` from `x_t`. Liu et al.,
I2SB: Image-to-image Schroedinger bridge, ICML 2023 (arXiv 2302.05872); Li et al., BBDM, CVPR 2023
(arXiv 2205.07680).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.generative import flow
from veridical.generative.family import Family, Given

CEILING = 0.05
"""Limits the weight of late times, as in `rectified_flow`."""


@dataclass(frozen=True)
class Bridge(Family):
    """Samples that begin at the initial estimate, not at noise: zero in units of the residual."""

    name: ClassVar[str] = "bridge"
    at_start: float = 0.3
    """Share of the training at t = 0, where the network is the posterior mean in one step."""
    shift: float = 0.5
    """Puts more of a few sampler steps near the data."""

    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Squared error of the residual at a random place of the bridge, relative to its size and
        to what is left of it.
        """
        time = flow.training_times(len(truth), generator, self.at_start).to(truth)
        wanted = given.residual(truth)
        noise = torch.randn(truth.shape, generator=generator).to(truth)
        state = interpolate(torch.zeros_like(wanted), wanted, time, noise)
        error = given.average((ended(net, given, state, time) - wanted).square())
        return (error / given.size(wanted) / (1 - time + CEILING)).mean()

    def mean(self, net: nn.Module, given: Given) -> Tensor:
        with torch.inference_mode():
            begin = torch.zeros_like(given.initial)
            return given.image(ended(net, given, begin, begin.new_zeros(len(begin))))

    def draw(self, net: nn.Module, given: Given, noise: Tensor, steps: int) -> Tensor:
        many, white = given.repeat(noise.shape[1]), noise.flatten(0, 1)

        def clean(state: Tensor, t: float) -> Tensor:
            return ended(net, many, state, torch.full((len(state),), t, device=state.device))

        with torch.inference_mode():
            later = [moved(white, step) for step in range(steps - 1)]
            found = walk(clean, torch.zeros_like(white), flow.times(steps, self.shift), later)
            return many.image(found).reshape(noise.shape)


def ended(net: nn.Module, given: Given, state: Tensor, time: Tensor) -> Tensor:
    """Return the clean residual `(batch, 1, y, x)` for states of the bridge at times `(batch,)`.

    A state is shown in units of its own size, so that the network works at unit variance all along.
    """
    t = time.reshape(-1, *[1] * (state.ndim - 1))
    size = (t + (t * (1 - t)).sqrt()).clamp_min(1e-6)
    seen = state / size
    out: Tensor = t * seen + net(seen, time, given.conditioning)
    return out


def moved(white: Tensor, step: int) -> Tensor:
    """Return white noise `(batch, ...)` as good as new for a step, its pixels and signs exchanged
    alike in the whole batch, so that slices that share their noise share it at every step.
    """
    generator, count = torch.Generator().manual_seed(step), white[0].numel()
    order = torch.randperm(count, generator=generator).to(white.device)
    signs = (2 * torch.randint(2, (count,), generator=generator) - 1).to(white)
    return (white.flatten(1)[:, order] * signs).reshape(white.shape)


def interpolate(start: Tensor, x: Tensor, t: Tensor, noise: Tensor, sigma: float = 1.0) -> Tensor:
    """Return `x_t` at times `(batch,)`; start, x and noise `(batch, ...)`, the noise of unit
    variance.
    """
    at = t.reshape(-1, *[1] * (x.ndim - 1))
    found: Tensor = (1 - at) * start + at * x + sigma * (at * (1 - at)).sqrt() * noise
    return found


def advance(
    x_t: Tensor, estimate: Tensor, t: float, after: float, noise: Tensor, sigma: float = 1.0
) -> Tensor:
    """Draw the bridge at a later time, given where it is and where it ends.

    Its mean lies on the line from `x_t` to `estimate`, its variance is `sigma^2 (after - t) (1 -
    after) / (1 - t)`; both are those of the Brownian bridge, so that any number of steps has the
    marginals of `interpolate` when the estimate is exact.

    Raises:
        SettingError: times that do not grow, or beyond 1.
    """
    if not 0 <= t < after <= 1:
        raise SettingError(
            f"A bridge was to go from t = {t} to {after}; expected growing times in [0, 1]."
        )
    share = (after - t) / (1 - t)
    deviation = sigma * math.sqrt((after - t) * (1 - after) / (1 - t))
    return x_t + share * (estimate - x_t) + deviation * noise


def walk(
    denoise: Callable[[Tensor, float], Tensor],
    start: Tensor,
    times: Sequence[float],
    noise: Sequence[Tensor] | Tensor,
    sigma: float = 1.0,
) -> Tensor:
    """Walk from the start images `(draw, ...)` to data; one call of `denoise` a step, the last step
    is its estimate.

    Args:
        denoise: `(x_t, t)` -> estimate of the clean `x`.
        start: where each draw begins.
        times: growing, from 0 to 1: `flow.times(steps)`.
        noise: `(steps - 1, draw, ...)`, of unit variance; the last step needs none.
        sigma: of the bridge.
    """
    x = start
    for step, (t, after) in enumerate(pairwise(times)):
        x = advance(
            x,
            denoise(x, t),
            t,
            after,
            noise[step] if step < len(noise) else torch.zeros_like(x),
            sigma,
        )
    return x
