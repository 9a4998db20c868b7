"""A cheap approximate inverse of `A^H W A + damping` where `A^H A` is nearly a convolution, to
speed up conjugate gradient.

Circulant preconditioning with a diagonal for weights that vary over the image: Fessler and Booth
1999, 10.1109/83.766851.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from veridical.physics.linear import LinearOperator

LEAST_GAIN = 1e-3
"""Share of the largest value of the spectrum below which it is taken no smaller, so that the
inverse stays tame.
"""
LEAST_SHARE = 0.05
"""The same for the mean weight of a pixel, as a share of the centre's."""


class Preconditioner:
    """`D^-1 F^-1 1 / (spectrum + damping) F D^-1` on two-dimensional images, zero-padded to twice
    their size.

    Args:
        normal: applies `A^H W A`.
        operator: A, whose domain ends in `(y, x)`.
        weights: W, `(*range)`; None: 1.
        device: where A works.
    """

    def __init__(
        self,
        normal: Callable[[Tensor], Tensor],
        operator: LinearOperator,
        weights: Tensor | None,
        device: torch.device,
    ) -> None:
        self.complex, self.rows, self.columns = operator.dtype.is_complex, *operator.domain[-2:]
        middle = torch.zeros(operator.domain, dtype=operator.dtype, device=device)
        middle[..., self.rows // 2, self.columns // 2] = 1
        spread = normal(middle)
        spread = spread * window(self.rows, device)[:, None] * window(self.columns, device)
        padded = functional.pad(spread, (0, self.columns, 0, self.rows))
        spectrum = torch.fft.fft2(
            padded.roll((-(self.rows // 2), -(self.columns // 2)), (-2, -1))
        ).real
        self.spectrum = spectrum.clamp_min(LEAST_GAIN * float(spectrum.max()))
        self.scale: Tensor | float = (
            1.0 if weights is None else pixel_weights(operator, weights).sqrt()
        )

    def at(self, damping: float) -> Callable[[Tensor], Tensor]:
        """Return the approximate inverse for one damping."""
        gain = 1 / (self.spectrum + damping)

        def apply(residual: Tensor) -> Tensor:
            size = (2 * self.rows, 2 * self.columns)
            found = torch.fft.ifft2(gain * torch.fft.fft2(residual / self.scale, s=size))[
                ..., : self.rows, : self.columns
            ]
            solved: Tensor = (found if self.complex else found.real) / self.scale
            return solved

        return apply


def window(count: int, device: torch.device) -> Tensor:
    """Return a squared cosine that is 1 at `count // 2` and falls to 0 at the ends: it smooths the
    spectrum.
    """
    return torch.cos(
        math.pi * (torch.arange(count, device=device) - count // 2) / (count + 2)
    ).square()


def pixel_weights(operator: LinearOperator, weights: Tensor) -> Tensor:
    """Return the mean weight of the samples that see each pixel, as a share of the centre's."""
    mean = operator.adjoint(weights) / operator.adjoint(torch.ones_like(weights)).clamp_min(1e-6)
    centre = mean[..., mean.shape[-2] // 2, mean.shape[-1] // 2].mean()
    return (mean / centre).clamp(LEAST_SHARE, 1 / LEAST_SHARE)
