"""Guidance: steer a denoiser that never saw the operator, by the covariance its own Jacobian holds.

Tweedie's second-order formula gives the covariance of the clean image given the noisy one from the Jacobian of the
denoiser, `V = Cov(x | x_t) = (1-t)^2 / t . d denoise / d x_t`. With it the posterior mean is
`x_hat + V A^H (A V A^H + sigma^2)^-1 (y - A x_hat)`: exact for a Gaussian prior of any covariance, and the best Gaussian
approximation otherwise. Song et al., Pseudoinverse-guided diffusion models (PiGDM), ICLR 2023; Boys et al., Tweedie moment
projected diffusions, 2023 (arXiv 2310.06721). The cheap isotropic form, `V = r_t^2 I`, is `generate.consistency.consistent`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.generate.samplers import Denoise
from veridical.physics.linear import LinearOperator, conjugate_gradient


def guide(
    denoise: Denoise, operator: LinearOperator, y: Tensor, sigma: float, iterations: int = 10, earliest: float = 0.02
) -> Denoise:
    """Turn the denoiser of the prior into the denoiser of the posterior `p(x | y)`.

    Args:
        denoise: estimate of the clean `x`, differentiable, each draw on its own.
        operator: A, linear.
        y: `(..., *range)`, zero where not sampled.
        sigma: noise standard deviation per real component, > 0, in the units of `y`.
        iterations: of the conjugate gradient in data space; each costs one backward pass through the denoiser.
        earliest: the Jacobian says nothing at t = 0, where `x_t` holds no data; times before this one are moved up to it.

    A variance is never negative: where the Jacobian of a trained network says so along a search direction, it counts as 0.

    Returns:
        A denoiser for `samplers.euler` or `samplers.heun`. Time and memory: one forward pass with its graph, and
        `iterations + 1` backward passes a call.
    """

    def guided(x_t: Tensor, t: float) -> Tensor:
        t = max(t, earliest)
        with torch.enable_grad():
            state = x_t.detach().requires_grad_()
            estimate = denoise(state, t)

        def covariance(u: Tensor) -> Tensor:
            (product,) = torch.autograd.grad(estimate, state, u, retain_graph=True)
            return product * ((1 - t) ** 2 / t)

        def spread(u: Tensor) -> Tensor:
            mapped = operator.forward(covariance(operator.adjoint(u)))
            axes = tuple(range(-len(operator.range), 0))
            along = (u.conj() * mapped).real.sum(axes, keepdim=True) if u.is_complex() else (u * mapped).sum(axes, keepdim=True)
            size = u.abs().square().sum(axes, keepdim=True).clamp_min(1e-30)
            return mapped - (along / size).clamp_max(0) * u

        found = estimate.detach()
        residual = y - operator.forward(found)
        solved = conjugate_gradient(spread, residual, len(operator.range), iterations, sigma**2)
        return found + covariance(operator.adjoint(solved))

    return guided
