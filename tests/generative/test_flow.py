from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from veridical.errors import GeometryError, SettingError
from veridical.generative.flow import (
    interpolate,
    loss,
    standard_noise,
    times,
    training_times,
    velocity,
    velocity_weights,
)
from veridical.generative.samplers import euler, heun


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_noise_has_unit_variance_per_real_component(dtype: torch.dtype) -> None:
    noise = standard_noise((40_000,), dtype, torch.Generator().manual_seed(0))
    parts = torch.view_as_real(noise) if dtype.is_complex else noise[:, None]
    assert torch.allclose(parts.var(0), torch.ones(parts.shape[1]), atol=0.03)


def test_the_path_starts_at_noise_ends_at_data_and_its_slope_is_the_velocity() -> None:
    noise, x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    assert torch.equal(interpolate(noise, x, 0.0), noise)
    assert torch.equal(interpolate(noise, x, 1.0), x)
    assert torch.allclose(velocity(x, interpolate(noise, x, t), t), x - noise)


def test_each_sample_of_a_batch_has_its_own_time() -> None:
    noise, x = torch.zeros(2, 3), torch.ones(2, 3)
    assert torch.equal(
        interpolate(noise, x, torch.tensor([0.25, 0.75])), torch.tensor([[0.25] * 3, [0.75] * 3])
    )


@pytest.mark.parametrize("shift", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_times_grow_from_exactly_zero_to_exactly_one(steps: int, shift: float) -> None:
    grid = times(steps, shift)
    assert len(grid) == steps + 1
    assert (grid[0], grid[-1]) == (0.0, 1.0)
    assert all(a < b for a, b in pairwise(grid))


def test_a_shift_above_one_spends_more_steps_near_the_noise() -> None:
    assert times(4, 3.0)[2] < times(4)[2] == 0.5 < times(4, 0.3)[2]
    assert times(2, 3.0)[1] == pytest.approx(1 - 3 * 0.5 / (1 + 2 * 0.5))


@pytest.mark.parametrize(("steps", "shift"), [(0, 1.0), (4, 0.0), (4, -1.0)])
def test_impossible_grids_are_refused(steps: int, shift: float) -> None:
    with pytest.raises(SettingError, match="at least 1 step"):
        times(steps, shift)


def test_the_asked_share_of_training_is_at_time_zero() -> None:
    t = training_times(20_000, torch.Generator().manual_seed(0), at_zero=0.3)
    share = float((t == 0).float().mean())
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 20_000)
    assert float(t[t > 0].mean()) == pytest.approx(0.5, abs=0.01)
    assert float(t.max()) < 1


def test_velocity_weights_turn_the_loss_on_x_into_the_loss_on_the_velocity() -> None:
    generator = torch.Generator().manual_seed(0)
    noise, x, estimate = (
        torch.randn(4, 6, dtype=torch.complex128, generator=generator) for _ in range(3)
    )
    t = torch.tensor([0.0, 0.2, 0.5, 0.7], dtype=torch.float64)
    x_t = interpolate(noise, x, t)
    on_velocity = loss(velocity(estimate, x_t, t), x - noise)
    assert torch.allclose(loss(estimate, x, velocity_weights(t)), on_velocity)
    assert float(velocity_weights(torch.tensor([0.999]), ceiling=25.0)) == pytest.approx(25.0)


def test_loss_counts_each_sample_by_its_weight_and_complex_numbers_by_component() -> None:
    x = torch.zeros(2, 3, dtype=torch.complex64)
    estimate = torch.stack([torch.full((3,), 1 + 1j), torch.full((3,), 2 + 2j)])
    assert float(loss(estimate, x)) == pytest.approx((1 + 4) / 2)
    assert float(loss(estimate, x, torch.tensor([3.0, 0.0]))) == pytest.approx(3 / 2)


def test_loss_refuses_shapes_that_would_broadcast() -> None:
    with pytest.raises(GeometryError, match="must be the same"):
        loss(torch.zeros(2, 1), torch.zeros(2, 3))


@pytest.mark.parametrize("solver", [euler, heun])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_denoiser_that_knows_the_answer_is_followed_to_it(solver, steps: int) -> None:  # type: ignore[no-untyped-def]
    target = torch.arange(6.0)
    start = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    out = solver(lambda x, t: target.expand_as(x), start, times(steps))
    assert torch.allclose(out, target.expand(4, 6), atol=1e-6)


def test_calls_of_the_denoiser_are_as_promised_and_progress_is_told() -> None:
    calls, told = [], []

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        calls.append(t)
        return x

    euler(
        denoise,
        torch.zeros(1),
        times(4),
        progress=lambda what, done, total: told.append((done, total)),
    )
    assert calls == [0.0, 0.25, 0.5, 0.75]
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    calls.clear()
    heun(denoise, torch.zeros(1), times(4))
    assert len(calls) == 2 * 4 - 1
    assert max(calls) < 1
