"""A trained denoiser as `generative.posterior` calls it: on batches of slices, or on volumes of
slices between neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.generative.preconditioned import Preconditioned

SLICES_AT_ONCE = 16
"""Slices of a volume that are denoised in one pass; more need more memory and are not faster."""


class ImagePrior:
    """Denoise each slice for itself.

    Args:
        net: trained.
    """

    def __init__(self, net: Preconditioned) -> None:
        self.net = net

    def __call__(self, x: Tensor, sigma: float | Tensor, turn: int = 0) -> Tensor:
        """Denoise `(..., y, x)`.

        Args:
            x: noisy; where it is real, real ones come back.
            sigma: standard deviation of the noise of each real component, a number or `(y, x)`.
            turn: number of the call; every other one works on the mirror image.
        """
        flat = parts(x.reshape(-1, 1, *x.shape[-2:]))
        level = torch.as_tensor(sigma, dtype=torch.float32, device=x.device)
        noise = level.expand(len(flat), 1, *x.shape[-2:])
        return joined(denoised(self.net, flat, noise, turn), x).reshape(x.shape)


class VolumePrior:
    """Denoise volumes; each slice between its neighbours.

    Args:
        net: trained.
        isotropic: slices are cut along another axis in every call, so that no axis keeps seams.
    """

    def __init__(self, net: Preconditioned, isotropic: bool) -> None:
        self.net, self.isotropic = net, isotropic

    def __call__(self, x: Tensor, sigma: float | Tensor, turn: int = 0) -> Tensor:
        """Denoise `(..., z, y, x)`.

        Args:
            x: noisy; where it is real, real ones come back.
            sigma: standard deviation of the noise of each real component, a number or `(z, y, x)`.
            turn: number of the call; decides about mirror image and axis.
        """
        flat = x.reshape(-1, *x.shape[-3:])
        level = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(x.shape[-3:])
        return torch.stack([self.one(volume, level, turn) for volume in flat]).reshape(x.shape)

    def one(self, volume: Tensor, sigma: Tensor, turn: int) -> Tensor:
        """Denoise one volume `(z, y, x)` along the axis whose turn it is."""
        axis = turn % 3 if self.isotropic else 0
        moved, level = volume.movedim(axis, 0), sigma.movedim(axis, 0)
        reach, count = self.net.reach, len(moved)
        padded = torch.cat(
            [
                moved.new_zeros(reach, *moved.shape[1:]),
                moved,
                moved.new_zeros(reach, *moved.shape[1:]),
            ]
        )
        out = torch.empty_like(moved)
        for first in range(0, count, SLICES_AT_ONCE):
            last = min(first + SLICES_AT_ONCE, count)
            windows = torch.stack([padded[i : i + 2 * reach + 1] for i in range(first, last)])
            found = denoised(self.net, parts(windows), level[first:last, None], turn)
            out[first:last] = joined(found, volume)
        return out.movedim(0, axis)


def denoised(net: Preconditioned, noisy: Tensor, sigma: Tensor, turn: int) -> Tensor:
    """Run the net on the image, or on its mirror image where the turn is odd; `(batch, 2, y,
    x)`.
    """
    flipped = [-1] if turn % 2 else []
    with torch.inference_mode():
        found: Tensor = net(noisy.flip(flipped), sigma.flip(flipped)).flip(flipped)
    return found.clone()  # an ordinary tensor, which conjugate gradient may use


def parts(x: Tensor) -> Tensor:
    """Return `(batch, slice, 2, y, x)` of `(batch, slice, y, x)`: real and imaginary part, the
    latter zero where it is real.
    """
    return torch.stack([x.real, x.imag] if x.is_complex() else [x, torch.zeros_like(x)], 2)


def joined(found: Tensor, like: Tensor) -> Tensor:
    """Return `(batch, y, x)` of `(batch, 2, y, x)`, complex or real as `like` is."""
    return torch.complex(found[:, 0], found[:, 1]) if like.is_complex() else found[:, 0]
