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

from veridical import registry
from veridical.conditioning.condition import Condition, conditions
from veridical.conditioning.request import Request
from veridical.conditioning.style import Style
from veridical.errors import SettingError
from veridical.generative.conditioned import Conditioned
from veridical.generative.family import Family, Given
from veridical.models import weights
from veridical.models.base import ImageModel, pick_device
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


@dataclass(frozen=True)
class Generator(ImageModel):
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

    @property
    def card(self) -> dict[str, Any]:
        return weights.card(self.weights)

    @property
    def weights_hash(self) -> str:
        return weights.fingerprint(self.weights)

    def make(self, requests: Sequence[Request], draws: int, noise: Array | None = None) -> Array:
        if noise is None:
            noise = np.random.default_rng(0).standard_normal(
                (len(requests), draws, *requests[0].initial.shape)
            )
        place, made = pick_device(self.device), parts(self.card["net"])
        stored, shape = self.card.get("styles", []), noise.shape
        if (
            self.stochastic
            and draws > 1
            and stored
            and any(c.name == Style.name for c in made.conditions)
        ):
            requests = styled(requests, draws, stored)
            noise = noise.reshape(len(requests), 1, *shape[2:])
        given = Given.of(made.conditions, requests).to(place)
        start = torch.from_numpy(np.asarray(noise, np.float32))[:, :, None].to(place)
        drawn = made.family.draw(
            _network(self.weights, place, self.runtime), given, start, self.steps
        )
        found = np.asarray(drawn[:, :, 0].cpu().numpy())
        return found.reshape(shape) if self.stochastic else found

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        """Make the untrained network from the recipe's `[model]` table: `family`, `backbone`,
        `contrasts`, `conditions`, `degradations`; further settings are the backbone's.
        """
        made = parts(settings)
        return made.family.prepare(Conditioned(made.conditions, made.backbone, made.settings))


@dataclass(frozen=True)
class Parts:
    """What the `net` table of a card, or the `[model]` table of a recipe, describes."""

    family: Family
    backbone: str
    conditions: tuple[Condition, ...]
    settings: Mapping[str, Any]


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
    wanted = tuple(left.pop("conditions", CONDITIONS))
    return Parts(family, str(left.pop("backbone", "unet")), conditions(wanted, **named), left)


@cache
def _network(name: str, device: torch.device, runtime: str) -> nn.Module:
    return accelerated(
        weights.network(Generator.name, Generator.build, name).to(device).eval(), runtime, device
    )
