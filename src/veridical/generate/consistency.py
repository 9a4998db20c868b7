"""Data consistency: tie a clean estimate to what was measured, as strongly as the noise allows.

The denoiser's error at time t is taken as isotropic with variance `r_t^2` per real component. The posterior mean under it
is a proximal step of weight `sigma^2 / r_t^2` (DiffPIR, Zhu et al. 2023, arXiv 2305.08995; PiGDM, Song et al., ICLR 2023).
For a white Gaussian prior this is exact; `generate.guidance` is exact for any Gaussian prior, and slower.
"""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.generate.samplers import Correct
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.identity import Identity
from veridical.physics.linear import LinearOperator, conjugate_gradient
from veridical.physics.selection import Selection


def proximal(operator: LinearOperator, y: Tensor, estimate: Tensor, weight: float | Tensor, iterations: int = 10) -> Tensor:
    """Return the minimiser over z of `||A z - y||^2 + weight ||z - estimate||^2`.

    Closed form where `A A^H` is the identity on the data: `Identity`, `Selection`, and single-coil `CartesianMRI` with a map
    of modulus 1; conjugate gradient from `estimate` otherwise.

    Args:
        operator: A.
        y: `(..., *range)`, zero where not sampled; broadcasts against the draws.
        estimate: `(..., *domain)`.
        weight: noise variance over the variance of the estimate's error, >= 0; 0 gives the projection onto `A z = y`. A
            tensor must broadcast against `estimate`, and be one number for each system.
        iterations: at most that many.

    Returns:
        `(..., *domain)`.
    """
    residual = operator.adjoint(y - operator.forward(estimate))
    if _coisometric(operator):
        return estimate + residual / (1 + weight)
    return estimate + conjugate_gradient(operator.normal, residual, len(operator.domain), iterations, weight)


def error_variance(t: float, prior_variance: float) -> float:
    """Return `r_t^2 = v (1-t)^2 / ((1-t)^2 + v t^2)`, the variance of `x` given `x_t` for a prior of variance `v`.

    Both per real component; exact for a white Gaussian prior. It is `v` at t = 0 and 0 at t = 1.
    """
    noise = (1 - t) ** 2
    return prior_variance * noise / (noise + prior_variance * t**2)


def consistent(operator: LinearOperator, y: Tensor, sigma: float, prior_variance: float, iterations: int = 10) -> Correct:
    """Return the data-consistency hook of a sampler: a proximal step of weight `sigma^2 / r_t^2` on each estimate.

    Args:
        operator: A.
        y: `(..., *range)`.
        sigma: noise standard deviation per real component, in the units of `y`; 0 projects onto the data.
        prior_variance: of `x`, per real component.
        iterations: of the conjugate gradient, where there is no closed form.
    """

    def correct(estimate: Tensor, t: float) -> Tensor:
        return proximal(operator, y, estimate, sigma**2 / error_variance(t, prior_variance), iterations)

    return correct


def _coisometric(operator: LinearOperator) -> bool:
    if isinstance(operator, Identity | Selection):
        return True
    if not isinstance(operator, CartesianMRI) or operator.domain[0] != 1 or operator.range[0] != 1:
        return False
    return bool(
        torch.allclose(operator.maps.abs(), torch.ones((), dtype=operator.maps.real.dtype, device=operator.maps.device))
    )
