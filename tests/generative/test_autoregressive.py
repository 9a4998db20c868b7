"""Laws of the autoregressive family: the published codebook, a round keeps what is known, the last
leaves nothing unknown.
"""

from __future__ import annotations

import math

import pytest
import torch
from generators import given, network, noise, truth

from veridical.generative import autoregressive as module
from veridical.generative.autoregressive import (
    CODES,
    LEVELS,
    Autoregressive,
    indices,
    logits,
    quantized,
    values_of,
)
from veridical.generative.vae import cells


def test_the_codebook_has_the_size_that_the_paper_recommends_and_every_value_is_reached() -> None:
    assert (LEVELS, CODES) == ((8, 5, 5, 5), 1000)
    latents = torch.linspace(-4, 4, 200).reshape(1, 1, 10, 20).expand(-1, 4, -1, -1)
    values = quantized(latents)
    for channel, count in enumerate(LEVELS):
        assert len(values[:, channel].unique()) == count
        assert (values[:, channel].flatten().diff() >= 0).all()


def test_tokens_and_values_are_each_other_s_inverse() -> None:
    tokens = torch.arange(CODES).reshape(1, 20, 50)
    values = values_of(tokens)
    assert torch.equal(indices(values), tokens)
    assert float(values.min()) == -1
    assert float(values.max()) == 1
    for channel, count in enumerate(LEVELS):
        assert len(values[:, channel].unique()) == count


def test_values_are_rounded_and_gradients_are_those_of_the_bound() -> None:
    latents = torch.linspace(-4, 4, 40).reshape(1, 1, 5, 8).expand(-1, 4, -1, -1).clone()
    values = quantized(latents.requires_grad_())
    count = torch.tensor(LEVELS).reshape(-1, 1, 1) // 2
    torch.testing.assert_close((values * count).round() / count, values)
    (slope,) = torch.autograd.grad(values.sum(), latents)
    assert (slope > 0).all()
    odd = slope[0, 1] * 2  # two steps of value 1 / 2 on each side of zero
    wanted = 2 * 1.001 * (1 - torch.tanh(latents[0, 1]).square())
    torch.testing.assert_close(odd, wanted.detach())


def test_a_round_leaves_the_share_of_the_cosine_unknown_and_the_last_one_nothing() -> None:
    made = Autoregressive()
    tokens = torch.full((3, 8, 10), CODES)
    scores = torch.randn(3, CODES, 8, 10, generator=torch.Generator().manual_seed(0))
    for step in range(4):
        white = torch.randn(3, 2, 8, 10, generator=torch.Generator().manual_seed(step))
        later = made.round(scores, tokens, white, (step + 1) / 4)
        left = math.floor(80 * math.cos(math.pi / 2 * (step + 1) / 4))
        assert (later == CODES).flatten(1).sum(1).tolist() == [left] * 3
        known = tokens != CODES
        assert torch.equal(later[known], tokens[known])
        tokens = later
    assert not (tokens == CODES).any()


def test_tokens_are_drawn_with_their_probabilities() -> None:
    chance = torch.zeros(CODES)
    chance[[3, 500, 999]] = torch.tensor([0.2, 0.5, 0.3])
    scores = chance.log()[None, :, None, None].expand(1, -1, 100, 200)
    white = torch.randn(1, 2, 100, 200, generator=torch.Generator().manual_seed(0))
    found = Autoregressive().round(scores, torch.full((1, 100, 200), CODES), white, 1.0)
    shares = [float((found == code).float().mean()) for code in (3, 500, 999)]
    assert shares == pytest.approx([0.2, 0.5, 0.3], abs=0.015)


def test_without_temperature_a_round_keeps_the_likeliest_tokens() -> None:
    scores = torch.zeros(1, CODES, 2, 2)
    scores[0, 7] = torch.tensor([[1.0, 9.0], [3.0, 20.0]])
    white = torch.zeros(1, 2, 2, 2)
    unknown = torch.full((1, 2, 2), CODES)
    found = Autoregressive(temperature=0.0).round(scores, unknown, white, 2 / 3)
    assert found[0, 1, 1] == 7
    assert (found == CODES).tolist() == [[[True, False], [True, False]]]


def test_untrained_every_token_is_as_likely() -> None:
    net, batch = network("autoregressive", trained=False), given()
    found = logits(net, batch, torch.full((2, 4, 5), CODES))
    assert found.shape == (2, CODES, 4, 5)
    assert not found.any()
    loss = Autoregressive(at_start=1.0).loss(net, batch, truth(), torch.Generator().manual_seed(0))
    assert float(loss.detach()) == pytest.approx(math.log(CODES) / 16, abs=1e-3)


def test_the_tokens_network_passes_no_gradient_to_the_autoencoder() -> None:
    net, batch = network("autoregressive"), given()
    loss = Autoregressive(at_start=1.0).loss(net, batch, truth(), torch.Generator().manual_seed(0))
    torch.autograd.backward(loss)
    encoder = net.get_submodule("encoder")
    assert not any(p.grad.any() for p in encoder.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in net.get_submodule("prior.backbone").parameters())


def test_every_round_has_noise_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    plain = Autoregressive.round

    def noted(self, scores, tokens, fresh, done):  # type: ignore[no-untyped-def]
        seen.append(fresh)
        return plain(self, scores, tokens, fresh, done)

    monkeypatch.setattr(module.Autoregressive, "round", noted)
    Autoregressive().draw(network("autoregressive"), given(), noise(2), 3)
    assert len(seen) == 3
    assert seen[0].shape == cells(noise(2).flatten(0, 1)).shape
    assert not any(torch.equal(seen[0], other) for other in seen[1:])
