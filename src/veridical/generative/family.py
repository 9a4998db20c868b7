"""The base of all families of generators: an objective to learn from and a way to draw, around any
conditioned network.

Every family works on the residual `u = (truth - initial) / level`: what the best simple estimate
lacks, in units of its expected error. So the classical answer is where each of them starts, and
zero output of the network leaves it as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical.conditioning.condition import Condition, Conditioning
from veridical.conditioning.request import LEAST_LEVEL, Request
from veridical.generative.conditioned import Conditioned


@dataclass(frozen=True, eq=False)
class Given:
    """A batch of requests as networks take them.

    Args: initial: `(batch, 1, y, x)`. level: `(batch, 1, 1, 1)`. measured: `(batch,)` bool: the
        contrast was measured, and is degraded; otherwise it is missing. conditioning: values of the
        conditions. weight: `(batch, 1, y, x)`, how much each pixel counts in training; None: all
        alike.
    """

    initial: Tensor
    level: Tensor
    measured: Tensor
    conditioning: Conditioning
    weight: Tensor | None = None

    @classmethod
    def of(cls, conditions: Sequence[Condition], requests: Sequence[Request]) -> Given:
        """Return a batch of slices of one size."""
        initial = torch.from_numpy(np.stack([np.asarray(r.initial, np.float32) for r in requests]))[
            :, None
        ]
        level = torch.tensor([max(r.level, LEAST_LEVEL) for r in requests]).reshape(
            -1, *[1] * (initial.ndim - 1)
        )
        measured = torch.tensor([bool(r.degradation) for r in requests])
        return cls(initial, level, measured, Conditioning.of(conditions, requests))

    def to(self, device: torch.device) -> Given:
        """Return the same on a device."""
        weight = None if self.weight is None else self.weight.to(device)
        conditioning = self.conditioning.to(device)
        return Given(
            self.initial.to(device),
            self.level.to(device),
            self.measured.to(device),
            conditioning,
            weight,
        )

    def repeat(self, count: int) -> Given:
        """Return every slice `count` times, one after the other."""
        initial, level = (
            self.initial.repeat_interleave(count, 0),
            self.level.repeat_interleave(count, 0),
        )
        return Given(
            initial,
            level,
            self.measured.repeat_interleave(count, 0),
            self.conditioning.repeat(count),
        )

    def residual(self, truth: Tensor) -> Tensor:
        """Return what the initial estimate lacks of the truth `(batch, 1, y, x)`, in units of the
        level.
        """
        return (truth - self.initial) / self.level

    def average(self, error: Tensor) -> Tensor:
        """Return the weighted mean `(batch,)` of an error `(batch, 1, y, x)` of each pixel."""
        if self.weight is None:
            return error.flatten(1).mean(1)
        return (error * self.weight).flatten(1).sum(1) / self.weight.flatten(1).sum(1)

    def size(self, residual: Tensor) -> Tensor:
        """Return the mean square `(batch,)` of a residual, at least 0.1: losses are relative to it,
        so that easy and hard requests count alike.
        """
        return self.average(residual.square()).clamp_min(0.1)

    def image(self, residual: Tensor) -> Tensor:
        """Return the image that a residual stands for."""
        return self.initial + self.level * residual


@dataclass(frozen=True)
class Family(ABC):
    """An objective and a sampler. A subclass is a frozen dataclass; its fields are its settings."""

    name: ClassVar[str]
    stochastic: ClassVar[bool] = True
    """Whether it has draws; otherwise it gives one estimate."""
    tells_spread: ClassVar[bool] = False
    """Whether its networks can be trained to tell the expected error of their mean."""

    def prepare(self, net: Conditioned) -> nn.Module:
        """Add to an untrained network what the family needs besides: a discriminator, an encoder, a
        network of latents.
        """
        return net

    @abstractmethod
    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the training loss of a batch; `truth` is `(batch, 1, y, x)`."""

    @abstractmethod
    def mean(self, net: nn.Module, given: Given) -> Tensor:
        """Return the best single estimate `(batch, 1, y, x)`."""

    def mean_and_spread(self, net: nn.Module, given: Given) -> tuple[Tensor, Tensor | None]:
        """Return the best single estimate and its expected error, `(batch, 1, y, x)` each; None
        where the network does not tell.
        """
        return self.mean(net, given), None

    def draw(self, net: nn.Module, given: Given, noise: Tensor, steps: int) -> Tensor:
        """Return draws.

        Args:
            net: trained.
            given: the batch.
            noise: `(batch, draw, 1, y, x)` of unit variance; neighbouring slices may share it.
            steps: network passes a draw, where the family has a choice.

        Returns:
            `(batch, draw, 1, y, x)`; one draw, the estimate, where the family is not stochastic.
        """
        return self.mean(net, given)[:, None]
