"""A denoiser around any backbone: what goes in, in which units the answer comes out, and the
training objective.

The backbone predicts the noise in units of its own standard deviation, so that one network serves
all noise levels (Karras et al., Elucidating the design space of diffusion models, NeurIPS 2022,
arXiv 2206.00364, section 5). It is told the noise level twice: as a map beside the image, which may
vary over it, and as a number for the whole.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veridical.errors import GeometryError

LEAST, MOST = 0.003, 0.6
"""Noise levels trained on, as a share of the 99th percentile of the image."""
CEILING = 0.001
"""Limits the weight of patches that are nearly empty."""


class Preconditioned(nn.Module):
    """`D(x + sigma n, sigma) -> x` for complex slices, real ones, and slices between their
    neighbours.

    Args: backbone: maps `(batch, 3 + 4 reach, y, x)` and a condition `(batch, 1)` to `(batch, 2, y,
        x)`. reach: neighbouring slices on each side that it can be shown.
    """

    def __init__(self, backbone: nn.Module, reach: int) -> None:
        super().__init__()
        self.backbone, self.reach = backbone, reach

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Return the clean middle slice.

        Args: noisy: `(batch, slice, 2, y, x)`, real and imaginary part, 99th percentile of the
            clean magnitude about 1; `1` or `2 reach + 1` slices, the middle one to be cleaned.
            Slices that do not exist are zero. The imaginary part of real images is zero. sigma:
            `(batch, 1, y, x)`, standard deviation of the noise of each real component, the same in
            all slices.

        Returns:
            `(batch, 2, y, x)`.

        Raises:
            GeometryError: another number of slices.
        """
        slices = noisy.shape[1]
        if slices not in (1, 2 * self.reach + 1):
            raise GeometryError(
                f"{slices} slices were given; this denoiser takes 1 or {2 * self.reach + 1}."
            )
        middle = noisy[:, slices // 2]
        sigma = sigma.clamp(LEAST, MOST)
        if slices > 1:
            around = torch.cat([noisy[:, : self.reach], noisy[:, self.reach + 1 :]], 1).flatten(
                1, 2
            )
        else:
            around = middle.new_zeros(len(middle), 4 * self.reach, *middle.shape[-2:])
        condition = sigma.mean((1, 2, 3)).log()[:, None]
        residual: Tensor = self.backbone(torch.cat([middle, sigma, around], 1), condition)
        return middle + sigma * residual


def denoising_loss(found: Tensor, clean: Tensor, sigma: Tensor, real: Tensor) -> Tensor:
    """Return the mean over patches of the log of the squared error in units of the noise: decibels
    count alike at all levels.

    Args:
        found, clean: `(batch, 2, y, x)`.
        sigma: `(batch, 1, y, x)`.
        real: `(batch,)` bool: the imaginary part is known to be zero and does not count.
    """
    error = ((found - clean) / sigma).square().mean((2, 3))
    each = torch.where(real, error[:, 0], error.mean(1))
    return (each + CEILING).log().mean()
