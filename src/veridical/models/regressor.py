"""L1 regression of missing channels from what is known: the estimate that a sampler's mean is measured against.

The net, the lessons and the budget are those of the joint prior. It gives the median of each pixel, so it is smooth where
the measurement leaves a choice, and it has no draws, interval or evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from veridical.models.known import Known
from veridical.models.one_pass import OnePassModel, image, l1, passed, residual


@dataclass(frozen=True)
class Regressor(OnePassModel):
    """Deterministic estimate of slices given any of their channels, whole or degraded."""

    name: ClassVar[str] = "regressor"

    def complete(self, known: Known, draws: int, seed: int, noise: Tensor | None = None) -> Tensor:
        return self.lesson_guess(self.net(), known.to(self.place()))[:, None].cpu()

    @classmethod
    def lesson_loss(cls, net: nn.Module, known: Known, truth: Tensor, generator: torch.Generator) -> Tensor:
        """Absolute error of the residual over the drawn channels, in units of the level."""
        return l1(passed(net, known), residual(known, truth), known).mean()

    @classmethod
    def lesson_guess(cls, net: nn.Module, known: Known) -> Tensor:
        with torch.inference_mode():
            return image(known, passed(net, known))
