"""Laws of the bridge between contrasts: it starts from the measured channels, keeps them, and its draws follow the seed."""

from __future__ import annotations

from pathlib import Path

import torch

import known_slices
from veridical.models.bridge import Bridge, start


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


def test_the_loss_of_an_untrained_net_at_the_start_is_the_relative_size_of_the_residual() -> None:
    known, truth = known_slices.known_slices(batch=64)
    net = Bridge.build(known_slices.SETTINGS)
    net.keep.bias.data.fill_(-30.0)
    loss = float(Bridge.lesson_loss(net, known, truth, torch.Generator().manual_seed(0)).detach())
    size = ((truth - known.anchor)[:, 1] / 0.2).square().mean((1, 2))
    at_zero = torch.rand(2, 64, generator=torch.Generator().manual_seed(0))
    time = torch.where(at_zero[0] < 0.25, torch.zeros(64), at_zero[1])
    expected = float((size / size.clamp(0.1, 4.0) / ((1 - time).square() + 0.05)).mean())
    assert abs(loss - expected) < 1e-3 * expected
