"""Rectified flow: the straight path from noise to data, its velocity, its time grid and its
training loss.

Convention throughout: `x_t = (1 - t) noise + t x`, so t = 0 is noise and t = 1 is data; noise has
unit variance per real component (complex data: per real and per imaginary part); the network
predicts the clean `x` ("x-prediction"). Liu, Gong and Liu, Flow Straight and Fast, ICLR 2023 (arXiv
2209.03003); Lipman et al., Flow Matching, ICLR 2023 (arXiv 2210.02747).
"""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.errors import GeometryError, SettingError


def standard_noise(
    shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator
) -> Tensor:
    """Draw noise of unit variance per real component; `torch.randn` alone gives complex numbers
    half of that.

    Returns:
        `shape`, of type `dtype`, on the generator's device.
    """
    noise = torch.randn(shape, dtype=dtype, generator=generator, device=generator.device)
    return noise * 2**0.5 if dtype.is_complex else noise


def interpolate(noise: Tensor, x: Tensor, t: float | Tensor) -> Tensor:
    """Return `x_t = (1 - t) noise + t x`.

    Args:
        noise: `(batch, ...)`, from `standard_noise`.
        x: data of the same shape.
        t: one time for all, or `(batch,)`.
    """
    t = _per_sample(t, x)
    return (1 - t) * noise + t * x


def velocity(estimate: Tensor, x_t: Tensor, t: float | Tensor) -> Tensor:
    """Return dx/dt `= (estimate - x_t) / (1 - t)` from an estimate of the clean `x`; t < 1."""
    return (estimate - x_t) / (1 - _per_sample(t, x_t))


def times(steps: int, shift: float = 1.0) -> tuple[float, ...]:
    """Return `steps + 1` growing times from exactly 0 to exactly 1.

    Args: steps: sampler steps, at least 1. shift: 1 spaces them evenly; s > 1 puts more of them
        near the noise, s < 1 near the data, where the spread of the draws is made. Even noise
        shares `u = 1 - t` become `s u / (1 + (s - 1) u)` (Esser et al., ICML 2024, arXiv
        2403.03206, equation 23).

    Raises:
        SettingError: no step, or a shift that is not positive.
    """
    if steps < 1 or shift <= 0:
        raise SettingError(
            f"{steps} steps with shift {shift} were asked for; at least 1 step and a shift above 0 "
            "are needed."
        )
    even = [step / steps for step in range(steps + 1)]
    return tuple(t / (t + shift * (1 - t)) for t in even)


def training_times(count: int, generator: torch.Generator, at_zero: float = 0.3) -> Tensor:
    """Draw times to train at: a share `at_zero` at exactly t = 0, where a sampler of few steps
    lives, the rest uniform.

    Returns:
        `(count,)` float32 in [0, 1).
    """
    uniform = torch.rand(2, count, generator=generator, device=generator.device)
    return torch.where(uniform[0] < at_zero, torch.zeros_like(uniform[1]), uniform[1])


def loss(estimate: Tensor, x: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the weighted mean over the batch of each sample's mean squared error per real
    component.

    Args:
        estimate: `(batch, ...)`, what the network says `x` is.
        x: the truth.
        weights: `(batch,)`, for instance `velocity_weights(t)`; None weighs all alike.

    Returns:
        A scalar; `sum(weights * error) / batch`, so that a weight means the same in every batch.

    Raises:
        GeometryError: shapes differ.
    """
    if estimate.shape != x.shape:
        raise GeometryError(
            f"The estimate is {tuple(estimate.shape)}, the truth is {tuple(x.shape)}; both must be "
            "the same."
        )
    difference = estimate - x
    parts = torch.view_as_real(difference) if difference.is_complex() else difference
    error = parts.square().flatten(1).mean(1)
    return (error if weights is None else error * weights).mean()


def velocity_weights(t: Tensor, ceiling: float = 25.0) -> Tensor:
    """Return `min(1 / (1 - t)^2, ceiling)`: the weights that turn the loss on `x` into the loss on
    the velocity.
    """
    return (1 - t).square().clamp_min(1 / ceiling).reciprocal()


def _per_sample(t: float | Tensor, like: Tensor) -> float | Tensor:
    return t.reshape(-1, *[1] * (like.ndim - 1)) if isinstance(t, Tensor) and t.ndim else t
