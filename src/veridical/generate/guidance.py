"""Guidance: steer a denoiser that never saw the operator, by the covariance its own Jacobian holds.

Tweedie's second-order formula gives the covariance of the clean image given the noisy one from the Jacobian of the
denoiser, `V = Cov(x | x_t) = (1-t)^2 / t . d denoise / d x_t`. With it the posterior mean is
`x_hat + V A^H (A V A^H + sigma^2)^-1 (y - A x_hat)`: exact for a Gaussian prior of any covariance, and the best Gaussian
approximation otherwise. Song et al., Pseudoinverse-guided diffusion models (PiGDM), ICLR 2023; Boys et al., Tweedie moment
projected diffusions, 2023 (arXiv 2310.06721). The cheap isotropic form, `V = r_t^2 I`, is `generate.consistency.consistent`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from veridical.generate.samplers import Denoise
from veridical.physics.linear import LinearOperator


def guide(
    denoise: Denoise, operator: LinearOperator, y: Tensor, sigma: float, iterations: int = 5, earliest: float = 0.02
) -> Denoise:
    """Turn the denoiser of the prior into the denoiser of the posterior `p(x | y)`.

    Args:
        denoise: estimate of the clean `x`, differentiable, each draw on its own.
        operator: A, linear.
        y: `(..., *range)`, zero where not sampled.
        sigma: noise standard deviation per real component, > 0, in the units of `y`.
        iterations: of the solver in data space; each costs one backward pass through the denoiser. Few are best:
            early stopping tames what a network's Jacobian gets wrong.
        earliest: the Jacobian says nothing at t = 0, where `x_t` holds no data; times before this one are moved up to it.

    Returns:
        A denoiser for `samplers.euler` or `samplers.heun`. A call takes one forward pass with its graph, `iterations + 1`
        backward passes, and memory for `2 iterations` arrays of the data's size.
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
            return operator.forward(covariance(operator.adjoint(u))) + sigma**2 * u

        found = estimate.detach()
        residual = y - operator.forward(found)
        solved = minimal_residual(spread, residual, len(operator.range), iterations)
        return found + covariance(operator.adjoint(solved))

    return guided


def minimal_residual(
    apply: Callable[[Tensor], Tensor], b: Tensor, axes: int, iterations: int, tolerance: float = 1e-6
) -> Tensor:
    """Solve `M u = b` for a batch by generalized conjugate residuals (Eisenstat, Elman and Schultz, 1983, 10.1137/0720023).

    The residual never grows, whatever M: the Jacobian of a trained network is neither quite symmetric nor quite positive,
    and there the conjugate gradient diverges; stopped early on a noisy right-hand side, it is far off even where it is both.

    Args:
        apply: M on `(..., *system)`.
        b: right-hand side.
        axes: number of trailing axes that make up one system; those before are solved side by side.
        iterations: at most that many.
        tolerance: stop when every residual norm has fallen below this share of the norm of `b`.

    Returns:
        `u`, of the shape of `b`.
    """
    dims = tuple(range(-axes, 0))

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return (u.conj() * v).real.sum(dims, keepdim=True) if u.is_complex() else (u * v).sum(dims, keepdim=True)

    solution, residual = torch.zeros_like(b), b
    earlier: list[tuple[Tensor, Tensor]] = []
    goal = tolerance**2 * dot(b, b)
    for _ in range(iterations):
        if bool((dot(residual, residual) <= goal).all()):
            break
        direction, mapped = residual, apply(residual)
        for old, old_mapped in earlier:
            overlap = dot(old_mapped, mapped)
            direction, mapped = direction - overlap * old, mapped - overlap * old_mapped
        size = dot(mapped, mapped).sqrt().clamp_min(1e-30)
        direction, mapped = direction / size, mapped / size
        earlier.append((direction, mapped))
        step = dot(mapped, residual)
        solution, residual = solution + step * direction, residual - step * mapped
    return solution
