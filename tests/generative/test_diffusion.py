"""Laws of diffusion: the published preconditioning and noise levels, exact networks draw exactly,
guidance moves away from what is said without conditions.
"""

from __future__ import annotations

import pytest
import torch
from generators import given, network, noise, requests
from torch import Tensor, nn

from veridical.conditioning.condition import Conditioning
from veridical.errors import SettingError
from veridical.generative.diffusion import Diffusion, levels, preconditioning, without
from veridical.generative.family import Given


class Exact(nn.Module):
    """The network of a residual that is white with a mean and a deviation."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, seen: Tensor, told: Tensor, conditioning: Conditioning) -> Tensor:
        sigma = (4 * told).exp().reshape(-1, 1, 1, 1)
        skip, out, into, _ = preconditioning(sigma)
        state = seen / into
        gain = self.deviation**2 / (self.deviation**2 + sigma.square())
        return (self.mean + gain * (state - self.mean) - skip * state) / out


def many(count: int) -> Given:
    return given(*(requests()[0] for _ in range(count)))


def test_preconditioning_is_table_1_of_the_paper() -> None:
    sigma = torch.tensor([0.5, 1.0, 3.0])
    skip, out, into, told = preconditioning(sigma)
    torch.testing.assert_close(skip, torch.tensor([0.8, 0.5, 0.1]))
    torch.testing.assert_close(out, sigma * into)
    torch.testing.assert_close(into, (1 + sigma.square()).rsqrt())
    torch.testing.assert_close(told, sigma.log() / 4)


def test_noise_levels_are_those_of_the_paper() -> None:
    """Eighteen steps from 80 to 0.002, as for CIFAR-10."""
    found = levels(18, 80.0, 0.002)
    assert found[:5] == pytest.approx([80.0, 57.586, 40.7856, 28.3746, 19.3525], rel=1e-4)
    assert found[-2:] == (pytest.approx(0.002), 0.0)
    assert levels(1, 80.0, 0.002) == (80.0, 0.0)


@pytest.mark.parametrize("level", [0.1, 1.0, 10.0])
def test_what_the_network_sees_and_has_to_say_have_unit_variance(level: float) -> None:
    generator = torch.Generator().manual_seed(0)
    clean, white = torch.randn(2, 100_000, generator=generator)
    skip, out, into, _ = preconditioning(torch.tensor(level))
    state = clean + level * white
    assert float((into * state).var()) == pytest.approx(1, rel=0.02)
    assert float(((clean - skip * state) / out).var()) == pytest.approx(1, rel=0.02)


def test_untrained_its_loss_is_one_at_every_level() -> None:
    batch, net = many(64), network("diffusion", trained=False)
    residual = torch.randn(64, 1, 16, 20, generator=torch.Generator().manual_seed(0))
    for mean in (-3.0, 2.0):
        made = Diffusion(at_start=0.0, noise_mean=mean, noise_spread=0.1)
        loss = made.loss(net, batch, batch.image(residual), torch.Generator().manual_seed(1))
        assert float(loss.detach()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(("solver", "steps"), [("euler", 200), ("heun", 60), ("dpm-solver++", 60)])
def test_draws_of_a_gaussian_have_its_mean_and_deviation_in_units_of_the_level(
    solver: str, steps: int
) -> None:
    batch, made = given(), Diffusion(solver=solver)
    drawn = made.draw(Exact(0.7, 0.6), batch, noise(60), steps)
    for row in (drawn - batch.initial[:, None]) / batch.level[:, None]:
        assert float(row.mean()) == pytest.approx(0.7, abs=0.02)
        assert float(row.std()) == pytest.approx(0.6, rel=0.03)
    found = batch.residual(made.mean(Exact(0.7, 0.6), batch))
    torch.testing.assert_close(found, torch.full_like(found, 0.7), atol=1e-3, rtol=0)


def test_at_the_highest_level_the_state_is_not_seen() -> None:
    net, batch, made = network("diffusion"), given(), Diffusion()
    high = torch.full((2,), made.highest)
    one, other = (made.denoised(net, batch, noise(1, seed=s)[:, 0], high) for s in (0, 1))
    assert torch.equal(one, other)
    lower = [made.denoised(net, batch, noise(1, seed=s)[:, 0], high / 80) for s in (0, 1)]
    assert not torch.allclose(*lower, atol=1e-3)


def test_guidance_goes_on_from_what_is_said_without_conditions_through_what_is_said_with_them() -> (
    None
):
    net, batch, state = network("diffusion"), given(), noise(1)[:, 0]
    level = torch.ones(2)
    blind = without(batch, torch.ones(2, dtype=torch.bool))
    with_, less = (Diffusion().denoised(net, shown, state, level) for shown in (batch, blind))
    assert not torch.allclose(with_, less, atol=1e-3)
    for weight, wanted in ((0.0, less), (1.0, with_), (3.0, less + 3 * (with_ - less))):
        found = Diffusion(guidance=weight).guided(net, batch, state, level)
        torch.testing.assert_close(found, wanted)


def test_of_hidden_slices_nothing_is_known_and_the_others_stay() -> None:
    batch = given()
    hidden = without(batch, torch.tensor([True, False]))
    for name, known in batch.conditioning.known.items():
        assert hidden.conditioning.known[name].tolist() == [0.0, float(known[1])]
    assert hidden.conditioning.values == batch.conditioning.values
    assert torch.equal(hidden.initial, batch.initial)


def test_heun_takes_two_passes_a_step_and_no_more_than_it_is_given() -> None:
    calls = []

    class Counted(Exact):
        def forward(self, seen: Tensor, told: Tensor, conditioning: Conditioning) -> Tensor:
            calls.append(1)
            return super().forward(seen, told, conditioning)

    for solver, passes in (("euler", 6), ("heun", 5), ("dpm-solver++", 6)):
        calls.clear()
        Diffusion(solver=solver).draw(Counted(0.0, 1.0), given(), noise(1), 6)
        assert len(calls) == passes


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"solver": "huen"}, "'heun'"),
        ({"lowest": 0.0}, "lowest above 0"),
        ({"lowest": 100.0}, "highest above lowest"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], word: str) -> None:
    with pytest.raises(SettingError, match=word):
        Diffusion(**settings)  # type: ignore[arg-type]


def test_no_step_is_refused() -> None:
    with pytest.raises(SettingError, match="at least 1 step"):
        levels(0, 80.0, 0.02)
