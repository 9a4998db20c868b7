"""A small residual U-Net, fast on a CPU: pixel-unshuffled by two, no normalization, conditioned by scale and shift.

FiLM conditioning: Perez et al. 2018, arXiv 1709.07871. Pixel-unshuffle halves the grid before the first convolution,
which quarters the cost of the widest layers.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with scale and shift from the condition; the identity at initialization."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.film(embedding)[..., None, None].chunk(2, dim=1)
        hidden = functional.silu(torch.addcmul(shift, self.first(x), 1.0 + scale))
        out: Tensor = x + self.second(hidden)
        return out


class UNet(nn.Module):
    """Map `(batch, inputs, y, x)` and a condition `(batch, conditions)` to `(batch, outputs, y, x)`; any image size.

    Args:
        inputs, outputs: channels.
        conditions: length of the condition vector.
        widths: channels per level, the first at half resolution.
        blocks: residual blocks per level, on the way down and up.
        embedding: width of the condition's embedding.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        conditions: int,
        widths: tuple[int, ...] = (32, 48, 96),
        blocks: int = 2,
        embedding: int = 64,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        self.embed = nn.Sequential(nn.Linear(conditions, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU())
        self.enter = nn.Conv2d(4 * inputs, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.ModuleList(ResidualBlock(w, embedding) for _ in range(blocks)) for w in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.ModuleList(ResidualBlock(w, embedding) for _ in range(blocks)) for w in widths[:-1])
        self.leave = nn.Conv2d(widths[0], 4 * outputs, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        if self.leave.bias is not None:
            nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        pad = (0, -columns % self.multiple, 0, -rows % self.multiple)
        x = functional.pixel_unshuffle(functional.pad(x, pad), 2).contiguous(memory_format=torch.channels_last)
        embedding = self.embed(condition)
        hidden = self.enter(x)
        skips: list[Tensor] = []
        for level, stage in enumerate(self.down):
            for block in _blocks(stage):
                hidden = block(hidden, embedding)
            if level < len(self.shrink):
                skips.append(hidden)
                hidden = self.shrink[level](hidden)
        for level in reversed(range(len(self.up))):
            hidden = self.grow[level](hidden) + skips[level]
            for block in _blocks(self.up[level]):
                hidden = block(hidden, embedding)
        out = functional.pixel_shuffle(self.leave(hidden), 2)
        return out[..., :rows, :columns]


def to_channels(image: Tensor) -> Tensor:
    """Complex `(batch, set, y, x)` to real `(batch, 2 * set, y, x)`, real and imaginary parts beside each other."""
    parts = torch.view_as_real(image).movedim(-1, 2)
    return parts.reshape(image.shape[0], -1, *image.shape[-2:])


def to_complex(channels: Tensor) -> Tensor:
    """The inverse of `to_channels`."""
    batch, count, rows, columns = channels.shape
    return torch.view_as_complex(channels.reshape(batch, count // 2, 2, rows, columns).movedim(2, -1).contiguous())


def _blocks(stage: nn.Module) -> list[ResidualBlock]:
    return [block for block in stage.children() if isinstance(block, ResidualBlock)]
