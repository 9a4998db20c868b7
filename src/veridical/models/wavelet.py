"""L1-wavelet compressed sensing: FISTA with a cycle-spun orthonormal Haar transform.

Lustig et al. 2007 (10.1002/mrm.21391), Beck and Teboulle 2009 (FISTA, 10.1137/080716542), Figueiredo and Nowak 2003 (cycle spinning by a
shift per iteration).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from veridical.models.base import MRIModel
from veridical.models.scan import Scan


@dataclass(frozen=True)
class Wavelet(MRIModel):
    """Sparse in Haar wavelets, consistent with the data."""

    name: ClassVar[str] = "wavelet"
    iterations: int = 30
    """FISTA iterations."""
    weight: float = 0.5
    """Threshold in units of the noise standard deviation per real component."""
    least: float = 0.002
    """Smallest threshold, as a share of the image's 99th percentile: aliasing needs one even without noise."""
    levels: int = 3
    """Levels of the transform."""

    def solve(self, scan: Scan, draws: int, seed: int, contrast: str) -> Tensor:
        threshold = max(self.weight * scan.sigma, self.least)
        rng = np.random.default_rng(seed)
        adjoint = scan.operator.adjoint(scan.kspace)
        image = ahead = scan.start
        momentum = 1.0
        for _ in range(self.iterations):
            descended = ahead - (scan.operator.normal(ahead) - adjoint)
            shift = tuple(int(n) for n in rng.integers(0, 2**self.levels, 2))
            renewed = shrink(descended, threshold, self.levels, shift)
            following = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
            ahead = renewed + (momentum - 1) / following * (renewed - image)
            image, momentum = renewed, following
        return image[None]


def shrink(image: Tensor, threshold: float, levels: int, shift: tuple[int, int]) -> Tensor:
    """Soft-threshold the Haar details of an image `(..., y, x)`, shifted so that the grid of blocks varies."""
    multiple = 2**levels
    rows, columns = image.shape[-2:]
    moved = torch.roll(image, shift, (-2, -1))
    moved = _pad(moved, -rows % multiple, -columns % multiple)
    thresholded = _haar(moved, threshold, levels)[..., :rows, :columns]
    return torch.roll(thresholded, (-shift[0], -shift[1]), (-2, -1))


def _haar(image: Tensor, threshold: float, levels: int) -> Tensor:
    """One level: orthonormal sums and differences of 2x2 blocks, details thresholded, the sum treated again."""
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
        image = torch.cat([image, image[..., -1:, :].expand(*image.shape[:-2], rows, image.shape[-1])], -2)
    if columns:
        image = torch.cat([image, image[..., :, -1:].expand(*image.shape[:-1], columns)], -1)
    return image
