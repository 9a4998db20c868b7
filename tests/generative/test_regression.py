"""Laws of regression: it takes the median, and its untrained loss is the absolute error of the
estimate and of its gradient.
"""

from __future__ import annotations

import pytest
import torch
from generators import given, network, requests, truth

from veridical.generative.regression import Regression


def test_untrained_it_costs_the_error_of_the_estimate_and_half_that_of_its_gradient() -> None:
    batch, image = given(), truth()
    net, none = network("regression", trained=False), torch.Generator()
    error = batch.residual(image)
    plain = error.abs().mean()
    steps = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    torch.testing.assert_close(Regression(gradient=0.0).loss(net, batch, image, none), plain)
    torch.testing.assert_close(Regression().loss(net, batch, image, none), plain + 0.5 * steps)


def test_where_the_measurement_leaves_a_choice_it_takes_the_median() -> None:
    """The truth is one level above the estimate seven times in ten, and six levels above else."""
    batch, net, made = (
        given(*[requests()[0]] * 10),
        network("regression", trained=False),
        Regression(),
    )
    above = torch.where(torch.arange(10) < 7, 1.0, 6.0).reshape(-1, 1, 1, 1)
    image = batch.image(above.expand(-1, 1, 16, 20))
    optimizer = torch.optim.Adam(net.parameters(), 2e-2)
    for _ in range(120):
        optimizer.zero_grad()
        torch.autograd.backward(made.loss(net, batch, image, torch.Generator()))
        optimizer.step()
    assert float(batch.residual(made.mean(net, batch)).mean()) == pytest.approx(1.0, abs=0.25)
