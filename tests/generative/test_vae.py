"""Laws of the autoencoder: its bound is the published one, its latents reach every pixel, without
them it is a regressor.
"""

from __future__ import annotations

import math

import pytest
import torch
from generators import family, given, network, noise, truth
from torch import distributions

from veridical.errors import SettingError
from veridical.generative import vae
from veridical.generative.conditioned import Conditioned
from veridical.generative.regression import one_pass
from veridical.generative.vae import VAE, cells, decoded, encoded, misfit, spread


def test_the_cost_of_latents_is_their_divergence_from_normal_ones_a_pixel() -> None:
    net, batch = network("vae"), given()
    residual = batch.residual(truth())
    latents, cost = encoded(net, batch, residual, torch.Generator().manual_seed(0))
    assert latents.shape == (2, vae.LATENTS, 4, 5)
    seen = torch.cat([residual, batch.initial], 1)
    mean, log_variance = net.get_submodule("encoder")(seen).chunk(2, 1)
    said = distributions.Normal(mean, (log_variance / 2).exp())
    normal = distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    wanted = distributions.kl_divergence(said, normal).flatten(1).sum(1) / (16 * 20)
    torch.testing.assert_close(cost, wanted)


def test_the_misfit_is_the_normal_likelihood_of_the_two_variances_that_fit_best() -> None:
    generator = torch.Generator().manual_seed(0)
    residual = 3 * torch.randn(4, 1, 16, 20, generator=generator)
    known = torch.tensor([1.0, 1.0, 1.0, 0.0])
    relative = torch.randn(4, 1, 16, 20, generator=generator)
    relative = relative * torch.tensor([0.2, 0.4, 0.5, 1.5]).reshape(-1, 1, 1, 1)
    size = residual.square().mean((1, 2, 3), keepdim=True).sqrt()
    found = float(misfit(given(), residual + size * relative, residual, known))
    best = [
        min(float(-distributions.Normal(0.0, s).log_prob(part).mean()) for s in trial.tolist())
        for part, trial in (
            (relative[:3], torch.linspace(0.3, 0.5, 400)),
            (relative[3:], torch.linspace(1.3, 1.7, 400)),
        )
    ]
    wanted = 0.75 * best[0] + 0.25 * best[1]
    assert found + (1 + math.log(2 * math.pi)) / 2 == pytest.approx(wanted, abs=5e-3)


def test_latents_of_a_cell_are_the_quarters_of_its_pixels() -> None:
    latents = torch.arange(1.0, 9).reshape(1, 4, 1, 2)
    found = spread(latents, (4, 7))
    assert found.shape == (1, 1, 4, 7)
    assert found[0, 0, 0].tolist() == [1, 1, 3, 3, 2, 2, 4]
    assert found[0, 0, 3].tolist() == [5, 5, 7, 7, 6, 6, 8]


def test_noise_is_told_out_among_cells_and_keeps_unit_variance_beyond_the_border() -> None:
    white = torch.randn(200, 1, 6, 9, generator=torch.Generator().manual_seed(0))
    found = cells(white)
    assert found.shape == (200, 16, 2, 3)
    assert torch.equal(found[:, 5, 0, 0], white[:, 0, 1, 1])
    assert found.var((0, 1)).flatten().tolist() == pytest.approx([1] * 6, abs=0.15)


def test_without_latents_it_is_a_regressor_whatever_they_are() -> None:
    net, batch = network("vae"), given()
    latents = torch.randn(2, 4, 4, 5, generator=torch.Generator().manual_seed(0))
    hidden = decoded(net, batch, latents, torch.zeros(2))
    torch.testing.assert_close(hidden, one_pass(net, batch))
    torch.testing.assert_close(batch.image(hidden), VAE().mean(net, batch))
    assert not torch.allclose(decoded(net, batch, latents), hidden, atol=1e-3)


def test_draws_take_one_pass_whatever_the_steps() -> None:
    net, batch = network("vae"), given()
    one, other = (VAE().draw(net, batch, noise(3), steps) for steps in (1, 8))
    assert torch.equal(one, other)


def test_what_the_conditions_do_not_say_goes_into_latents() -> None:
    """The truth is above the estimate in half of the slices and below in the others: latents say
    which.
    """
    net, batch, made = network("vae", trained=False), given().repeat(2), VAE()
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0]).reshape(-1, 1, 1, 1).expand(-1, 1, 16, 20)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for step in range(120):
        optimizer.zero_grad()
        loss = made.loss(net, batch, batch.image(sign), torch.Generator().manual_seed(step))
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():
        latents, cost = encoded(net, batch, sign, torch.Generator().manual_seed(0))
        found = decoded(net, batch, latents)
    assert float((found - sign).square().mean()) < 0.3, "1 is the best without latents"
    assert float(cost.mean()) * 16 * 20 > math.log(2)


@pytest.mark.parametrize("name", ["vae", "latent-flow", "autoregressive"])
def test_families_with_latents_refuse_networks_of_volumes(name: str) -> None:
    net = Conditioned((), "unet", {"widths": (8, 8), "blocks": 1, "dims": 3})
    with pytest.raises(SettingError, match="dims = 3; families with latents work on slices"):
        family(name).prepare(net)
