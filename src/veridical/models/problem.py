"""One measured slice or volume made ready for any model: operator, noise, scale, and the classical
reconstruction.

Models work in network units: see `preprocessing` for MR; of CT, PET and others what is bright is 1.
How these numbers become an image in the units of the data is said here too: the root sum of squares
over the coils for MRI, the value itself for everything real.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from veridical.generative.posterior import LinearProblem
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.linear import LinearOperator, conjugate_gradient
from veridical.physics.noncartesian_mri import NoncartesianMRI
from veridical.physics.sparse import fista
from veridical.physics.weighting import Weighting
from veridical.preprocessing.preprocessing import Preprocessing

CG_ITERATIONS = 4
FISTA_ITERATIONS = 30
THRESHOLD = 0.3
"""Of the wavelet details, in noise standard deviations; tuned on simulated scans."""
LEAST = 0.001
LEVELS = 3


@dataclass(frozen=True, eq=False)
class Problem(LinearProblem):
    """`data = A x + noise` in a model's units; `scale` times them are the units of the measurement.

    Args: scale: what everything was divided by. support: `(z, y, x)` in [0, 1], where there is an
        object. stacked: the domain is `(z, y, x)`: a volume of neighbouring slices. Otherwise the
        last two axes are one slice. isotropic: voxels of a volume are about as long along z as
        across, so that it may be cut along any axis.
    """

    scale: float = 1.0
    support: Tensor | None = None
    stacked: bool = False
    isotropic: bool = False

    def image(self, x: Tensor) -> Tensor:
        """Return `(..., *domain)` as real images `(..., z, y, x)` in the units of the
        measurement.
        """
        seen = self.seen(x)
        magnitude = (
            seen.abs().square().sum(-4).sqrt()
            if self.operator.dtype.is_complex
            else seen[..., 0, :, :, :]
        )
        return self.scale * magnitude

    def part(self, x: Tensor, part: Tensor) -> Tensor:
        """Return what `part` contributes to `image(x)`, `(..., z, y, x)`: parts that sum to `x` sum
        to its image.
        """
        whole, seen = self.seen(x), self.seen(part)
        if not self.operator.dtype.is_complex:
            return self.scale * seen[..., 0, :, :, :]
        size = whole.abs().square().sum(-4).sqrt().clamp_min(1e-12)
        return self.scale * (whole.conj() * seen).real.sum(-4) / size

    def seen(self, x: Tensor) -> Tensor:
        """Return `(..., coil, z, y, x)`: the images that the coils see, one where there are no
        coils.
        """
        if isinstance(self.operator, CartesianMRI | NoncartesianMRI):
            return (self.operator.maps * x[..., :, None, :, :]).sum(-4)[..., None, :, :]
        return x[..., None, :, :, :] if self.stacked else x[..., None, None, :, :]

    def whitened(self) -> LinearOperator:
        """Return A with every sample divided by its share of the noise, so that all have the
        same.
        """
        return (
            self.operator
            if self.weights is None
            else Weighting(self.weights.sqrt()) @ self.operator
        )

    def to(self, device: torch.device) -> Problem:
        """Return the same with its tensors on `device`."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, operator=moved_operator(self.operator, device), **moved)


def moved_operator(operator: LinearOperator, device: torch.device) -> LinearOperator:
    """Return the operator with its tensors on `device`."""
    if isinstance(operator, CartesianMRI):  # it keeps shifted copies
        return CartesianMRI(operator.mask.to(device), operator.maps.to(device))
    return operator.to(device)


def prepare(kspace: Tensor, mask: Tensor, maps: Tensor, sigma: float) -> Problem:
    """Prepare Cartesian k-space: conjugate gradient, then a few FISTA steps on wavelets, and
    everything scaled by the result.

    Args:
        kspace: `(coil, ky, kx)`.
        mask: `(ky, kx)` float.
        maps: `(set, coil, y, x)`.
        sigma: noise standard deviation per real component, in the units of `kspace`.
    """
    operator = CartesianMRI(mask, maps)
    adjoint = operator.adjoint(kspace)
    scale = percentile(root_sum_of_squares(adjoint))
    damping = min(0.3, max(1e-3, (sigma / scale) ** 2 * 10))
    start = conjugate_gradient(operator.normal, adjoint, 3, CG_ITERATIONS, damping)
    scale = percentile(root_sum_of_squares(start))
    threshold = scale * max(THRESHOLD * sigma / scale, LEAST)
    start = fista(operator.normal, adjoint, start, threshold, FISTA_ITERATIONS, LEVELS, seed=0)
    return scaled(operator, kspace, start, sigma, object_of(maps))


def scaled(
    operator: LinearOperator,
    data: Tensor,
    start: Tensor,
    sigma: float,
    support: Tensor | None = None,
) -> Problem:
    """Return the problem of MR data in network units, by the inner tissue of the classical
    reconstruction `(set, y, x)`.
    """
    scale = Preprocessing().unit(root_sum_of_squares(start).numpy())
    return Problem(
        operator, data / scale, sigma / scale, start / scale, scale=scale, support=support
    )


def object_of(maps: Tensor) -> Tensor:
    """Return where coil maps `(set, coil, y, x)` see an object, `(1, y, x)`: the energy of their
    first set.
    """
    return maps[0].abs().square().sum(-3, keepdim=True).clamp_max(1.0)


def percentile(magnitude: Tensor) -> float:
    """Return the 99th percentile, never zero."""
    return max(float(torch.quantile(magnitude.flatten()[::7], 0.99)), 1e-20)


def root_sum_of_squares(images: Tensor) -> Tensor:
    """Return the magnitude over sets or coils: `(..., n, y, x)` to `(..., y, x)`."""
    return images.abs().square().sum(-3).sqrt()
