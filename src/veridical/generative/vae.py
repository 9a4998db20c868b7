"""A conditional variational autoencoder: what the conditions leave open of an image is a grid of
latents, normal ones for draws.

Kingma and Welling, ICLR 2014 (arXiv 1312.6114); Sohn et al., NeurIPS 2015. The weight of the
latents' cost is not a setting: the error's variance is the one that fits the batch best (Rybkin et
al., sigma-VAE, ICML 2021, arXiv 2006.13202). The decoder is the recipe's network, which sees the
conditions at full resolution, so that latents hold only what they do not say. At time 0 it sees no
latents and is a regressor; at time 1 it decodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.errors import SettingError
from veridical.generative.conditioned import Conditioned
from veridical.generative.family import Family, Given
from veridical.generative.regression import one_pass
from veridical.nets.encoder import SHRINK, Encoder

LATENTS = 4
"""Channels of a cell of 4 x 4 pixels."""
FLOOR = 1e-3
"""Added to the error relative to the size of the residual, which counts by its logarithm."""


@dataclass(frozen=True)
class VAE(Family):
    """Draws by normal latents."""

    name: ClassVar[str] = "vae"
    at_start: float = 0.3
    """Share of the training without latents, where the network is a regressor."""

    def prepare(self, net: Conditioned) -> nn.Module:
        on_slices(net)
        net.add_module("encoder", Encoder(2, 2 * LATENTS))
        return net

    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The negative evidence lower bound in nats a pixel, up to a constant."""
        residual = given.residual(truth)
        latents, cost = encoded(net, given, residual, generator)
        known = (torch.rand(len(truth), generator=generator) >= self.at_start).to(truth)
        found = decoded(net, given, latents, known)
        return misfit(given, found, residual, known) + (known * cost).mean()

    def mean(self, net: nn.Module, given: Given) -> Tensor:
        with torch.inference_mode():
            return given.image(one_pass(net, given))

    def draw(self, net: nn.Module, given: Given, noise: Tensor, steps: int) -> Tensor:
        """Return draws of one pass each, whatever the steps."""
        many, white = given.repeat(noise.shape[1]), noise.flatten(0, 1)
        with torch.inference_mode():
            return many.image(decoded(net, many, cells(white)[:, :LATENTS])).reshape(noise.shape)


def on_slices(net: Conditioned) -> None:
    """Make sure that a network works on slices, as cells of latents do.

    Raises:
        SettingError: it works on volumes.
    """
    _, name, settings = net.made_from
    if settings.get("dims", 2) != 2:
        raise SettingError(
            f"The backbone {name} has dims = {settings['dims']}; families with latents work on "
            "slices, 2. Leave dims out, or choose another family."
        )


def encoded(
    net: nn.Module, given: Given, residual: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return latents `(batch, LATENTS, y / 4, x / 4)` drawn from what the encoder says of a
    residual, and their Kullback-Leibler divergence from normal ones, in nats a pixel, `(batch,)`.
    """
    seen = torch.cat([residual, given.initial], 1)
    mean, log_variance = net.get_submodule("encoder")(seen).chunk(2, 1)
    noise = torch.randn(mean.shape, generator=generator).to(mean)
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
    drawn: Tensor = mean + (log_variance / 2).exp() * noise
    return drawn, divergence.flatten(1).sum(1) / residual[0].numel()


def decoded(net: nn.Module, given: Given, latents: Tensor, known: Tensor | None = None) -> Tensor:
    """Return the residual `(batch, 1, y, x)` that latents stand for.

    Args:
        net: of the recipe.
        given: the batch.
        latents: `(batch, LATENTS, y / 4, x / 4)`.
        known: `(batch,)`, 0 where the latents are hidden; None: nowhere.
    """
    time = latents.new_ones(len(latents)) if known is None else known
    shape = given.initial.shape[-2:]
    state = spread(latents, (shape[0], shape[1])) * time.reshape(-1, 1, 1, 1)
    found: Tensor = net(state, time, given.conditioning)
    return found


def misfit(given: Given, found: Tensor, residual: Tensor, known: Tensor) -> Tensor:
    """Return the mean negative log-likelihood in nats a pixel, up to a constant, under a normal
    error relative to the size of each residual.

    The error has two variances, those that fit the batch best: with latents and without. One for
    each slice would reward a decoder that gets some slices right by giving up others.

    Args:
        given: the batch; its weights count.
        found, residual: `(batch, 1, y, x)`.
        known: `(batch,)`, 0 where the latents were hidden.
    """
    error = given.average((found - residual).square()) / given.size(residual)
    total = torch.zeros_like(error[0])
    for part in (known, 1 - known):
        variance = (part * error).sum() / part.sum().clamp_min(1)
        total = total + part.mean() * (variance + FLOOR).log() / 2
    return total


def spread(latents: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the latents of a cell as the quarters of its 4 x 4 pixels, `(batch, 1, y, x)`."""
    quarters = functional.pixel_shuffle(latents, 2)
    side = SHRINK // 2
    pixels = quarters.repeat_interleave(side, -2).repeat_interleave(side, -1)
    return pixels[..., : shape[0], : shape[1]]


def cells(white: Tensor) -> Tensor:
    """Return the 16 numbers of each cell of white noise, `(batch, 16, y / 4, x / 4)`; cells beyond
    the border repeat the last row and column.
    """
    rows, columns = white.shape[-2:]
    whole = functional.pad(white, (0, -columns % SHRINK, 0, -rows % SHRINK), mode="replicate")
    return functional.pixel_unshuffle(whole, SHRINK)
