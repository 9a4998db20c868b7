"""Weighting: every number times its own factor. Whitens data whose noise differs from sample to
sample.
"""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.errors import GeometryError
from veridical.physics.linear import LinearOperator


class Weighting(LinearOperator):
    """`y = weights . x`.

    Args:
        weights: real, of the shape of `x`, without units.

    Domain and range are the shape of the weights, in the units of the object.

    Raises:
        GeometryError: the weights are complex.
    """

    name = "weighting"

    def __init__(self, weights: Tensor) -> None:
        if weights.is_complex():
            raise GeometryError(
                f"weighting: weights of type {weights.dtype} were given; expected real ones."
            )
        self.weights = weights
        self.domain = self.range = tuple(weights.shape)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        return self.weights * x

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "the weighted image")
        return self.weights * y

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        return cls(torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(seed)))
