"""Laws of the latent flow: the autoencoder learns as without a flow, draws are the decoded end of
the flow on the coarse grid.
"""

from __future__ import annotations

import torch
from generators import given, network, noise, truth
from torch import Tensor, nn

from veridical.conditioning.condition import Conditioning
from veridical.generative.latent_flow import LatentFlow
from veridical.generative.vae import LATENTS, VAE, decoded


def test_the_autoencoder_has_the_gradients_that_it_has_alone() -> None:
    net, batch, image = network("latent-flow"), given(), truth()
    own = {n: p for n, p in net.named_parameters() if not n.startswith("prior.")}
    names = [name for name in own if not name.startswith("unknown.")]

    def slopes(family: VAE | LatentFlow) -> tuple[Tensor, ...]:
        loss = family.loss(net, batch, image, torch.Generator().manual_seed(3))
        return torch.autograd.grad(loss, [own[name] for name in names])

    for one, other in zip(slopes(LatentFlow()), slopes(VAE()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_the_flow_works_on_a_grid_four_times_coarser_whatever_the_size_of_the_image() -> None:
    net, batch = network("latent-flow"), given()
    state = torch.randn(2, LATENTS, 4, 5, generator=torch.Generator().manual_seed(0))
    prior = net.get_submodule("prior")
    assert prior(state, torch.zeros(2), batch.conditioning).shape == state.shape
    assert prior.get_submodule("reduce").weight.shape[2:] == (4, 4)


class Settled(nn.Module):
    """A flow that ends at the same latents whatever it starts from: an untrained one would be the
    linear denoiser, of which this is the difference.
    """

    def __init__(self, latents: Tensor) -> None:
        super().__init__()
        self.latents = latents

    def forward(self, linear: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        t = time.reshape(-1, 1, 1, 1)
        wanted = self.latents.repeat_interleave(len(linear) // 2, 0)
        return (wanted - linear) * (t.square() + (1 - t).square()).sqrt() / (1 - t)


def test_draws_are_the_decoded_end_of_the_flow() -> None:
    net, batch = network("latent-flow"), given()
    latents = torch.randn(2, LATENTS, 4, 5, generator=torch.Generator().manual_seed(1))
    net.add_module("prior", Settled(latents))
    drawn = LatentFlow().draw(net, batch, noise(3), 4)
    with torch.inference_mode():
        wanted = batch.image(decoded(net, batch, latents))
    torch.testing.assert_close(
        drawn, wanted[:, None].expand(-1, 3, -1, -1, -1), atol=1e-5, rtol=1e-4
    )
