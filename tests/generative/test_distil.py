"""Laws of distillation, with the exact denoiser of a Gaussian as teacher: who answers as asked lands where it does."""

from __future__ import annotations

import pytest
import torch

from veridical.errors import SettingError
from veridical.generative.distil import Plan, estimate, lesson
from veridical.generative.flow import times, velocity
from veridical.generative.gaussian import Gaussian
from veridical.generative.samplers import euler

TEACHER, SHIFT = 16, 0.5
GRID = times(TEACHER, SHIFT)


@pytest.fixture(scope="module")
def prior() -> Gaussian:
    """A Gaussian in six dimensions with variances from 0.01 to 9."""
    mixing = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    variances = torch.logspace(-2, 0.95, 6, dtype=torch.float64)
    return Gaussian(torch.linspace(-1, 1, 6, dtype=torch.float64), (mixing * variances) @ mixing.T)


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randn(20, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("steps", [2, 4, 8, 16])
def test_a_sampler_that_answers_as_asked_draws_what_the_teacher_draws(prior: Gaussian, noise: torch.Tensor, steps: int) -> None:
    grid, span = times(steps, SHIFT), TEACHER // steps
    state = euler(prior.denoise, noise, grid[:2])
    for step in range(1, steps):
        asked, wanted = lesson(prior.denoise, noise, GRID, span, step)
        torch.testing.assert_close(asked, state, rtol=0, atol=1e-9)
        state = state + (grid[step + 1] - grid[step]) * velocity(wanted, state, grid[step])
    end = euler(prior.denoise, noise, GRID)
    torch.testing.assert_close(state, end, rtol=0, atol=1e-9)
    untaught = float((euler(prior.denoise, noise, grid) - end).abs().max())
    assert untaught > 0.05 or steps == TEACHER


def test_with_the_steps_of_the_teacher_it_is_asked_for_the_teachers_own_estimate(prior: Gaussian, noise: torch.Tensor) -> None:
    for step in range(1, TEACHER):
        state, wanted = lesson(prior.denoise, noise, GRID, 1, step)
        torch.testing.assert_close(wanted, prior.denoise(state, GRID[step]), rtol=0, atol=1e-8)


def test_the_grids_of_students_lie_on_the_teachers() -> None:
    for steps in (2, 4, 8):
        assert times(steps, SHIFT) == pytest.approx(GRID[:: TEACHER // steps], abs=1e-12)


def test_the_last_answer_is_the_end_itself(prior: Gaussian, noise: torch.Tensor) -> None:
    _, wanted = lesson(prior.denoise, noise, GRID, 4, 3)
    torch.testing.assert_close(wanted, euler(prior.denoise, noise, GRID), rtol=0, atol=1e-12)


def test_an_estimate_carries_a_state_to_its_landing() -> None:
    state, landing = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    carried = state + (0.7 - 0.4) * velocity(estimate(state, landing, 0.4, 0.7), state, 0.4)
    torch.testing.assert_close(carried, landing)


def test_every_step_but_the_first_of_every_student_is_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    found = [Plan(16, (2, 4)).draw(generator) for _ in range(400)]
    assert set(found) == {(8, 1), (4, 1), (4, 2), (4, 3)}
    assert 0.4 < sum(span == 8 for span, _ in found) / 400 < 0.6, "students are drawn alike often"


@pytest.mark.parametrize(("teacher", "students"), [(16, (3,)), (4, (8,)), (16, (1, 2)), (16, ()), (-2, (2,)), (16, (0,))])
def test_students_that_do_not_fit_their_teacher_are_refused(teacher: int, students: tuple[int, ...]) -> None:
    with pytest.raises(SettingError, match=r"students = \[2, 4, 8\]"):
        Plan(teacher, students)
