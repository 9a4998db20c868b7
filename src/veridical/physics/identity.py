"""Identity: the whole image was measured; what remains is noise. The operator of denoising and of
harmonization.
"""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.physics.linear import LinearOperator


class Identity(LinearOperator):
    """`y = x`.

    Args:
        shape: of `x`, any number of axes.
        dtype: of `x`: float32 or complex64.

    Domain and range are `shape`, in the units of the object.
    """

    name = "identity"

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> None:
        self.domain = self.range = tuple(shape)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "the measured image")
        return y

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        return cls((2, 5, 6))
