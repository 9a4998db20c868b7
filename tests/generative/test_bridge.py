"""Laws of the Brownian bridge: pinned ends, steps that have its marginals, exact draws of a
Gaussian.
"""

from __future__ import annotations

import generators
import pytest
import torch
from generators import given, network, requests
from torch import nn

from veridical.conditioning.condition import Conditioning
from veridical.errors import SettingError
from veridical.generative import bridge, flow

COUNT = 40_000


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_both_ends_are_pinned() -> None:
    start, x = noise(3, 2, 4, seed=1), noise(3, 2, 4, seed=2)
    for t, end in ((0.0, start), (1.0, x)):
        torch.testing.assert_close(
            bridge.interpolate(start, x, torch.full((3,), t, dtype=torch.float64), noise(3, 2, 4)),
            end,
        )


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_two_steps_have_the_marginal_of_the_bridge(sigma: float) -> None:
    start, x = (
        torch.full((COUNT,), -1.0, dtype=torch.float64),
        torch.full((COUNT,), 3.0, dtype=torch.float64),
    )
    half = bridge.advance(start, x, 0.0, 0.3, noise(COUNT, seed=1), sigma)
    late = bridge.advance(half, x, 0.3, 0.8, noise(COUNT, seed=2), sigma)
    direct = bridge.interpolate(
        start, x, torch.full((COUNT,), 0.8, dtype=torch.float64), noise(COUNT, seed=3), sigma
    )
    assert float(late.mean()) == pytest.approx(-1 + 0.8 * 4, abs=0.02 * sigma)
    assert float(late.std()) == pytest.approx(sigma * (0.8 * 0.2) ** 0.5, rel=0.02)
    assert float(late.std()) == pytest.approx(float(direct.std()), rel=0.03)


def test_draws_of_a_gaussian_have_its_mean_and_deviation() -> None:
    mean, deviation, begin = 0.7, 0.6, -0.4
    start = torch.full((10_000,), begin, dtype=torch.float64)

    def exact(x_t: torch.Tensor, t: float) -> torch.Tensor:
        gain = t * deviation**2 / (t**2 * deviation**2 + t * (1 - t)) if t > 0 else 0.0
        return mean + gain * (x_t - (1 - t) * begin - t * mean)

    drawn = bridge.walk(exact, start, flow.times(400), noise(399, 10_000))
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.02)
    assert float(drawn.std()) == pytest.approx(deviation, rel=0.03)


def test_a_walk_ends_on_its_last_estimate() -> None:
    found = bridge.walk(
        lambda x, t: torch.full_like(x, t), torch.zeros(4), (0.0, 0.4, 1.0), torch.ones(1, 4)
    )
    torch.testing.assert_close(found, torch.full((4,), 0.4))


@pytest.mark.parametrize(("t", "after"), [(0.5, 0.5), (0.6, 0.5), (0.9, 1.1), (-0.1, 0.5)])
def test_times_that_do_not_grow_inside_the_bridge_are_refused(t: float, after: float) -> None:
    with pytest.raises(SettingError, match="growing times"):
        bridge.advance(torch.zeros(1), torch.zeros(1), t, after, torch.zeros(1))


class Exact(nn.Module):
    """The network of a residual that is white with a mean and a deviation."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(
        self, seen: torch.Tensor, time: torch.Tensor, conditioning: Conditioning
    ) -> torch.Tensor:
        t = time.reshape(-1, 1, 1, 1)
        state = seen * (t + (t * (1 - t)).sqrt()).clamp_min(1e-6)
        gain = self.deviation**2 / (t * self.deviation**2 + 1 - t)
        return self.mean + gain * (state - t * self.mean) * (t > 0) - t * seen


def test_draws_of_the_family_have_mean_and_deviation_of_a_gaussian_in_units_of_the_level() -> None:
    batch = given()
    drawn = bridge.Bridge().draw(Exact(0.7, 0.6), batch, generators.noise(60), 100)
    for row in (drawn - batch.initial[:, None]) / batch.level[:, None]:
        assert float(row.mean()) == pytest.approx(0.7, abs=0.02)
        assert float(row.std()) == pytest.approx(0.6, rel=0.04)


def test_slices_that_share_their_noise_share_it_at_every_step() -> None:
    """So that slices of a volume fit each other, however many of them are drawn at once."""
    one = given(*[requests()[0]] * 2)
    shared = generators.noise(2)[:1].expand(2, -1, -1, -1, -1)
    drawn = bridge.Bridge().draw(network("bridge"), one, shared, 6)
    torch.testing.assert_close(drawn[0], drawn[1])
