"""Distillation: a sampler of few steps is taught to land where one of many steps, its teacher, goes from the same noise.

Progressive distillation (Salimans and Ho, ICLR 2022, arXiv 2202.00512) of several students at once, each with a grid of times
that the teacher's refines. The first step of a student is not taught: it goes from the noise towards the mean, which a network
that sees no noise at t = 0 gives. There it leaves the teacher's way, so its second step starts where the first really lands and
goes back to that way; the later ones start on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from veridical.errors import SettingError
from veridical.generative.samplers import Denoise, euler


@dataclass(frozen=True)
class Plan:
    """Who teaches whom.

    Args:
        teacher: steps of the teacher.
        students: steps of the students, each at least 2 and a divisor of the teacher's.
    """

    teacher: int
    students: tuple[int, ...]

    def __post_init__(self) -> None:
        wrong = [steps for steps in self.students if not 2 <= steps <= self.teacher or self.teacher % steps]
        if wrong or not self.students:
            raise SettingError(
                f"A teacher of {self.teacher} steps was asked for with students of {list(self.students)}; expected students of "
                "at least 2 steps whose numbers divide the teacher's, for instance teacher = 16 and students = [2, 4, 8]."
            )

    def draw(self, generator: torch.Generator) -> tuple[int, int]:
        """Draw a student, and one of its steps after the first.

        Returns:
            How many steps of the teacher one of the student spans, and the number of the student's step, from 1.
        """
        steps = self.students[int(torch.randint(len(self.students), (), generator=generator))]
        return self.teacher // steps, int(torch.randint(1, steps, (), generator=generator))


def lesson(denoise: Denoise, start: Tensor, times: Sequence[float], span: int, step: int) -> tuple[Tensor, Tensor]:
    """Return where a student stands before one of its steps, and the clean estimate that lets it land where the teacher goes.

    Args:
        denoise: of the teacher; called about `(step + 1) * span` times.
        start: `(draw, ...)`, noise of unit variance.
        times: of the teacher, growing, from 0 to 1.
        span: steps of the teacher in one of the student.
        step: of the student, from 1.

    Returns:
        State at `times[step * span]` and wanted estimate, both of the shape of `start`.
    """
    begin, end = step * span, (step + 1) * span
    way = euler(denoise, start, times[: begin + 1])
    landing = euler(denoise, way, times[begin : end + 1])
    state = euler(denoise, start, (0.0, times[begin])) if step == 1 else way
    return state, estimate(state, landing, times[begin], times[end])


def estimate(state: Tensor, landing: Tensor, t: float, after: float) -> Tensor:
    """Return the clean estimate with which one Euler step takes `state` at time t to `landing` at a later time."""
    return state + (1 - t) / (after - t) * (landing - state)
