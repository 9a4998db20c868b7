"""Laws of the rectified flow: untrained it is the best linear denoiser, exact networks draw
exactly, noise has its spectrum.
"""

from __future__ import annotations

import math

import pytest
import torch
from generators import given, network, noise, requests, truth
from torch import Tensor, nn

from veridical.conditioning.condition import Conditioning
from veridical.generative import rectified_flow as module
from veridical.generative.family import Given
from veridical.generative.rectified_flow import RectifiedFlow, denoised, start


class Exact(nn.Module):
    """The network of a residual that is white with a mean and a deviation, under white noise."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, linear: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        t = time.reshape(-1, 1, 1, 1)
        power = t.square() + (1 - t).square()
        state = torch.where(t > 0, linear * power / t.clamp_min(1e-9), torch.zeros_like(linear))
        gain = t * self.deviation**2 / (t.square() * self.deviation**2 + (1 - t).square())
        clean = self.mean + gain * (state - t * self.mean)
        return (clean - linear) * power.sqrt() / (1 - t)


def many(count: int) -> Given:
    return given(*(requests()[0] for _ in range(count)))


@pytest.mark.parametrize("t", [0.0, 0.3, 0.8])
def test_an_untrained_network_is_the_best_linear_denoiser_of_unit_variance(t: float) -> None:
    batch, time = many(60), torch.full((60,), t)
    wanted = torch.randn(60, 1, 16, 20, generator=torch.Generator().manual_seed(0))
    white = torch.randn(60, 1, 16, 20, generator=torch.Generator().manual_seed(1))
    state = (1 - t) * white + t * wanted
    error = denoised(network("rectified-flow", trained=False), batch, state, time) - wanted
    best = (1 - t) ** 2 / (t**2 + (1 - t) ** 2)
    assert float(error.detach().square().mean()) == pytest.approx(best, rel=0.05)


def test_at_the_start_the_state_is_not_seen() -> None:
    net, batch, zero = network("rectified-flow"), given(), torch.zeros(2)
    one, other = (denoised(net, batch, noise(1, seed=seed)[:, 0], zero) for seed in (0, 1))
    assert torch.equal(one, other)
    later = [denoised(net, batch, noise(1, seed=seed)[:, 0], zero + 0.5) for seed in (0, 1)]
    assert not torch.allclose(*later, atol=1e-3)


def test_the_loss_is_relative_to_the_best_linear_denoiser_and_to_the_size_of_the_residual() -> None:
    batch, net = many(64), network("rectified-flow", trained=False)
    residual = torch.randn(64, 1, 16, 20, generator=torch.Generator().manual_seed(0))
    for size in (1.0, 3.0):
        truth_ = batch.image(size * residual)
        loss = RectifiedFlow(at_start=1.0).loss(
            net, batch, truth_, torch.Generator().manual_seed(0)
        )
        assert float(loss.detach()) == pytest.approx(math.log(1 + module.LEAST), abs=1e-4)
    later = RectifiedFlow(at_start=0.0).loss(
        net, batch, batch.image(residual), torch.Generator().manual_seed(0)
    )
    assert 0.6 < float(later.detach()) < 1.0


def test_a_decibel_counts_alike_at_the_start_where_the_estimate_is_good_and_where_it_is_poor() -> (
    None
):
    batch, generator = many(64), torch.Generator().manual_seed(0)
    residual = torch.randn(64, 1, 16, 20, generator=generator)
    losses = [
        float(
            RectifiedFlow(at_start=1.0).loss(
                Exact(0.5 * size, 0.0), batch, batch.image(size * (residual + 0.5)), generator
            )
        )
        for size in (0.1, 1.0)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    exact = RectifiedFlow(at_start=1.0).loss(
        Exact(0.5, 0.0), batch, batch.image(torch.full_like(residual, 0.5)), generator
    )
    assert float(exact) == pytest.approx(math.log(module.LEAST), abs=1e-3)


def test_draws_of_a_gaussian_have_its_mean_and_deviation_in_units_of_the_level(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "COARSE_SHARE", {True: 0.0, False: 0.0})
    batch = given()
    drawn = RectifiedFlow().draw(Exact(0.7, 0.6), batch, noise(60), 100)
    residual = (drawn - batch.initial[:, None]) / batch.level[:, None]
    for row in residual:
        assert float(row.mean()) == pytest.approx(0.7, abs=0.02)
        assert float(row.std()) == pytest.approx(0.6, rel=0.03)
    torch.testing.assert_close(
        RectifiedFlow().mean(Exact(0.7, 0.6), batch), batch.image(torch.full_like(truth(), 0.7))
    )


def test_noise_of_missing_contrasts_is_coarser_and_both_kinds_have_unit_variance() -> None:
    batch = given().repeat(200)
    found = start(batch, torch.randn(400, 1, 16, 20, generator=torch.Generator().manual_seed(0)))
    assert not torch.equal(batch.measured[:200], batch.measured[200:])
    missing, degraded = found[:200], found[200:]
    for part in (missing, degraded):
        assert float(part.var()) == pytest.approx(1, rel=0.2)
    steps = [float(part.diff(dim=-1).square().mean()) for part in (missing, degraded)]
    assert steps[0] < 0.6 * steps[1] < 2


class Told(nn.Module):
    """An untrained mean beside which the log of one spread stands everywhere."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.spread = nn.Parameter(torch.tensor(math.log(spread)))

    def forward(self, linear: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        return torch.cat([torch.zeros_like(linear), self.spread.expand_as(linear)], 1)


def test_the_spread_that_is_told_is_taught_to_be_that_of_the_error_of_the_mean() -> None:
    batch, family = many(64), RectifiedFlow(at_start=1.0)
    residual = 2.0 * torch.randn(64, 1, 16, 20, generator=torch.Generator().manual_seed(0))
    losses = {}
    for spread in (1.0, 2.0, 4.0):
        net = Told(spread)
        loss = family.loss(net, batch, batch.image(residual), torch.Generator().manual_seed(0))
        loss.backward()
        losses[spread] = (float(loss.detach()), float(net.spread.grad))  # type: ignore[arg-type]
    assert losses[2.0][0] < min(losses[1.0][0], losses[4.0][0])
    assert losses[1.0][1] < -0.2
    assert abs(losses[2.0][1]) < 0.01
    mean, told = family.mean_and_spread(Told(2.0), batch)
    torch.testing.assert_close(mean, batch.initial)
    assert told is not None
    torch.testing.assert_close(told, (2.0 * batch.level).expand_as(told))


def test_a_network_that_tells_no_spread_has_none() -> None:
    assert RectifiedFlow().mean_and_spread(network("rectified-flow"), given())[1] is None
