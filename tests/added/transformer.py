"""A small diffusion Transformer: patches as tokens, scale and shift from the condition (arXiv
2212.09748).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.nets.backbone import Backbone


class Block(nn.Module):
    """Attention and a perceptron, each scaled and shifted by the condition."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.film = nn.Linear(width, 4 * width)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Return tokens `(batch, token, width)`."""
        scale, shift, scale2, shift2 = self.film(condition)[:, None].chunk(4, -1)
        seen = self.norms[0](tokens) * (1 + scale) + shift
        tokens = tokens + self.attention(seen, seen, seen, need_weights=False)[0]
        out: Tensor = tokens + self.perceptron(self.norms[1](tokens) * (1 + scale2) + shift2)
        return out


class Transformer(Backbone):
    """Tokens of `patch` x `patch` pixels.

    Args:
        inputs, outputs, conditions: as in `Backbone`.
        width, heads, depth, patch: of the network.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        conditions: int,
        width: int = 32,
        heads: int = 4,
        depth: int = 2,
        patch: int = 4,
    ) -> None:
        super().__init__()
        self.inputs, self.conditions, self.multiple = inputs, conditions, patch
        self.enter = nn.Conv2d(inputs, width, patch, stride=patch)
        self.place = nn.Linear(4, width)
        self.embed = nn.Linear(conditions, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.leave = nn.ConvTranspose2d(width, outputs, patch, stride=patch)
        nn.init.zeros_(self.leave.weight)
        if self.leave.bias is not None:
            nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        grid = self.enter(
            functional.pad(x, (0, -columns % self.multiple, 0, -rows % self.multiple))
        )
        y, z = (torch.linspace(-3, 3, n, device=x.device) for n in grid.shape[-2:])
        both = torch.stack(torch.meshgrid(y, z, indexing="ij"), -1)
        tokens = grid.flatten(2).mT + self.place(torch.cat([both.sin(), both.cos()], -1)).flatten(
            0, 1
        )
        embedding = functional.silu(self.embed(condition))
        for block in self.blocks:
            tokens = block(tokens, embedding)
        out: Tensor = self.leave(tokens.mT.reshape(grid.shape))
        return out[..., :rows, :columns]
