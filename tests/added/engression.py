"""Engression: one pass from noise to a sample, trained by the energy score (Shen and Meinshausen
2024, arXiv 2307.00835).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from veridical.generative.family import Family, Given
from veridical.generative.regression import one_pass


@dataclass(frozen=True)
class Engression(Family):
    """Samples of one pass whose distribution is that of the truth where the energy score is
    least.
    """

    name: ClassVar[str] = "engression"

    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        wanted = given.residual(truth)
        first, second = (
            one_pass(net, given, torch.randn(truth.shape, generator=generator).to(truth))
            for _ in range(2)
        )
        apart = (first - second).abs().mean()
        return ((first - wanted).abs().mean() + (second - wanted).abs().mean() - apart) / 2

    def mean(self, net: nn.Module, given: Given) -> Tensor:
        noise = torch.randn(
            given.initial[:, None].repeat(1, 4, 1, 1, 1).shape,
            generator=torch.Generator().manual_seed(0),
        )
        return self.draw(net, given, noise.to(given.initial), 1).mean(1)

    def draw(self, net: nn.Module, given: Given, noise: Tensor, steps: int) -> Tensor:
        many = given.repeat(noise.shape[1])
        with torch.inference_mode():
            return many.image(one_pass(net, many, noise.flatten(0, 1))).reshape(noise.shape)
