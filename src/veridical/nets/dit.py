"""A diffusion Transformer: patches as tokens, all of which see each other, in blocks that begin as
the identity.

Peebles and Xie, Scalable diffusion models with Transformers, ICCV 2023 (arXiv 2212.09748): adaLN-
Zero blocks, and sine-cosine positions in two dimensions, which exist for images of any size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.errors import SettingError
from veridical.nets.backbone import Backbone

SLOWEST = 10_000.0
"""Wavelength of the slowest position, in tokens over 2 pi (Vaswani et al., NeurIPS 2017)."""


class DiT(Backbone):
    """Map `(batch, inputs, y, x)` and a condition `(batch, conditions)` to `(batch, outputs, y,
    x)`; any image size.

    Args:
        inputs, outputs: channels.
        conditions: length of the condition vector.
        width: length of a token; a multiple of 4 and of `heads`.
        blocks: attention blocks.
        heads: of attention.
        patch: side of a token in pixels. Memory and time of attention grow as its inverse to the
            fourth power.

    Raises:
        SettingError: the width is no multiple of 4 and `heads`, or the patch is smaller than 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        conditions: int,
        width: int = 128,
        blocks: int = 6,
        heads: int = 4,
        patch: int = 4,
    ) -> None:
        super().__init__()
        if width % heads:
            raise SettingError(f"width = {width}, heads = {heads}; the width must be a multiple.")
        self.inputs, self.conditions, self.multiple = inputs, conditions, patch
        mixers = [SelfAttention(width, heads) for _ in range(blocks)]
        self.trunk = PatchTrunk(inputs, outputs, conditions, width, patch, mixers)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return `(batch, outputs, y, x)`."""
        out: Tensor = self.trunk(x, condition)
        return out


class SelfAttention(nn.Module):
    """Every token of a grid `(batch, y, x, width)` sees all others."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.enter = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return a grid of that shape."""
        flat = self.enter(tokens).flatten(1, 2)
        parts = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in flat.chunk(3, -1)]
        seen = functional.scaled_dot_product_attention(*parts)
        out: Tensor = self.leave(seen.transpose(1, 2).reshape(tokens.shape))
        return out


class PatchTrunk(nn.Module):
    """Patches to tokens, blocks around one mixer of tokens each, tokens to patches; zero when it is
    made.

    Args:
        inputs, outputs, conditions, width, patch: as in `DiT`.
        mixers: modules from a grid of tokens `(batch, y, x, width)` to another.

    Raises:
        SettingError: the width is no multiple of 4, or the patch is smaller than 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        conditions: int,
        width: int,
        patch: int,
        mixers: list[nn.Module] | list[SelfAttention],
    ) -> None:
        super().__init__()
        if width < 4 or width % 4 or patch < 1:
            raise SettingError(
                f"width = {width}, patch = {patch}; expected a width that is a multiple of 4, and "
                "a patch of at least 1 pixel."
            )
        self.patch, self.width = patch, width
        self.embed = nn.Sequential(
            nn.Linear(conditions, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.enter = nn.Linear(inputs * patch**2, width)
        self.blocks = nn.ModuleList(AdaptiveBlock(width, mixer) for mixer in mixers)
        self.film = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, outputs * patch**2)
        for layer in (self.film, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return `(batch, outputs, y, x)`."""
        rows, columns = x.shape[-2:]
        x = functional.pad(x, (0, -columns % self.patch, 0, -rows % self.patch))
        tokens = self.enter(functional.pixel_unshuffle(x, self.patch).movedim(1, -1))
        tokens = tokens + positions(tokens.shape[1], tokens.shape[2], self.width).to(tokens)
        embedding = self.embed(condition)
        for block in self.blocks:
            tokens = block(tokens, embedding)
        scale, shift = self.film(embedding)[:, None, None].chunk(2, -1)
        last = self.leave(functional.layer_norm(tokens, (self.width,)) * (1 + scale) + shift)
        out = functional.pixel_shuffle(last.movedim(-1, 1), self.patch)
        return out[..., :rows, :columns]


class AdaptiveBlock(nn.Module):
    """A mixer of tokens and a perceptron, each scaled, shifted and gated by the condition; the
    identity when it is made (adaLN-Zero).
    """

    def __init__(self, width: int, mixer: nn.Module, widen: int = 2) -> None:
        super().__init__()
        self.mixer = mixer
        self.perceptron = nn.Sequential(
            nn.Linear(width, widen * width), nn.GELU(), nn.Linear(widen * width, width)
        )
        self.film = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        """Return tokens `(batch, y, x, width)`."""
        film = self.film(embedding)[:, None, None].chunk(6, -1)
        for part, (scale, shift, gate) in zip(
            (self.mixer, self.perceptron), (film[:3], film[3:]), strict=True
        ):
            seen = functional.layer_norm(tokens, tokens.shape[-1:]) * (1 + scale) + shift
            tokens = tokens + gate * part(seen)
        return tokens


def positions(rows: int, columns: int, width: int) -> Tensor:
    """Return the places of tokens as sines and cosines, `(rows, columns, width)`: the first half of
    the row, the second of the column.
    """
    count = width // 4
    speed = SLOWEST ** (-torch.arange(count) / count)
    lines = []
    for n in (rows, columns):
        angle = torch.arange(n)[:, None] * speed
        lines.append(torch.cat([angle.sin(), angle.cos()], -1))
    down = lines[0][:, None].expand(rows, columns, -1)
    across = lines[1][None].expand(rows, columns, -1)
    return torch.cat([down, across], -1)
