"""Regression: the network gives the median of each pixel in one pass. The baseline that every
sampler has to beat.

It is smooth where the measurement leaves a choice, and it has no draws, interval or evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from veridical.generative.family import Family, Given


@dataclass(frozen=True)
class Regression(Family):
    """Absolute error, and absolute error of the gradient."""

    name: ClassVar[str] = "regression"
    stochastic: ClassVar[bool] = False
    gradient: float = 0.5
    """Weight of the error of the image's gradient, which keeps edges."""

    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        error = one_pass(net, given) - given.residual(truth)
        loss = given.average(error.abs()).mean()
        for axis in range(2, error.ndim):
            loss = loss + self.gradient * error.diff(dim=axis).abs().mean()
        return loss

    def mean(self, net: nn.Module, given: Given) -> Tensor:
        with torch.inference_mode():
            return given.image(one_pass(net, given))


def one_pass(net: nn.Module, given: Given, state: Tensor | None = None) -> Tensor:
    """Return the residual `(batch, 1, y, x)` that the network finds in one pass."""
    state = torch.zeros_like(given.initial) if state is None else state
    found: Tensor = net(state, given.initial.new_zeros(len(given.initial)), given.conditioning)
    return found
