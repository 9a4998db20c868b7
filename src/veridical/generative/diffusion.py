"""Diffusion on the residual as EDM has it: preconditioned denoising at log-normal noise levels, a
choice of solvers, guidance.

Karras et al., Elucidating the design space of diffusion-based generative models, NeurIPS 2022
(arXiv 2206.00364), table 1, with data of unit variance: the residual in units of its expected
error. Classifier-free guidance: Ho and Salimans 2022 (arXiv 2207.12598).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from veridical.errors import SettingError, nearest
from veridical.generative.family import Family, Given
from veridical.generative.samplers import SOLVERS

RHO = 7.0
"""Bends the grid of noise levels towards small ones."""


@dataclass(frozen=True)
class Diffusion(Family):
    """Samples by reverse diffusion, given everything that is known."""

    name: ClassVar[str] = "diffusion"
    solver: str = "dpm-solver++"
    """euler, heun (two passes a step) or dpm-solver++."""
    guidance: float = 1.0
    """1 samples the posterior. More makes draws that fit the conditions better and differ less, for
    a second pass a step.
    """
    dropped: float = 0.1
    """Share of the training slices of which no condition is known, for guidance."""
    at_start: float = 0.3
    """Share of the training at the highest noise level, where the network is the posterior mean in
    one step.
    """
    noise_mean: float = -0.5
    """Mean of the log of the other levels: -1.2 + log 2, for data of unit variance where the paper
    has 1/2.
    """
    noise_spread: float = 1.2
    """Standard deviation of the log of those levels."""
    highest: float = 80.0
    """Noise level from which draws start. Not even the mean of an image shows in it."""
    lowest: float = 0.02
    """The last noise level; finer than the accuracy of an image."""

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise SettingError(
                f"No solver is called {self.solver!r}. {nearest(self.solver, SOLVERS)}"
            )
        if not 0 < self.lowest < self.highest:
            raise SettingError(
                f"Noise levels from {self.highest} down to {self.lowest} were asked for; expected "
                "lowest above 0 and highest above lowest."
            )

    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Squared error of the network's own output, which has unit variance at every level,
        relative to the size of the residual.
        """
        chance = torch.rand(2, len(truth), generator=generator)
        level = (
            self.noise_mean + self.noise_spread * torch.randn(len(truth), generator=generator)
        ).exp()
        level = level.clamp(max=self.highest).masked_fill(chance[0] < self.at_start, self.highest)
        residual, sigma = given.residual(truth), level.to(truth)
        noise = torch.randn(truth.shape, generator=generator).to(truth)
        state = residual + sigma.reshape(given.level.shape) * noise
        shown = without(given, (chance[1] < self.dropped).to(truth.device))
        error = given.average((self.denoised(net, shown, state, sigma) - residual).square())
        level_weight = (1 + sigma.square()) / sigma.square()
        return (error * level_weight / given.size(residual)).mean()

    def mean(self, net: nn.Module, given: Given) -> Tensor:
        with torch.inference_mode():
            return given.image(self.denoised(net, given, *self.at_highest(given)))

    def draw(self, net: nn.Module, given: Given, noise: Tensor, steps: int) -> Tensor:
        count = noise.shape[1]
        many = given.repeat(count)

        def clean(state: Tensor, t: float) -> Tensor:
            if t == times[0]:  # the network is not shown a state: one pass serves all draws
                return self.guided(net, given, *self.at_highest(given)).repeat_interleave(count, 0)
            sigma = state.new_full((len(state),), (1 - t) / t)
            return self.guided(net, many, state / t, sigma)

        passes = (steps + 1) // 2 if self.solver == "heun" else steps
        times = [1 / (1 + sigma) for sigma in levels(passes, self.highest, self.lowest)]
        with torch.inference_mode():
            start = (1 - times[0]) * noise.flatten(0, 1)
            return many.image(SOLVERS[self.solver](clean, start, times)).reshape(noise.shape)

    def at_highest(self, given: Given) -> tuple[Tensor, Tensor]:
        """Return a state and the highest level, from which the posterior mean is denoised."""
        blank = torch.zeros_like(given.initial)
        return blank, blank.new_full((len(blank),), self.highest)

    def guided(self, net: nn.Module, given: Given, state: Tensor, sigma: Tensor) -> Tensor:
        """Return the clean residual under guidance."""
        found = self.denoised(net, given, state, sigma)
        if self.guidance == 1:
            return found
        blind = without(given, torch.ones_like(given.measured))
        away = self.denoised(net, blind, state, sigma)
        return away + self.guidance * (found - away)

    def denoised(self, net: nn.Module, given: Given, state: Tensor, sigma: Tensor) -> Tensor:
        """Return the clean residual `(batch, 1, y, x)` for states at noise levels `(batch,)`.

        At the highest level the network is not shown the state, which is noise.
        """
        s = sigma.reshape(-1, *[1] * (state.ndim - 1))
        skip, out, seen, told = preconditioning(s)
        state = torch.where(s < 0.999 * self.highest, state, torch.zeros_like(state))
        found: Tensor = net(seen * state, told.flatten(), given.conditioning)
        return skip * state + out * found


def preconditioning(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return `c_skip`, `c_out`, `c_in` and `c_noise` for data of unit variance."""
    power = 1 + sigma.square()
    return 1 / power, sigma / power.sqrt(), 1 / power.sqrt(), sigma.log() / 4


def levels(steps: int, highest: float, lowest: float) -> tuple[float, ...]:
    """Return `steps` falling noise levels, and 0; one step goes from the highest to 0.

    Raises:
        SettingError: no step.
    """
    if steps < 1:
        raise SettingError(f"{steps} steps were asked for; at least 1 step is needed.")
    ends = highest ** (1 / RHO), lowest ** (1 / RHO)
    share = [step / max(1, steps - 1) for step in range(steps)]
    found = [(ends[0] + part * (ends[1] - ends[0])) ** RHO for part in share]
    return (highest, *found[1:], 0.0)


def without(given: Given, hidden: Tensor) -> Given:
    """Return a batch of which some slices, `(batch,)` bool, show none of their conditions."""
    shown = (~hidden).float()
    known = {name: shown * value for name, value in given.conditioning.known.items()}
    return replace(given, conditioning=replace(given.conditioning, known=known))
