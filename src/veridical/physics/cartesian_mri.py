"""Cartesian multi-coil MRI: sampling mask x Fourier transform x coil sensitivities.

With several sets of maps (soft SENSE; Uecker et al., ESPIRiT, MRM 2014, 10.1002/mrm.24751) the
object has one image a set, which is needed when the object is larger than the field of view and
wraps around.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veridical.errors import GeometryError
from veridical.physics.coils import Coils
from veridical.physics.linear import LinearOperator
from veridical.types import Array, readonly


class CartesianMRI(LinearOperator):
    """`y = mask . F . (sum over sets of maps x image)`.

    Args: mask: `(ky, kx)` or with batch axes `(..., 1, ky, kx)`, real, 1 where sampled. maps:
        `(..., set, coil, y, x)` complex. A single coil without sensitivities: `torch.ones(1, 1, y,
        x)`.

    Domain `(set, y, x)`, complex, in the units of the object; range `(coil, ky, kx)`, complex,
    centred, zero where not sampled. Leading batch axes of `mask` and `maps` must match those of the
    data.
    """

    name = "cartesian-mri"
    dtype = torch.complex64
    fitting_steps = 4

    def __init__(self, mask: Tensor, maps: Tensor) -> None:
        if maps.ndim < 4 or not maps.is_complex():
            raise GeometryError(
                f"Coil maps of shape {tuple(maps.shape)} and type {maps.dtype}; expected complex "
                "(set, coil, y, x). "
                "For one coil without sensitivities pass torch.ones(1, 1, y, x, "
                "dtype=torch.complex64)."
            )
        if mask.shape[-2:] != maps.shape[-2:]:
            raise GeometryError(
                f"The mask is {tuple(mask.shape[-2:])}, the maps are {tuple(maps.shape[-2:])}; "
                "both must be the k-space "
                "matrix (ky, kx)."
            )
        sets, coils, rows, columns = maps.shape[-4:]
        self.domain, self.range = (sets, rows, columns), (coils, rows, columns)
        self.mask, self.maps = mask, maps
        self._mask = torch.fft.ifftshift(mask, (-2, -1)).to(maps.real.dtype)
        self._maps = torch.fft.ifftshift(maps, (-2, -1))
        first = self._mask[..., :1, :], self._mask[..., :, :1]
        # Along an axis that the mask does not depend on, the transform and its inverse cancel.
        self._axes = tuple(
            axis
            for axis, row in zip((-2, -1), first, strict=True)
            if bool((self._mask != row).any())
        ) or (-1,)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        coil_images = self._expand(torch.fft.ifftshift(x, (-2, -1)))
        kspace: Tensor = torch.fft.fftshift(
            torch.fft.fft2(coil_images, norm="ortho") * self._mask, (-2, -1)
        )
        return kspace

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "k-space")
        coil_images = torch.fft.ifft2(torch.fft.ifftshift(y, (-2, -1)) * self._mask, norm="ortho")
        image: Tensor = torch.fft.fftshift(self._combine(coil_images), (-2, -1))
        return image

    def normal(self, x: Tensor) -> Tensor:
        coil_images = self._expand(torch.fft.ifftshift(x, (-2, -1)))
        kspace = torch.fft.fftn(coil_images, dim=self._axes, norm="ortho") * self._mask
        image: Tensor = torch.fft.fftshift(
            self._combine(torch.fft.ifftn(kspace, dim=self._axes, norm="ortho")), (-2, -1)
        )
        return image

    @property
    def redundancy(self) -> float:
        """Share of k-space that was sampled: coils see the same image."""
        return float(self.mask.mean())

    def coil_images(self, x: Tensor) -> Tensor:
        """Return the images the coils see, `(..., coil, y, x)`; their root sum of squares needs no
        choice of maps.
        """
        return torch.sum(self.maps * x[..., :, None, :, :], dim=-4)

    def combine(self, coil_images: Tensor) -> Tensor:
        """Return `sum over coils of conj(maps) x coil image`, `(..., set, y, x)`: the least-squares
        fit for unit-norm maps.
        """
        return torch.sum(self.maps.conj() * coil_images[..., None, :, :, :], dim=-3)

    def _expand(self, x: Tensor) -> Tensor:
        return torch.sum(self._maps * x[..., :, None, :, :], dim=-4)

    def _combine(self, coil_images: Tensor) -> Tensor:
        return torch.sum(self._maps.conj() * coil_images[..., None, :, :, :], dim=-3)

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        maps = torch.randn(2, 3, 12, 15, dtype=torch.complex64, generator=generator)
        mask = (torch.rand(12, 15, generator=generator) < 0.5).float()
        return cls(mask, maps)


@dataclass(frozen=True, eq=False)
class CartesianScan:
    """What a raw-data file knows of its operator: which samples were taken. Coil maps that it has
    not are found later.

    Args:
        mask: `(slice, ky, kx)` bool, True where sampled.
        coils: what is known of the receiver coils.
    """

    mask: Array
    coils: Coils = field(default_factory=Coils)
    name: str = "cartesian-mri"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", readonly(np.asarray(self.mask, dtype=bool)))

    def describe(self) -> dict[str, Any]:
        """Return the matrix, the sampled fraction and hashes of the mask and the coils."""
        content = hashlib.sha256(np.packbits(self.mask).tobytes()).hexdigest()[:16]
        said = {
            "operator": self.name,
            "matrix": list(self.mask.shape),
            "sampled": float(self.mask.mean()),
            "mask": content,
        }
        return said | self.coils.describe()
