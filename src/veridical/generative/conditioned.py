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
    """

    def __init__(
        self,
        conditions: Sequence[Condition],
        name: str,
        settings: Mapping[str, Any],
        outputs: int = 1,
    ) -> None:
        super().__init__()
        dims = int(settings.get("dims", 2))
        self.kinds = {condition.name: condition.kind for condition in conditions}
        width = {"map": WIDTH, "vector": EMBEDDING}
        self.encoders = nn.ModuleDict({c.name: c.encoder(width[c.kind], dims) for c in conditions})
        self.unknown = nn.ParameterDict({c.name: torch.zeros(width[c.kind]) for c in conditions})
        self.time = nn.Linear(1, EMBEDDING)
        self.backbone = backbone(name, WIDTH + outputs, outputs, EMBEDDING, settings)

    def forward(self, state: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        """Return `(batch, outputs, y, x)`.

        Args:
            state: `(batch, outputs, y, x)`.
            time: `(batch,)` in [0, 1].
            conditioning: values of all conditions.
        """
        maps = state.new_zeros(len(state), WIDTH, *state.shape[2:])
        vector = self.time(time[:, None])
        for name, kind in self.kinds.items():
            found = self.encoders[name](conditioning.values[name])
            known = conditioning.known[name].reshape(-1, *[1] * (found.ndim - 1))
            other = self.unknown[name].reshape(1, -1, *[1] * (found.ndim - 2))
            found = known * found + (1 - known) * other
            maps, vector = (maps + found, vector) if kind == "map" else (maps, vector + found)
        out: Tensor = self.backbone(torch.cat([state, maps], 1), nn.functional.silu(vector))
        return out
