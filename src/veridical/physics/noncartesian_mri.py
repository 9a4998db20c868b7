"""Non-Cartesian multi-coil MRI: radial, spiral or any other trajectory, by the non-uniform FFT (extra `[mri]`).

FINUFFT (Barnett, Magland and af Klinteberg 2019, 10.1137/18M120885X) does the transform, to a relative error of 1e-6.
"""

from __future__ import annotations

import math
from importlib import import_module
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from veridical.errors import GeometryError, MissingExtra
from veridical.physics.differentiable import linear_map
from veridical.physics.linear import LinearOperator
from veridical.types import Array

PRECISION = 1e-6
"""Relative error of the transform. It runs on one thread: several would add up in a different order each time."""


class NoncartesianMRI(LinearOperator):
    """`y[c, n] = sum over pixels of exp(-2 pi i k_n . r) maps x / sqrt(pixels)`; on grid points equal to `CartesianMRI`.

    Args:
        trajectory: `(sample, 2)`, `(ky, kx)` in cycles per field of view; a matrix of N pixels holds `[-N/2, N/2]`.
        maps: `(set, coil, y, x)` complex coil sensitivities.

    Domain `(set, y, x)`, complex, in the units of the object; range `(coil, sample)`, complex.

    Raises:
        MissingExtra: finufft is not installed.
        GeometryError: shapes do not fit, or samples lie outside the matrix.
    """

    name = "noncartesian-mri"
    dtype = torch.complex64

    def __init__(self, trajectory: Tensor, maps: Tensor) -> None:
        _finufft()
        if trajectory.ndim != 2 or trajectory.shape[1] != 2 or maps.ndim != 4 or not maps.is_complex():
            raise GeometryError(
                f"noncartesian-mri: trajectory {tuple(trajectory.shape)}, maps {tuple(maps.shape)} {maps.dtype}; expected "
                "(sample, 2) and complex (set, coil, y, x). Flatten readouts: trajectory.reshape(-1, 2)."
            )
        sets, coils, rows, columns = maps.shape
        reach = trajectory.abs().amax(0) / torch.tensor([rows / 2, columns / 2], device=trajectory.device)
        if reach.max() > 1 + 1e-4:
            raise GeometryError(
                f"noncartesian-mri: samples reach {float(reach.max()):.2f} times the edge of k-space of a {rows} x {columns} "
                "matrix. The trajectory is in cycles per field of view, (ky, kx); use a larger matrix or scale it."
            )
        self.domain, self.range = (sets, rows, columns), (coils, len(trajectory))
        self.trajectory, self.maps = trajectory, maps

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        return self._transform((self.maps * x[..., :, None, :, :]).sum(-4))

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "k-space")
        return (self.maps.conj() * self._grid(y)[..., None, :, :, :]).sum(-3)

    def density(self, iterations: int = 5) -> Tensor:
        """Return weights `(sample,)` that make `A^H (w y)` a rough inverse (Pipe and Menon, MRM 41, 1999).

        The kernel is the squared sinc of the field of view, never negative, so the iteration does not run away. 1 for a fully
        sampled Cartesian grid. Multiply the data by them before the adjoint; `pinv` needs none.
        """
        rows, columns = self.domain[-2:]
        device = self.trajectory.device
        doubled = NoncartesianMRI(2 * self.trajectory, torch.ones(1, 1, 2 * rows, 2 * columns, dtype=self.dtype, device=device))
        hat = _hat(rows).to(device)[:, None] * _hat(columns).to(device)
        weights = torch.ones(1, len(self.trajectory), dtype=self.dtype, device=device)
        for _ in range(iterations):
            weights = weights / doubled._transform(4 * hat * doubled._grid(weights)).abs()
        return weights[0].real

    def _transform(self, coil_images: Tensor) -> Tensor:
        """Fourier transform without maps: `(..., y, x)` to `(..., sample)`."""
        return linear_map(coil_images, 2, self._to_samples, self._to_grid)

    def _grid(self, samples: Tensor) -> Tensor:
        """The adjoint of `_transform`."""
        return linear_map(samples, 1, self._to_grid, self._to_samples)

    def _points(self) -> tuple[Array, Array]:
        points = self.trajectory.detach().cpu().double().numpy()
        ky, kx = (2 * np.pi * points / np.array(self.domain[-2:])).astype(np.float32).T
        return np.ascontiguousarray(ky), np.ascontiguousarray(kx)

    def _to_samples(self, images: Array) -> Array:
        scaled = images / np.float32(math.sqrt(images[0].size))
        samples: Array = _finufft().nufft2d2(*self._points(), scaled, eps=PRECISION, isign=-1, nthreads=1)
        return samples.reshape(len(images), -1)

    def _to_grid(self, samples: Array) -> Array:
        shape = self.domain[-2:]
        images: Array = _finufft().nufft2d1(*self._points(), samples, shape, eps=PRECISION, isign=1, nthreads=1)
        return images.reshape(len(samples), *shape) / np.float32(math.sqrt(math.prod(shape)))

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        maps = torch.randn(2, 3, 12, 15, dtype=torch.complex64, generator=generator)
        trajectory = (torch.rand(90, 2, generator=generator) - 0.5) * torch.tensor([12.0, 15.0])
        return cls(trajectory, maps)


def radial(spokes: int, readout: int, extent: float) -> Tensor:
    """Return a golden-angle radial trajectory `(spokes * readout, 2)` through the centre.

    Winkelmann et al. 2007, 10.1109/TMI.2006.885337.

    Args:
        spokes: diameters, each turned by 111.25 degrees from the one before.
        readout: samples a spoke.
        extent: diameter in cycles per field of view: the matrix size for full resolution.
    """
    angle = torch.arange(spokes, dtype=torch.float64) * (math.pi * (math.sqrt(5) - 1) / 2)
    radius = (torch.arange(readout, dtype=torch.float64) - readout // 2) * (extent / readout)
    direction = torch.stack([torch.sin(angle), torch.cos(angle)], -1)
    return (radius[None, :, None] * direction[:, None]).reshape(-1, 2).float()


def _hat(size: int) -> Tensor:
    """The overlap of a field of view with itself: 1 in the centre of a doubled field of view, 0 at its edge."""
    return 1 - (torch.arange(2 * size) - size).abs() / size


def _finufft() -> ModuleType:
    try:
        return import_module("finufft")
    except ModuleNotFoundError:
        raise MissingExtra(
            "Non-Cartesian MRI needs finufft, which is not installed. Install the extra: pip install 'veridical[mri]'."
        ) from None
