"""The conditional generator: makes what no operator reaches, from whatever else is known. A family,
a backbone, conditions.

The card of its weights says which; the shipped ones are `brain` (MR contrasts, CT and PET of heads)
and `body` (CT, MR and PET of limbs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from veridical import registry
from veridical.conditioning.condition import Condition, conditions
from veridical.conditioning.request import Request
from veridical.conditioning.style import Style
from veridical.errors import SettingError
from veridical.generative.conditioned import Conditioned
from veridical.generative.family import Family, Given
from veridical.models import weights
from veridical.models.base import ImageModel, WithWeights, pick_device
from veridical.models.runtime import accelerated
from veridical.models.styles import styled
from veridical.types import Array

CONDITIONS = (
    "contrast",
    "available",
    "images",
    "initial-estimate",
    "degradation-kind",
    "attributes",
)
"""What a generator depends on where its recipe does not say."""
FAINT = 1e-3
"""Standard deviation of draws, in network units, below which it is not made wider any more."""


@dataclass(frozen=True)
class Generator(WithWeights, ImageModel):
    """One generator for missing contrasts and modalities; its weights say what it knows."""

    name: ClassVar[str] = "generator"
    learns: ClassVar[str] = "generation"
    weights: str = "brain"
    """Name of shipped weights, or the path of a .safetensors file with its card beside it."""
    steps: int = 4
    """Sampler steps. One gives the posterior mean; more give texture and spread. Time grows as
    steps.
    """
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""
    runtime: str = "auto"
    """What runs the backbone: `auto`, `torch`, or on a CPU `onnxruntime` or `openvino`."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise SettingError(f"steps = {self.steps}; the sampler takes 1 to 1000 steps.")

    @property
    def stochastic(self) -> bool:
        return parts(self.card["net"]).family.stochastic

    def make(self, requests: Sequence[Request], draws: int, noise: Array | None = None) -> Array:
        if noise is None:
            noise = np.random.default_rng(0).standard_normal(
                (len(requests), draws, *requests[0].initial.shape)
            )
        place, made = pick_device(self.device), parts(self.card["net"])
        net = _network(self.weights, place, self.runtime)
        if self.stochastic and draws > 1 and (made.spread or self._stored(made)):
            return self._about_the_mean(net, requests, noise)
        given = Given.of(made.conditions, requests).to(place)
        start = torch.from_numpy(np.asarray(noise, np.float32))[:, :, None].to(place)
        drawn = made.family.draw(net, given, start, self.steps)
        return np.asarray(drawn[:, :, 0].cpu().numpy())

    def _stored(self, made: Parts) -> Sequence[Any]:
        """Return the styles of training patients, where the network depends on styles."""
        found: Sequence[Any] = self.card.get("styles", ()) if Style.name in made.named else ()
        return found

    def _about_the_mean(self, net: nn.Module, requests: Sequence[Request], noise: Array) -> Array:
        """Make each draw in a style of its own, about the mean over all styles, which one pass
        gives and a few draws would only approach; as wide as the network expects its mean to err.
        """
        place, made = pick_device(self.device), parts(self.card["net"])
        count, draws = noise.shape[:2]
        given = Given.of(made.conditions, styled(requests, draws, self._stored(made))).to(place)
        start = torch.from_numpy(np.asarray(noise, np.float32)).to(place)
        drawn = made.family.draw(net, given, start.flatten(0, 1)[:, None, None], self.steps)
        found = drawn[:, 0, 0].reshape(count, draws, *noise.shape[2:])
        middle, spread = made.family.mean_and_spread(
            net, Given.of(made.conditions, requests).to(place)
        )
        apart = found - found.mean(1, keepdim=True)
        if spread is not None:
            apart = apart * (spread / _smooth(apart.var(1, keepdim=True)).sqrt().clamp_min(FAINT))
        return np.asarray((middle + apart).cpu().numpy())

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        """Make the untrained network from the recipe's `[model]` table: `family`, `backbone`,
        `contrasts`, `conditions`, `degradations`, `spread`; further settings are the backbone's.
        """
        made = parts(settings)
        net = Conditioned(made.conditions, made.backbone, made.settings, spread=made.spread)
        return made.family.prepare(net)


@dataclass(frozen=True)
class Parts:
    """What the `net` table of a card, or the `[model]` table of a recipe, describes."""

    family: Family
    backbone: str
    conditions: tuple[Condition, ...]
    settings: Mapping[str, Any]
    spread: bool = False

    @property
    def named(self) -> tuple[str, ...]:
        """Names of the conditions."""
        return tuple(condition.name for condition in self.conditions)


def parts(table: Mapping[str, Any]) -> Parts:
    """Read the parts of a generator.

    Raises: SettingError: the family, backbone or a condition is not known, or the contrasts are not
        named.
    """
    left = dict(table)
    family = registry.get("family", str(left.pop("family", "rectified-flow")))()
    if not left.get("contrasts"):
        raise SettingError(
            "A generator's [model] table names the contrasts it knows: contrasts = ['T1w', 'T2w']."
        )
    named = {
        key: tuple(left.pop(key)) for key in ("contrasts", "degradations", "masks") if key in left
    }
    wanted, spread = tuple(left.pop("conditions", CONDITIONS)), bool(left.pop("spread", False))
    if spread and not family.tells_spread:
        raise SettingError(
            f"spread = true, and networks of the family {family.name} do not tell the expected "
            "error of their mean. Leave it out, or use rectified-flow."
        )
    backbone = str(left.pop("backbone", "unet"))
    return Parts(family, backbone, conditions(wanted, **named), left, spread)


def _smooth(variance: torch.Tensor) -> torch.Tensor:
    """Return variances `(batch, 1, y, x)` of few draws, averaged over neighbours: a triangle with a
    standard deviation of 2 pixels.
    """
    for _ in range(2):
        variance = functional.avg_pool2d(variance, 5, 1, 2, count_include_pad=False)
    return variance


@cache
def _network(name: str, device: torch.device, runtime: str) -> nn.Module:
    return accelerated(
        weights.network(Generator.name, Generator.build, name).to(device).eval(), runtime, device
    )
