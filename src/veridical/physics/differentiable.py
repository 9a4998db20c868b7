"""Linear maps computed outside torch, made differentiable: the gradient of A is A^H."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from veridical.types import Array

Kernel = Callable[[Array], Array]
"""A map of numpy arrays `(batch, ...)` to `(batch, ...)`, linear, single precision."""


class _LinearMap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: Kernel, adjoint: Kernel) -> Tensor:
        ctx.kernels = forward, adjoint
        single = torch.complex64 if x.is_complex() else torch.float32
        result = forward(x.detach().to("cpu", single).contiguous().numpy())
        return torch.from_numpy(result).to(x.device, x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        forward, adjoint = ctx.kernels
        return _LinearMap.apply(gradients[0], adjoint, forward), None, None  # type: ignore[no-untyped-call]


def linear_map(x: Tensor, axes: int, forward: Kernel, adjoint: Kernel) -> Tensor:
    """Apply `forward` to a batch; gradients of any order flow through `adjoint` and `forward`.

    Args: x: `(..., *domain)`, any device and precision; the kernels see single precision on the
        CPU. axes: number of trailing axes of the domain; the others are flattened into one batch
        axis for the kernels. forward, adjoint: maps of `(batch, *domain)` to `(batch, *range)` and
        back.

    Returns:
        `(..., *range)` on the device and in the precision of `x`.
    """
    batch = x.shape[: x.ndim - axes]
    flat = x.reshape(-1, *x.shape[x.ndim - axes :])
    result: Tensor = _LinearMap.apply(flat, forward, adjoint)  # type: ignore[no-untyped-call]
    return result.reshape(*batch, *result.shape[1:])
