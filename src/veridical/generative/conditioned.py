"""A network that depends on named conditions: a backbone, the encoders of the conditions, and the
time of a sampler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from veridical.conditioning.condition import Condition, Conditioning
from veridical.nets.backbone import backbone

WIDTH, EMBEDDING = 24, 64
"""Channels that maps are encoded to, and length of the vector that vectors are encoded to."""


class Conditioned(nn.Module):
    """Map a state at a time, and conditions, to an image of the same shape.

    Args:
        conditions: those that it depends on; their order does not matter.
        name: of the backbone.
        settings: of the backbone.
        outputs: channels of state and output.
        shrink: side in pixels of a cell of the grid of state and output; 1 is the grid of the maps.
        spread: whether each output has the log of its expected error beside it, behind all outputs.
    """

    def __init__(
        self,
        conditions: Sequence[Condition],
        name: str,
        settings: Mapping[str, Any],
        outputs: int = 1,
        shrink: int = 1,
        spread: bool = False,
    ) -> None:
        super().__init__()
        dims = int(settings.get("dims", 2))
        self.made_from = tuple(conditions), name, dict(settings)
        self.shrink = shrink
        self.kinds = {condition.name: condition.kind for condition in conditions}
        width = {"map": WIDTH, "vector": EMBEDDING}
        self.encoders = nn.ModuleDict({c.name: c.encoder(width[c.kind], dims) for c in conditions})
        self.unknown = nn.ParameterDict({c.name: torch.zeros(width[c.kind]) for c in conditions})
        self.time = nn.Linear(1, EMBEDDING)
        made = 2 * outputs if spread else outputs
        self.backbone = backbone(name, WIDTH + outputs, made, EMBEDDING, settings)
        if shrink > 1:
            self.reduce = (nn.Conv2d if dims == 2 else nn.Conv3d)(WIDTH, WIDTH, shrink, shrink)

    def coarse(self, outputs: int, shrink: int) -> Conditioned:
        """Return an untrained network of the same recipe for a state on a coarser grid.

        Args:
            outputs: channels of its state and output.
            shrink: side in pixels of a cell of the grid of state and output.
        """
        conditions, name, settings = self.made_from
        return Conditioned(conditions, name, settings, outputs, shrink)

    def forward(self, state: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        """Return `(batch, outputs, y, x)`, twice as many channels with the spread.

        Args:
            state: `(batch, outputs, y, x)`, or on a grid `shrink` times coarser, rounded up.
            time: `(batch,)`: how far a sampler is, as the family counts it.
            conditioning: values of all conditions.
        """
        maps = state.new_zeros(len(state), WIDTH, *(n * self.shrink for n in state.shape[2:]))
        vector = self.time(time[:, None])
        for name, kind in self.kinds.items():
            found = self.encoders[name](conditioning.values[name])
            known = conditioning.known[name].reshape(-1, *[1] * (found.ndim - 1))
            other = self.unknown[name].reshape(1, -1, *[1] * (found.ndim - 2))
            found = known * found + (1 - known) * other
            if kind == "map":
                maps = maps + padded(found, maps.shape[2:])
            else:
                vector = vector + found
        if self.shrink > 1:
            maps = self.reduce(maps)
        out: Tensor = self.backbone(torch.cat([state, maps], 1), nn.functional.silu(vector))
        return out


def padded(image: Tensor, shape: Sequence[int]) -> Tensor:
    """Return an image `(batch, channel, y, x)` with zeros behind it up to a shape `(y, x)`."""
    missing = [n - m for n, m in zip(shape, image.shape[2:], strict=True)]
    if not any(missing):
        return image
    return nn.functional.pad(image, [side for n in reversed(missing) for side in (0, n)])
