"""Laws of the samplers: on Gaussian data, whose paths are known, their error falls as their order
says.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from veridical.generative import flow
from veridical.generative.gaussian import Gaussian
from veridical.generative.samplers import SOLVERS, dpm_solver, log_ratio

TURN = torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.float64)
VARIANCES = torch.tensor([0.16, 2.56], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)
PRIOR = Gaussian(MEAN, TURN @ VARIANCES.diag() @ TURN.T)
FIRST, LAST = 0.1, 0.9


def on_the_path(noise: Tensor, t: float) -> Tensor:
    """Where the flow takes Gaussian noise: along each axis it is scaled by the deviation."""
    deviations = ((1 - t) ** 2 + t**2 * VARIANCES).sqrt()
    return t * MEAN + (noise @ TURN * deviations) @ TURN.T


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpm-solver++", 2)])
def test_the_error_on_gaussian_data_falls_by_the_order_of_the_solver(name: str, order: int) -> None:
    noise = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def error(steps: int) -> float:
        times = [FIRST + (LAST - FIRST) * step / steps for step in range(steps + 1)]
        found = SOLVERS[name](PRIOR.denoise, on_the_path(noise, FIRST), times)
        return float((found - on_the_path(noise, LAST)).abs().max())

    slopes = [math.log2(error(steps) / error(2 * steps)) for steps in (16, 32, 64)]
    assert slopes == pytest.approx([order] * 3, abs=0.2)


@pytest.mark.parametrize("name", SOLVERS)
def test_noise_is_carried_to_draws_of_gaussian_data(name: str) -> None:
    noise = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = SOLVERS[name](PRIOR.denoise, noise, flow.times(256))
    torch.testing.assert_close(found, on_the_path(noise, 1.0), atol=0.03, rtol=0)


def test_multistep_steps_need_as_many_passes_as_euler_steps() -> None:
    calls = []

    def denoise(x: Tensor, t: float) -> Tensor:
        calls.append(t)
        return x

    dpm_solver(denoise, torch.zeros(1), flow.times(5))
    assert calls == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_with_an_estimate_that_stays_the_multistep_solver_is_exact() -> None:
    target = torch.arange(6.0)
    found = dpm_solver(lambda x, t: target.expand_as(x), torch.ones(4, 6), flow.times(4))
    torch.testing.assert_close(found, target.expand(4, 6))


def test_the_log_of_signal_over_noise_is_infinite_at_both_ends_and_zero_in_the_middle() -> None:
    assert [log_ratio(t) for t in (0, 0.5, 1)] == [-math.inf, 0, math.inf]
    assert log_ratio(0.9) == pytest.approx(math.log(9))
