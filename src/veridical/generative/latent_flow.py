"""Latent flow: a variational autoencoder whose latents are drawn by a rectified flow, given the
conditions.

Rombach et al., Latent diffusion models, CVPR 2022 (arXiv 2112.10752), with the autoencoder of
`vae`, whose latents have unit variance by its objective, and the flow of `rectified_flow` on a grid
four times coarser, where a step costs a sixteenth. Both train at once: the flow learns from latents
through which no gradient goes back, so that the autoencoder is that of `vae` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from veridical.generative import flow
from veridical.generative.conditioned import Conditioned
from veridical.generative.family import Family, Given
from veridical.generative.rectified_flow import CEILING, denoised
from veridical.generative.regression import one_pass
from veridical.generative.samplers import euler
from veridical.generative.vae import LATENTS, VAE, cells, decoded, encoded, misfit
from veridical.nets.encoder import SHRINK


@dataclass(frozen=True)
class LatentFlow(Family):
    """Samples of the latents of what is missing."""

    name: ClassVar[str] = "latent-flow"
    at_start: float = 0.3
    """Share of the training without latents, where the network is a regressor, and share of the
    flow's at t = 0.
    """
    shift: float = 0.5
    """Puts more of a few sampler steps near the data, where the spread of the draws is made."""

    def prepare(self, net: Conditioned) -> nn.Module:
        prior = net.coarse(LATENTS, SHRINK)
        prepared = VAE().prepare(net)
        prepared.add_module("prior", prior)
        return prepared

    def loss(
        self, net: nn.Module, given: Given, truth: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The autoencoder's evidence lower bound, and the flow's squared error of the latents
        relative to that of the best linear denoiser, both a pixel.
        """
        residual = given.residual(truth)
        latents, cost = encoded(net, given, residual, generator)
        known = (torch.rand(len(truth), generator=generator) >= self.at_start).to(truth)
        bound = misfit(given, decoded(net, given, latents, known), residual, known)
        wanted = latents.detach()
        time = flow.training_times(len(truth), generator, self.at_start).to(truth)
        noise = torch.randn(wanted.shape, generator=generator).to(truth)
        state = flow.interpolate(noise, wanted, time)
        error = denoised(net.get_submodule("prior"), given, state, time) - wanted
        linear = (1 - time).square() / (time.square() + (1 - time).square())
        each = error.square().flatten(1).sum(1) / (linear + CEILING) / residual[0].numel()
        return bound + (known * cost + each).mean()

    def mean(self, net: nn.Module, given: Given) -> Tensor:
        with torch.inference_mode():
            return given.image(one_pass(net, given))

    def draw(self, net: nn.Module, given: Given, noise: Tensor, steps: int) -> Tensor:
        """Return draws: `steps` coarse passes and one of the decoder."""
        many, white = given.repeat(noise.shape[1]), noise.flatten(0, 1)
        prior = net.get_submodule("prior")

        def clean(state: Tensor, t: float) -> Tensor:
            return denoised(prior, many, state, state.new_full((len(state),), t))

        with torch.inference_mode():
            start = cells(white)[:, :LATENTS]
            latents = euler(clean, start, flow.times(steps, self.shift))
            return many.image(decoded(net, many, latents)).reshape(noise.shape)
