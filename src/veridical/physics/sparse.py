"""Sparse recovery: FISTA with a cycle-spun orthonormal Haar transform.

Beck and Teboulle 2009 (FISTA, 10.1137/080716542), Lustig et al. 2007 (10.1002/mrm.21391),
Figueiredo and Nowak 2003 (cycle spinning by one shift per iteration, 10.1109/TIP.2003.814255).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def fista(
    normal: Callable[[Tensor], Tensor],
    adjoint: Tensor,
    start: Tensor,
    threshold: float,
    iterations: int,
    levels: int,
    seed: int,
) -> Tensor:
    """Return an approximate minimizer of `1/2 ||A x - y||^2 + threshold ||Haar details of x||_1`.

    Args:
        normal: applies A^H A, of norm at most 1.
        adjoint: `A^H y`, `(..., y, x)`.
        start: first guess, same shape.
        threshold: in the units of the image.
        iterations: how many.
        levels: of the transform.
        seed: of the shifts.
    """
    rng = np.random.default_rng(seed)
    image = ahead = start
    momentum = 1.0
    for _ in range(iterations):
        descended = ahead - (normal(ahead) - adjoint)
        renewed = shrink(
            descended,
            threshold,
            levels,
            (int(rng.integers(2**levels)), int(rng.integers(2**levels))),
        )
        following = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
        ahead = renewed + (momentum - 1) / following * (renewed - image)
        image, momentum = renewed, following
    return image


def shrink(image: Tensor, threshold: float, levels: int, shift: tuple[int, int]) -> Tensor:
    """Soft-threshold the Haar details of an image `(..., y, x)`, shifted so that the grid of blocks
    varies.
    """
    multiple = 2**levels
    rows, columns = image.shape[-2:]
    moved = torch.roll(image, shift, (-2, -1))
    moved = _pad(moved, -rows % multiple, -columns % multiple)
    thresholded = _haar(moved, threshold, levels)[..., :rows, :columns]
    return torch.roll(thresholded, (-shift[0], -shift[1]), (-2, -1))


def _haar(image: Tensor, threshold: float, levels: int) -> Tensor:
    """One level: orthonormal sums and differences of 2x2 blocks, details thresholded, the sum
    treated again.
    """
    a, b = image[..., 0::2, 0::2], image[..., 0::2, 1::2]
    c, d = image[..., 1::2, 0::2], image[..., 1::2, 1::2]
    total, across = 0.5 * (a + b + c + d), _soft(0.5 * (a - b + c - d), threshold)
    down, cross = _soft(0.5 * (a + b - c - d), threshold), _soft(0.5 * (a - b - c + d), threshold)
    if levels > 1:
        total = _haar(total, threshold, levels - 1)
    out = torch.empty_like(image)
    out[..., 0::2, 0::2] = 0.5 * (total + across + down + cross)
    out[..., 0::2, 1::2] = 0.5 * (total - across + down - cross)
    out[..., 1::2, 0::2] = 0.5 * (total + across - down - cross)
    out[..., 1::2, 1::2] = 0.5 * (total - across - down + cross)
    return out


def _soft(values: Tensor, threshold: float) -> Tensor:
    size = values.abs()
    return values * ((size - threshold).clamp_min(0) / size.clamp_min(1e-20))


def _pad(image: Tensor, rows: int, columns: int) -> Tensor:
    if rows:
        image = torch.cat(
            [image, image[..., -1:, :].expand(*image.shape[:-2], rows, image.shape[-1])], -2
        )
    if columns:
        image = torch.cat([image, image[..., :, -1:].expand(*image.shape[:-1], columns)], -1)
    return image
