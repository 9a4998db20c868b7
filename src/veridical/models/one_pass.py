"""What models share that map what is known of a slice to its missing channels in one pass of the joint net."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from veridical.models import weights
from veridical.models.base import ImageModel, make, pick_device
from veridical.models.joint_prior import denoise
from veridical.models.known import Known
from veridical.nets.joint import JointNet


@dataclass(frozen=True)
class OnePassModel(ImageModel, ABC):
    """A model of one network pass, whose net is that of the joint prior at t = 0: the same budget, another loss."""

    weights: str = ""
    """Path of a .safetensors file with its card beside it, or a name of shipped weights."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""

    @property
    def weights_hash(self) -> str:
        return weights.fingerprint(self.weights)

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(weights.card(self.weights)["net"]["channels"])

    @classmethod
    def build(cls, settings: Mapping[str, Any]) -> nn.Module:
        return make(JointNet, settings)

    def net(self) -> nn.Module:
        """Return the network with its weights, loaded once."""
        return _net(type(self), self.weights, self.place())

    def place(self) -> torch.device:
        """Return the device it runs on."""
        return pick_device(self.device)


def passed(net: nn.Module, known: Known) -> Tensor:
    """Return the residual `(batch, channel, y, x)`, in units of the level, that the net finds in one pass."""
    return denoise(net, known, torch.zeros_like(known.anchor), torch.zeros(known.anchor.shape[0], device=known.anchor.device))


def residual(known: Known, truth: Tensor) -> Tensor:
    """Return what the anchors lack of the truth `(batch, channel, y, x)`, in units of the level; zero if not drawn."""
    return (truth - known.anchor) / known.over(known.level.clamp_min(1e-6)) * known.drawn


def l1(found: Tensor, wanted: Tensor, known: Known) -> Tensor:
    """Return the mean absolute difference `(batch,)` of residuals over the drawn channels."""
    return (found - wanted).abs().flatten(2).mean(2).sum(1) / known.drawn.sum(1).clamp_min(1.0).flatten()


def image(known: Known, found: Tensor) -> Tensor:
    """Return the state `(batch, channel, y, x)` that a residual stands for."""
    return known.anchor + known.over(known.level) * found


@cache
def _net(kind: type[OnePassModel], name: str, device: torch.device) -> nn.Module:
    return weights.network(kind.name, kind.build, name).to(device).eval()
