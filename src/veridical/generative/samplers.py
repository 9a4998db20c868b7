"""Samplers: they carry noise to data along the velocity field of a denoiser.

`denoise(x_t, t)` estimates the clean `x`. Both solvers end with one step onto the last estimate,
since the velocity has no value at t = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
