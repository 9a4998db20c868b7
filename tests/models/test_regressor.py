"""Laws of the L1 regressor: one answer whatever the seed, what was measured is kept, its loss is the absolute error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import known_slices
from veridical.errors import FormatError
from veridical.models.bridge import Bridge
from veridical.models.known import Known
from veridical.models.regressor import Regressor


def test_it_gives_one_answer_for_every_seed_and_keeps_what_was_measured(tmp_path: Path) -> None:
    model = Regressor(known_slices.saved(Regressor, tmp_path), "cpu")
    known, truth = known_slices.known_slices()
    first, other = model.complete(known, 4, 0), model.complete(known, 4, 1)
    assert first.shape == (2, 1, 3, 16, 16)
    assert torch.equal(first, other)
    assert torch.equal(first[:, 0, [0, 2]], truth[:, [0, 2]])
    assert not torch.allclose(first[:, 0, 1], known.anchor[:, 1])
    assert model.channels == ("T1w", "FLAIR", "T1c")
    assert len(model.weights_hash) == 64


def test_an_untrained_net_costs_the_absolute_error_of_the_anchor_in_levels() -> None:
    known, truth = known_slices.known_slices(measured=(0,), missing=(1, 2))
    net = Regressor.build(known_slices.SETTINGS)
    loss = Regressor.lesson_loss(net, known, truth, torch.Generator())
    expected = ((truth - known.anchor).abs() / known.level[..., None, None])[:, 1:].mean()
    torch.testing.assert_close(loss, expected)


def two_valued(net: torch.nn.Module, known: Known, truth: torch.Tensor) -> float:
    """Train where the missing channel is 0.2 seven times in ten and else 1.2, and return what the net then says."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        torch.autograd.backward(Regressor.lesson_loss(net, known, truth, torch.Generator()))
        optimizer.step()
    return float(Regressor.lesson_guess(net, known)[:, 1].mean())


def test_where_the_measurement_leaves_a_choice_it_takes_the_median() -> None:
    known, truth = known_slices.known_slices(batch=10)
    known.anchor[:, [0, 2]], truth[:, [0, 2]] = 0.5, 0.5
    truth[:, 1] = torch.where(torch.arange(10) < 7, 0.2, 1.2)[:, None, None]
    torch.manual_seed(0)
    assert two_valued(Regressor.build(known_slices.SETTINGS), known, truth) == pytest.approx(0.2, abs=0.04)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    known, _ = known_slices.known_slices()
    with pytest.raises(FormatError, match="weights of bridge; expected weights of regressor"):
        Regressor(known_slices.saved(Bridge, tmp_path), "cpu").complete(known, 1, 0)
