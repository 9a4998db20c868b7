"""Autoregressive: images as tokens of a quantized autoencoder, drawn in a few rounds, each of which
sees the tokens of those before.

Tokens by finite scalar quantization (Mentzer et al., ICLR 2024, arXiv 2309.15505), whose codebook
cannot collapse; masked prediction of tokens as in MaskGIT (Chang et al., CVPR 2022, arXiv
2202.04200). The decoder is the recipe's network, as in `vae`. The tokens' network has the same
backbone on a grid four times coarser; it learns at the same time, through tokens that pass no
gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.generative.bridge import moved
from veridical.generative.conditioned import Conditioned
from veridical.generative.family import Family, Given
from veridical.generative.regression import one_pass
from veridical.generative.vae import cells, decoded, misfit, on_slices
from veridical.nets.encoder import SHRINK, Encoder

LEVELS = (8, 5, 5, 5)
"""Values that each of the four numbers of a token may take: 1000 codes, as the paper recommends for
2^10.
"""
CODES = math.prod(LEVELS)
WIDTH = 64
"""Length of the vector that a token is shown as."""


@dataclass(frozen=True)
class Autoregressive(Family):
    """Draws by tokens, in rounds."""

    name: ClassVar[str] = "autoregressive"
    at_start: float = 0.3
    """Share of the training without tokens, where the network is a regressor."""
    temperature: float = 4.5
    """Of the choice which tokens a round keeps: 0 keeps the likeliest, many keep any."""

    def prepare(self, net: Conditioned) -> nn.Module:
        on_slices(net)
        prior = net.coarse(WIDTH, SHRINK)
        net.add_module("encoder", Encoder(2, len(LEVELS)))
        net.add_module("prior", prior)
        net.add_module("tokens", nn.Embedding(CODES + 1, WIDTH))
        return net

    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Misfit of the decoded tokens, and cross-entropy of those that are hidden, in nats a
        pixel.
        """
        residual = given.residual(truth)
        seen = torch.cat([residual, given.initial], 1)
        values = quantized(net.get_submodule("encoder")(seen))
        known = (torch.rand(len(truth), generator=generator) >= self.at_start).to(truth)
        fit = misfit(given, decoded(net, given, values, known), residual, known)
        tokens = indices(values.detach())
        share = torch.cos(math.pi / 2 * torch.rand(len(tokens), 1, 1, generator=generator))
        hidden = (torch.rand(tokens.shape, generator=generator) < share).to(tokens.device)
        cost = functional.cross_entropy(
            logits(net, given, tokens.masked_fill(hidden, CODES)), tokens, reduction="none"
        )
        part = (cost * hidden).flatten(1).sum(1) / hidden.flatten(1).sum(1).clamp_min(1)
        return fit + part.mean() / SHRINK**2

    def mean(self, net: nn.Module, given: Given) -> Tensor:
        with torch.inference_mode():
            return given.image(one_pass(net, given))

    def draw(self, net: nn.Module, given: Given, noise: Tensor, steps: int) -> Tensor:
        """Return draws: `steps` coarse passes and one of the decoder."""
        many, white = given.repeat(noise.shape[1]), noise.flatten(0, 1)
        with torch.inference_mode():
            tokens = torch.full_like(cells(white)[:, 0], CODES, dtype=torch.long)
            for step in range(steps):
                fresh = cells(moved(white, step))
                tokens = self.round(logits(net, many, tokens), tokens, fresh, (step + 1) / steps)
            return many.image(decoded(net, many, values_of(tokens))).reshape(noise.shape)

    def round(self, scores: Tensor, tokens: Tensor, fresh: Tensor, done: float) -> Tensor:
        """Return tokens `(batch, y, x)` of which more are known.

        Args:
            scores: `(batch, CODES, y, x)`, logits of the tokens.
            tokens: those known so far, `CODES` where none is.
            fresh: `(batch, 2 or more, y, x)`, standard normal numbers.
            done: share of the rounds that are over after this one; 1 leaves none unknown.
        """
        chance = scores.softmax(1)
        drawn = (chance.cumsum(1) < torch.special.ndtr(fresh[:, :1])).sum(1).clamp(max=CODES - 1)
        drawn = torch.where(tokens == CODES, drawn, tokens)
        gumbel = -(-torch.special.log_ndtr(fresh[:, 1])).log()
        sure = chance.gather(1, drawn[:, None])[:, 0].log() + self.temperature * (1 - done) * gumbel
        sure = sure.masked_fill(tokens != CODES, math.inf).flatten(1)
        left = math.floor(math.cos(math.pi / 2 * done) * sure.shape[1])
        last = sure.argsort(1)[:, :left]
        return drawn.flatten(1).scatter(1, last, CODES).reshape(tokens.shape)


def logits(net: nn.Module, given: Given, tokens: Tensor) -> Tensor:
    """Return logits `(batch, CODES, y, x)` of tokens `(batch, y, x)`, some of which are unknown,
    `CODES`.
    """
    table = net.get_submodule("tokens")
    state = table(tokens).movedim(-1, 1)
    known = (tokens != CODES).flatten(1).float().mean(1)
    out = net.get_submodule("prior")(state, known, given.conditioning)
    rows: Tensor = next(table.parameters())[:CODES]
    return torch.einsum("bcyx,tc->btyx", out, rows)


def quantized(latents: Tensor) -> Tensor:
    """Return latents `(batch, 4, y, x)` bounded and rounded to their levels, in [-1, 1]; gradients
    pass as if they were not rounded.
    """
    count = torch.tensor(LEVELS, device=latents.device).reshape(-1, 1, 1)
    half = (count - 1) * (1 + 1e-3) / 2
    offset = 0.5 * (count % 2 == 0)
    bounded = torch.tanh(latents + torch.atanh(offset / half)) * half - offset
    return (bounded + (bounded.round() - bounded).detach()) / (count // 2)


def indices(values: Tensor) -> Tensor:
    """Return the numbers in [0, CODES) of quantized values `(batch, 4, y, x)`, `(batch, y, x)`."""
    total = torch.zeros_like(values[:, 0], dtype=torch.long)
    for channel, count in enumerate(LEVELS):
        place = (values[:, channel] * (count // 2)).round().long() + count // 2
        total = total * count + place
    return total


def values_of(tokens: Tensor) -> Tensor:
    """Return the quantized values `(batch, 4, y, x)` of tokens `(batch, y, x)`."""
    found: list[Tensor] = []
    for count in reversed(LEVELS):
        found.insert(0, (tokens % count - count // 2) / (count // 2))
        tokens = tokens // count
    return torch.stack(found, 1)
