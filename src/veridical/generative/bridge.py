"""Brownian bridge from a start image to data: its marginals and its exact transitions.

Convention: `x_t = (1 - t) start + t x + sigma sqrt(t (1 - t)) noise`, so that t = 0 is the start, which needs no noise, and
t = 1 is data; the network predicts the clean `x` from `x_t`. Liu et al., I2SB: Image-to-image Schroedinger bridge, ICML 2023
(arXiv 2302.05872); Li et al., BBDM, CVPR 2023 (arXiv 2205.07680).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from veridical.errors import SettingError


def interpolate(start: Tensor, x: Tensor, t: Tensor, noise: Tensor, sigma: float = 1.0) -> Tensor:
    """Return `x_t` at times `(batch,)`; start, x and noise `(batch, ...)`, the noise of unit variance."""
    at = t.reshape(-1, *[1] * (x.ndim - 1))
    found: Tensor = (1 - at) * start + at * x + sigma * (at * (1 - at)).sqrt() * noise
    return found


def advance(x_t: Tensor, estimate: Tensor, t: float, after: float, noise: Tensor, sigma: float = 1.0) -> Tensor:
    """Draw the bridge at a later time, given where it is and where it ends.

    Its mean lies on the line from `x_t` to `estimate`, its variance is `sigma^2 (after - t) (1 - after) / (1 - t)`; both are
    those of the Brownian bridge, so that any number of steps has the marginals of `interpolate` when the estimate is exact.

    Raises:
        SettingError: times that do not grow, or beyond 1.
    """
    if not 0 <= t < after <= 1:
        raise SettingError(f"A bridge was to go from t = {t} to {after}; expected growing times in [0, 1].")
    share = (after - t) / (1 - t)
    deviation = sigma * math.sqrt((after - t) * (1 - after) / (1 - t))
    return x_t + share * (estimate - x_t) + deviation * noise


def walk(
    denoise: Callable[[Tensor, float], Tensor], start: Tensor, times: Sequence[float], noise: Tensor, sigma: float = 1.0
) -> Tensor:
    """Walk from the start images `(draw, ...)` to data; one call of `denoise` a step, the last step is its estimate.

    Args:
        denoise: `(x_t, t)` -> estimate of the clean `x`.
        start: where each draw begins.
        times: growing, from 0 to 1: `flow.times(steps)`.
        noise: `(steps - 1, draw, ...)`, of unit variance; the last step needs none.
        sigma: of the bridge.
    """
    x = start
    for step, (t, after) in enumerate(pairwise(times)):
        x = advance(x, denoise(x, t), t, after, noise[step] if step < len(noise) else torch.zeros_like(x), sigma)
    return x
