"""Laws of the brain prior: seeded draws that do not see each other, channels that keep their role, a training loss."""

from __future__ import annotations

import pytest
import torch

import toys
from veridical.errors import SettingError
from veridical.models.brain_prior import BrainPrior
from veridical.models.known import ABSENT, DEGRADED, MEASURED, Known, ask, nothing
from veridical.nets.joint import JointNet


def model(steps: int = 4) -> BrainPrior:
    return BrainPrior(steps, str(toys.weights("brain-prior")), "cpu")


def blank(channels: int = 6) -> Known:
    """A slice of which only the object's place is known and every channel is asked for."""
    known = nothing(channels, torch.ones(toys.SIZE))
    for channel in range(channels):
        ask(known, channel, 0.4, 0.3)
    return known


def noisy(sigma: float = 0.1) -> tuple[Known, torch.Tensor]:
    """A slice whose first channel was measured with noise, and its truth `(1, channel, y, x)`."""
    known, truth = nothing(6, torch.ones(toys.SIZE)), torch.zeros(1, 6, *toys.SIZE)
    truth[0, 0] = toys.picture().abs()
    noise = sigma * torch.randn(toys.SIZE, generator=torch.Generator().manual_seed(1))
    known.status[0, 0], known.level[0, 0], known.anchor[0, 0] = DEGRADED, sigma, truth[0, 0] + noise
    known.kind[0, 0] = 1
    return known, truth


def test_draws_follow_from_the_seed_alone() -> None:
    first, again, other = (model().complete(noisy()[0], 3, seed) for seed in (5, 5, 6))
    assert first.shape == (1, 3, 6, *toys.SIZE)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0, 0], first[0, 1])


def test_the_number_of_draws_does_not_change_the_first_ones() -> None:
    few, many = (model().complete(noisy()[0], draws, 0) for draws in (2, 5))
    torch.testing.assert_close(many[:, :2], few, atol=1e-5, rtol=0)


def test_draws_spread_less_than_the_prior_alone() -> None:
    posterior, prior = (model().complete(known, 6, 0)[0, :, 0] for known in (noisy()[0], blank()))
    assert float(posterior.std(0).mean()) < 0.5 * float(prior.std(0).mean())


def test_measured_channels_stay_as_they_are_and_absent_ones_stay_empty() -> None:
    known = blank()
    known.status[0, 1], known.status[0, 2] = MEASURED, ABSENT
    known.anchor[0, 1], known.anchor[0, 2] = toys.picture().abs(), 0
    known.level[0, 1] = known.level[0, 2] = 0
    draws = model().complete(known, 2, 0)
    assert draws.shape == (1, 2, 6, *toys.SIZE)
    assert torch.equal(draws[0, :, 1], known.anchor[:, 1].expand(2, -1, -1))
    assert not draws[0, :, 2].any()
    assert not torch.equal(draws[0, 0, 0], draws[0, 1, 0])


def test_one_step_is_the_same_for_every_seed() -> None:
    one, other = (model(1).complete(noisy()[0], 1, seed) for seed in (0, 1))
    assert torch.isfinite(one).all()
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_the_training_loss_follows_its_generator_and_has_a_gradient() -> None:
    net = BrainPrior.build({"channels": toys.CHANNELS, "widths": [4, 6]})
    assert isinstance(net, JointNet)
    known, truth = noisy()

    def loss(seed: int) -> torch.Tensor:
        return BrainPrior.lesson_loss(net, known, truth, torch.Generator().manual_seed(seed))

    values = [float(loss(seed).detach()) for seed in range(12)]
    assert all(value > 0 for value in values)
    assert len(set(values)) > 6, "of those at t = 0, where no noise is seen, all are one"
    assert float(loss(3).detach()) == values[3]
    torch.autograd.backward(loss(0))
    gradients = [p.grad for p in net.net.leave.parameters()]
    assert all(g is not None and torch.isfinite(g).all() and g.any() for g in gradients)


def test_numbers_of_steps_out_of_range_are_refused() -> None:
    for steps in (0, 1001):
        with pytest.raises(SettingError, match="1 to 1000"):
            BrainPrior(steps)


def test_an_unknown_setting_of_the_net_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingError, match="'blocks'"):
        BrainPrior.build({"channels": toys.CHANNELS, "blcks": 2})
