"""A Gaussian prior: its denoiser and its posterior in closed form, to hold samplers against."""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.physics.linear import LinearOperator


class Gaussian:
    """`x ~ N(mean, covariance)`; complex `x` is circular, with the covariance given per real
    component.

    Args: mean: `(*domain)`, real or complex. covariance: `(n, n)` Hermitian, positive definite,
        over the flattened domain, of the type of `mean`.
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean, self.covariance = mean, covariance
        self._values, self._vectors = torch.linalg.eigh(covariance)

    def denoise(self, x_t: Tensor, t: float) -> Tensor:
        """Return `E[x | x_t]`, `(draw, *domain)`: the perfect network for this prior."""
        gain = t * self._values / ((1 - t) ** 2 + t**2 * self._values)
        return self.mean + self._apply(gain, x_t - t * self.mean)

    def sample(self, noise: Tensor) -> Tensor:
        """Turn noise of unit variance per real component, `(draw, *domain)`, into draws of the
        prior.
        """
        return self.mean + self._apply(self._values.sqrt(), noise)

    def posterior(self, operator: LinearOperator, y: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """Return mean and variance (per real component) of `x` given `y = A x + noise`.

        Args:
            operator: A; its matrix is built column by column, so keep the grid small.
            y: `(*range)` or `(batch, *range)`.
            sigma: noise standard deviation per real component.

        Returns:
            `(*domain)` or `(batch, *domain)`, and `(*domain)` real.
        """
        size = self.covariance.shape[0]
        unit = torch.eye(size, dtype=self.mean.dtype).reshape(size, *operator.domain)
        matrix = operator.forward(unit).reshape(size, -1).T
        across = self.covariance @ matrix.mH
        noise = sigma**2 * torch.eye(matrix.shape[0], dtype=matrix.dtype)
        gain = torch.linalg.solve(matrix @ across + noise, across, left=False)
        residual = (y - operator.forward(self.mean)).flatten(-len(operator.range))
        mean = self.mean + (residual @ gain.T).unflatten(-1, operator.domain)
        variance = (self.covariance - gain @ across.mH).diagonal().real
        return mean, variance.reshape(operator.domain)

    def _apply(self, values: Tensor, x: Tensor) -> Tensor:
        coefficients = x.flatten(-self.mean.ndim) @ self._vectors.conj()
        flat: Tensor = (coefficients * values) @ self._vectors.T
        return flat.reshape(x.shape)
