"""One slice of an MR measurement made ready for any solver: coil maps, noise level, scale, the classical start."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.linear import conjugate_gradient
from veridical.physics.sparse import fista

CG_ITERATIONS = 4
FISTA_ITERATIONS = 30
THRESHOLD = 0.3
"""Of the wavelet details, in noise standard deviations; tuned on rehearsed scans."""
LEAST = 0.001
LEVELS = 3


@dataclass(frozen=True, eq=False)
class Scan:
    """A slice in the units networks work in: `scale` times these numbers are the units of the data.

    Args:
        operator: mask and maps, with a batch axis of 1 or none.
        kspace: `(..., coil, ky, kx)`, divided by `scale`.
        start: `(..., set, y, x)`, a short L1-wavelet reconstruction; its root sum of squares has a 99th percentile of 1.
        sigma: noise standard deviation per real component, divided by `scale`.
        scale: what everything was divided by.
        support: `(..., 1, y, x)`: energy of the first set of maps; 1 where there is an object, 0 in air.
    """

    operator: CartesianMRI
    kspace: Tensor
    start: Tensor
    sigma: float
    scale: float
    support: Tensor

    def to(self, device: torch.device) -> Scan:
        """Return the same scan with its tensors on `device`."""
        operator = CartesianMRI(self.operator.mask.to(device), self.operator.maps.to(device))
        return replace(
            self,
            operator=operator,
            kspace=self.kspace.to(device),
            start=self.start.to(device),
            support=self.support.to(device),
        )

    @property
    def condition(self) -> tuple[float, float]:
        """Log noise level and log sampled fraction: what a network is told about the measurement."""
        return math.log(max(self.sigma, 1e-4)), math.log(float(self.operator.mask.mean()) + 1e-4)


def prepare(kspace: Tensor, mask: Tensor, maps: Tensor, sigma: float) -> Scan:
    """Compute the classical start, conjugate gradient and then a few FISTA steps, and scale everything by it.

    Args:
        kspace: `(coil, ky, kx)`.
        mask: `(ky, kx)` float.
        maps: `(set, coil, y, x)`.
        sigma: noise standard deviation per real component, in the units of `kspace`.
    """
    operator = CartesianMRI(mask, maps)
    adjoint = operator.adjoint(kspace)
    scale = max(float(torch.quantile(root_sum_of_squares(adjoint).flatten()[::7], 0.99)), 1e-20)
    damping = min(0.3, max(1e-3, (sigma / scale) ** 2 * 10))
    start = conjugate_gradient(operator.normal, adjoint, 3, CG_ITERATIONS, damping)
    scale = max(float(torch.quantile(root_sum_of_squares(start).flatten()[::7], 0.99)), 1e-20)
    threshold = scale * max(THRESHOLD * sigma / scale, LEAST)
    start = fista(operator.normal, adjoint, start, threshold, FISTA_ITERATIONS, LEVELS, seed=0)
    scale = max(float(torch.quantile(root_sum_of_squares(start).flatten()[::7], 0.99)), 1e-20)
    support = maps[..., 0, :, :, :].abs().square().sum(-3, keepdim=True).clamp_max(1.0)
    return Scan(operator, kspace / scale, start / scale, sigma / scale, scale, support)


def root_sum_of_squares(images: Tensor) -> Tensor:
    """Return the magnitude over sets or coils: `(..., n, y, x)` to `(..., y, x)`."""
    return images.abs().square().sum(-3).sqrt()
