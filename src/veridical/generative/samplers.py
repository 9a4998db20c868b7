"""Samplers: they carry noise to data along the velocity field of a denoiser.

`denoise(x_t, t)` estimates the clean `x` from `x_t = (1 - t) noise + t x`. Diffusion is the same
path in other units: `x + sigma noise = x_t / t` with `sigma = (1 - t) / t`. All solvers end with
one step onto the last estimate, since the velocity has no value at t = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from torch import Tensor

from veridical.generative.flow import velocity
from veridical.task import Progress, silent

Denoise = Callable[[Tensor, float], Tensor]
"""`(x_t, t)` -> estimate of the clean `x`, of the shape of `x_t`."""


def euler(
    denoise: Denoise, start: Tensor, times: Sequence[float], progress: Progress = silent
) -> Tensor:
    """Follow the flow by Euler steps; one call of `denoise` a step, error falling as 1/steps.

    For this path it equals the deterministic sampler of Song, Meng and Ermon (DDIM, ICLR 2021,
    arXiv 2010.02502).

    Args:
        denoise: estimate of the clean `x`.
        start: `(draw, ...)`, noise of unit variance per real component.
        times: growing, from 0 to 1: `flow.times(steps)`.
        progress: told after every step.

    Returns:
        `(draw, ...)`: one sample for each row of `start`.
    """
    x, steps = start, len(times) - 1
    for step, (t, after) in enumerate(pairwise(times)):
        x = x + (after - t) * velocity(denoise(x, t), x, t)
        progress("sampling", step + 1, steps)
    return x


def heun(
    denoise: Denoise, start: Tensor, times: Sequence[float], progress: Progress = silent
) -> Tensor:
    """Follow the flow by Heun steps; `2 steps - 1` calls of `denoise`, error falling as 1/steps^2.

    Karras et al., NeurIPS 2022 (arXiv 2206.00364), algorithm 1. Arguments and result as for
    `euler`.
    """
    x, steps = start, len(times) - 1
    for step, (t, after) in enumerate(pairwise(times)):
        slope = velocity(denoise(x, t), x, t)
        ahead = x + (after - t) * slope
        if after < 1:
            slope = (slope + velocity(denoise(ahead, after), ahead, after)) / 2
            ahead = x + (after - t) * slope
        x = ahead
        progress("sampling", step + 1, steps)
    return x


def dpm_solver(
    denoise: Denoise, start: Tensor, times: Sequence[float], progress: Progress = silent
) -> Tensor:
    """Follow the flow by multistep steps; one call of `denoise` a step, error falling as 1/steps^2.

    DPM-Solver++(2M): the estimate is continued in a straight line over the log of the
    signal-to-noise ratio, through this step's and the last one's. Lu et al. 2022 (arXiv
    2211.01095), algorithm 2; the first and the last step are Euler's. Arguments and result as for
    `euler`.
    """
    x, steps = start, len(times) - 1
    before, width_before = start, math.inf
    for step, (t, after) in enumerate(pairwise(times)):
        estimate = denoise(x, t)
        width = log_ratio(after) - log_ratio(t)
        ahead = estimate
        if 0 < step < steps - 1:
            ahead = estimate + width / (2 * width_before) * (estimate - before)
        x = x + (after - t) * velocity(ahead, x, t)
        before, width_before = estimate, width
        progress("sampling", step + 1, steps)
    return x


def log_ratio(t: float) -> float:
    """Return the log of signal over noise, `log(t / (1 - t))`, for t in [0, 1]."""
    if t in (0, 1):
        return math.inf if t else -math.inf
    return math.log(t / (1 - t))


SOLVERS: Mapping[str, Callable[[Denoise, Tensor, Sequence[float]], Tensor]] = {
    "euler": euler,
    "heun": heun,
    "dpm-solver++": dpm_solver,
}
"""By the names that settings use."""
