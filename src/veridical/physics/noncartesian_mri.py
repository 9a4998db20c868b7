"""Non-Cartesian multi-coil MRI: radial, spiral or any other trajectory, by the non-uniform FFT
(extra `[mri]`).

FINUFFT (Barnett, Magland and af Klinteberg 2019, 10.1137/18M120885X) does the transform, planned
once a trajectory. A^H A is a convolution between the maps: two padded FFTs a coil and no NUFFT
(Fessler et al. 2005, 10.1109/TSP.2005.853152).
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from veridical.errors import GeometryError, MissingExtra
from veridical.physics.coils import Coils
from veridical.physics.differentiable import linear_map
from veridical.physics.linear import DAMPING, LinearOperator, conjugate_gradient
from veridical.types import Array, readonly

PRECISION = 1e-6
"""Relative error asked of the transform; single precision leaves 1e-5. One thread: several would
add in changing order.
"""


class NoncartesianMRI(LinearOperator):
    """`y[c, n] = sum over pixels of exp(-2 pi i k_n . r) maps x / sqrt(pixels)`; on grid points
    equal to `CartesianMRI`.

    Args: trajectory: `(sample, 2)`, `(ky, kx)` in cycles per field of view; a matrix of N pixels
        holds `[-N/2, N/2]`. maps: `(set, coil, y, x)` complex coil sensitivities.

    Domain `(set, y, x)`, complex, in the units of the object; range `(coil, sample)`, complex.

    Raises:
        MissingExtra: finufft is not installed.
        GeometryError: shapes do not fit, or samples lie outside the matrix.
    """

    name = "noncartesian-mri"
    dtype = torch.complex64

    def __init__(self, trajectory: Tensor, maps: Tensor) -> None:
        _finufft()
        if (
            trajectory.ndim != 2
            or trajectory.shape[1] != 2
            or maps.ndim != 4
            or not maps.is_complex()
        ):
            raise GeometryError(
                f"noncartesian-mri: trajectory {tuple(trajectory.shape)}, maps {tuple(maps.shape)} "
                f"{maps.dtype}; expected "
                "(sample, 2) and complex (set, coil, y, x). Flatten readouts: "
                "trajectory.reshape(-1, 2)."
            )
        sets, coils, rows, columns = maps.shape
        reach = trajectory.abs().amax(0) / torch.tensor(
            [rows / 2, columns / 2], device=trajectory.device
        )
        _within_matrix(float(reach.max()), rows, columns)
        self.domain, self.range = (sets, rows, columns), (coils, len(trajectory))
        self.trajectory, self.maps = trajectory, maps
        self._kept = _Kept()

    def forward(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        return self._transform((self.maps * x[..., :, None, :, :]).sum(-4))

    def adjoint(self, y: Tensor) -> Tensor:
        self.check(y, self.range, "k-space")
        return (self.maps.conj() * self._grid(y)[..., None, :, :, :]).sum(-3)

    def normal(self, x: Tensor) -> Tensor:
        self.check(x, self.domain, "the image")
        spectrum = self._kept.get(("spectrum", x.device), lambda: self._spectrum(x.device))
        coil_images = (self.maps * x[..., :, None, :, :]).sum(-4)
        flat = coil_images.reshape(-1, *self.domain[-2:])
        at_once = (
            1 if x.device.type == "cpu" else max(1, len(flat))
        )  # one padded image fits a processor's cache
        blurred = torch.cat(
            [self._convolve(part, spectrum) for part in torch.split(flat, at_once)]
        ).reshape(coil_images.shape)
        image: Tensor = (self.maps.conj() * blurred[..., None, :, :, :]).sum(-3)
        return image

    def _convolve(self, images: Tensor, spectrum: Tensor) -> Tensor:
        padded = torch.fft.fft2(images, spectrum.shape) * spectrum
        image: Tensor = torch.fft.ifft2(padded)[..., : self.domain[-2], : self.domain[-1]]
        return image

    @property
    def redundancy(self) -> float:
        """Samples over pixels: coils see the same image."""
        return len(self.trajectory) / (self.domain[-2] * self.domain[-1])

    def classical(self, y: Tensor) -> Tensor:
        """Return gridding with density compensation, refined by five conjugate-gradient steps,
        `(..., set, y, x)` complex.
        """
        weights = self._kept.get(("density", y.device), self.density)
        damping = self._kept.get(
            ("damping", y.device), lambda: DAMPING * self.largest_singular_value() ** 2
        )
        gridded = self.adjoint(y * weights)
        return conjugate_gradient(
            self.normal, self.adjoint(y), len(self.domain), 5, damping, 1e-4, gridded
        )

    def density(self, iterations: int = 5) -> Tensor:
        """Return weights `(sample,)` that make `A^H (w y)` a rough inverse (Pipe and Menon, MRM 41,
        1999).

        The kernel is the squared sinc of the field of view, never negative, so the iteration does
        not run away. 1 for a fully sampled Cartesian grid. Multiply the data by them before the
        adjoint; `pinv` needs none.
        """
        rows, columns = self.domain[-2:]
        device = self.trajectory.device
        doubled = NoncartesianMRI(
            2 * self.trajectory,
            torch.ones(1, 1, 2 * rows, 2 * columns, dtype=self.dtype, device=device),
        )
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
        scale = np.float32(1 / math.sqrt(math.prod(self.domain[-2:])))
        samples = np.empty((len(images), self.range[-1]), np.complex64)
        self._execute(2, images * scale, samples)
        return samples

    def _to_grid(self, samples: Array) -> Array:
        images = np.empty((len(samples), *self.domain[-2:]), np.complex64)
        self._execute(1, samples, images)
        images *= np.float32(1 / math.sqrt(math.prod(self.domain[-2:])))
        return images

    def _execute(self, kind: int, given: Array, result: Array) -> None:
        """Transform one item after another: a plan for one serves every batch, and on one thread a
        batch gains nothing.
        """
        plan = self._kept.get(("plan", kind), lambda: self._plan(kind))
        with self._kept.lock:
            for item, out in zip(given, result, strict=True):
                plan.execute(item, out=out)

    def _plan(self, kind: int) -> Any:
        sign = 1 if kind == 1 else -1
        plan = _finufft().Plan(
            kind, self.domain[-2:], eps=PRECISION, isign=sign, dtype="complex64", nthreads=1
        )
        plan.setpts(*self._points())
        return plan

    def _spectrum(self, device: torch.device) -> Tensor:
        """Transfer function of A^H A between the maps, real, on a grid that holds every shift from
        -(N - 1) to N - 1.
        """
        rows, columns = self.domain[-2:]
        ky, kx = (axis.astype(np.float64) for axis in self._points())
        ones = np.ones(len(ky), np.complex128)
        shifts = _finufft().nufft2d1(
            ky, kx, ones, (2 * rows - 1, 2 * columns - 1), eps=1e-9, isign=1, nthreads=1
        )
        size = [scipy.fft.next_fast_len(2 * n - 1) for n in (rows, columns)]
        kernel = np.zeros(size, np.complex128)
        kernel[np.ix_(np.arange(1 - rows, rows), np.arange(1 - columns, columns))] = shifts / (
            rows * columns
        )
        return torch.from_numpy(scipy.fft.fft2(kernel).real.astype(np.float32)).to(device)

    @classmethod
    def example(cls, seed: int) -> LinearOperator:
        generator = torch.Generator().manual_seed(seed)
        maps = torch.randn(2, 3, 12, 15, dtype=torch.complex64, generator=generator)
        trajectory = (torch.rand(90, 2, generator=generator) - 0.5) * torch.tensor([12.0, 15.0])
        return cls(trajectory, maps)


class _Kept:
    """What is computed once for a trajectory; no part of the operator's description, and never
    copied or stored.
    """

    def __init__(self) -> None:
        self.lock, self.held = threading.RLock(), dict[tuple[Any, ...], Any]()

    def get(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """Return what is held under `key`, made at the first call."""
        with self.lock:
            if key not in self.held:
                self.held[key] = make()
            return self.held[key]

    def __reduce__(self) -> tuple[type[_Kept], tuple[()]]:
        return _Kept, ()


@dataclass(frozen=True, eq=False)
class NoncartesianScan:
    """What a raw-data file knows of its operator: where samples were taken. Coil maps that it has
    not are found later.

    Args: trajectory: `(slice, sample, 2)`, `(ky, kx)` in cycles per field of view; kept as
        read-only float32. matrix: `(rows, columns)` of the image; N pixels hold `[-N/2, N/2]`
        cycles per field of view. coils: what is known of the receiver coils; no calibration scan.

    Raises: GeometryError: the shapes do not fit, a coordinate is not finite, or samples lie outside
        the matrix.
    """

    trajectory: Array
    matrix: tuple[int, int]
    coils: Coils = field(default_factory=Coils)
    name: str = "noncartesian-mri"

    def __post_init__(self) -> None:
        given = np.asarray(self.trajectory)
        if (
            given.ndim != 3
            or given.shape[2] != 2
            or not given.size
            or given.dtype.kind not in "fiu"
        ):
            raise GeometryError(
                f"noncartesian-mri: a trajectory {given.shape} of {given.dtype}; expected real "
                "(slice, sample, 2), (ky, kx) in "
                "cycles per field of view. For one slice of readouts: trajectory.reshape(1, -1, 2)."
            )
        if len(self.matrix) != 2 or min(self.matrix) < 1:
            raise GeometryError(
                f"noncartesian-mri: matrix {self.matrix}; expected two positive numbers (rows, "
                "columns)."
            )
        points = np.ascontiguousarray(given, dtype=np.float32)
        if not np.isfinite(points).all():
            raise GeometryError(
                "noncartesian-mri: the trajectory holds NaN or infinities; expected finite "
                "coordinates. Mend it."
            )
        matrix = int(self.matrix[0]), int(self.matrix[1])
        _within_matrix(float((np.abs(points).max((0, 1)) / (np.array(matrix) / 2)).max()), *matrix)
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "trajectory", readonly(points))

    def describe(self) -> dict[str, Any]:
        """Return the matrix, the numbers of slices and of samples a slice, and hashes of the
        trajectory and the coils.
        """
        content = hashlib.sha256(self.trajectory.tobytes()).hexdigest()[:16]
        slices, samples, _ = self.trajectory.shape
        return {
            "operator": self.name,
            "matrix": list(self.matrix),
            "slices": slices,
            "samples": samples,
            "trajectory": content,
            **self.coils.describe(),
        }


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


def _within_matrix(reach: float, rows: int, columns: int) -> None:
    if reach > 1 + 1e-4:
        raise GeometryError(
            f"noncartesian-mri: samples reach {reach:.2f} times the edge of k-space of a {rows} x "
            f"{columns} matrix. "
            "The trajectory is in cycles per field of view, (ky, kx); use a larger matrix or scale "
            "it."
        )


def _hat(size: int) -> Tensor:
    """The overlap of a field of view with itself: 1 in the centre of a doubled field of view, 0 at
    its edge.
    """
    return 1 - (torch.arange(2 * size) - size).abs() / size


def _finufft() -> ModuleType:
    try:
        return import_module("finufft")
    except ModuleNotFoundError:
        raise MissingExtra(
            "Non-Cartesian MRI needs finufft, which is not installed. Install the extra: pip "
            "install 'veridical[mri]'."
        ) from None
