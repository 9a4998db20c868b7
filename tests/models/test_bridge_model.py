"""Laws of the bridge between contrasts: it starts from the measured channels, keeps them, and its draws follow the seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import known_slices
from veridical.generative import bridge
from veridical.models.bridge import Bridge, estimate, start


def test_it_starts_from_the_mean_of_the_measured_channels_in_standard_units() -> None:
    known, truth = known_slices.known_slices()
    begin = start(Bridge.build(known_slices.SETTINGS), known)
    expected = ((truth[:, 0] - 0.3) / 0.1 + (truth[:, 2] - 0.5) / 0.25) / 2
    torch.testing.assert_close(begin[:, 1], expected)
    assert not begin[:, [0, 2]].any()


def test_where_nothing_was_measured_it_starts_from_the_mean_image() -> None:
    known, _ = known_slices.known_slices(measured=(), missing=(0, 1))
    assert not start(Bridge.build(known_slices.SETTINGS), known).any()


def test_draws_follow_from_the_seed_whatever_their_number_and_keep_what_was_measured(tmp_path: Path) -> None:
    model = Bridge(3, known_slices.saved(Bridge, tmp_path), "cpu")
    known, truth = known_slices.known_slices(batch=1)
    few, many, other = model.complete(known, 2, 5), model.complete(known, 4, 5), model.complete(known, 2, 6)
    torch.testing.assert_close(many[:, :2], few)
    assert not torch.equal(few, other)
    assert not torch.equal(few[:, 0], few[:, 1])
    assert torch.equal(few[:, 0, [0, 2]], truth[:, [0, 2]])


def test_one_step_is_the_estimate_from_the_start(tmp_path: Path) -> None:
    model = Bridge(1, known_slices.saved(Bridge, tmp_path), "cpu")
    known, _ = known_slices.known_slices()
    torch.testing.assert_close(model.complete(known, 1, 0)[:, 0], Bridge.lesson_guess(model.net(), known))


def test_an_untrained_net_is_the_best_linear_denoiser_of_unit_variance() -> None:
    known, _ = known_slices.known_slices(batch=400)
    net, wanted, noise = (
        Bridge.build(known_slices.SETTINGS),
        known_slices.noise(400, 3, 16, 16),
        known_slices.noise(400, 3, 16, 16, seed=1),
    )
    begin = start(net, known)
    for t in (0.0, 0.3, 0.8):
        time = torch.full((400,), t)
        state = bridge.interpolate(begin, wanted, time, noise) * known.drawn
        error = (estimate(net, known, state, begin, time) - wanted)[:, 1]
        assert float(error.detach().square().mean()) == pytest.approx(1 - t, rel=0.05)


def test_the_loss_is_relative_to_the_best_linear_denoiser() -> None:
    known, truth = known_slices.known_slices(batch=64)
    truth[:, 1] = 0.4 + 0.2 * known_slices.noise(64, 16, 16, seed=4)
    loss = Bridge.lesson_loss(Bridge.build(known_slices.SETTINGS), known, truth, torch.Generator().manual_seed(0))
    assert 0.8 < float(loss.detach()) < 1.0


def test_given_noise_is_what_the_draws_start_with(tmp_path: Path) -> None:
    model = Bridge(2, known_slices.saved(Bridge, tmp_path), "cpu")
    known, _ = known_slices.known_slices(batch=1)
    given = known_slices.noise(1, 2, 3, 16, 16)
    first, again = model.complete(known, 2, 5, given), model.complete(known, 2, 6, given)
    assert torch.equal(first, again)
    assert not torch.equal(first, model.complete(known, 2, 5))
