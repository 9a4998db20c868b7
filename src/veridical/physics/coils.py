"""Coil sensitivities by ESPIRiT, prewhitening and coil compression.

ESPIRiT: Uecker et al., Magn Reson Med 2014, 10.1002/mrm.24751. The eigenvalue problem per pixel is
set up from the autocorrelation of the calibration kernels, a trigonometric polynomial of small
degree, so no kernel is ever transformed to the full matrix: a 230x180 slice takes tens of
milliseconds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from veridical.errors import InputError
from veridical.physics.masks import fully_sampled_centre
from veridical.types import Array, readonly


@dataclass(frozen=True, eq=False)
class Coils:
    """What was measured of the receiver coils beside the scan itself; None where nothing was.

    Args: maps: `(slice, set, coil, y, x)` complex sensitivities on the matrix of the scan. Without
        them they are found from the calibration scan, or from the scan itself. calibration:
        `(slice, coil, ky, kx)` complex k-space of a separate calibration scan on the same grid,
        exact zeros where not sampled; all zero for a slice that has none. Of Cartesian scans.
        covariance: `(coil, coil)` complex, `E[n n^H]` of the noise of one sample of the scan.
    """

    maps: Array | None = None
    calibration: Array | None = None
    covariance: Array | None = None

    def __post_init__(self) -> None:
        for part in fields(self):
            if getattr(self, part.name) is not None:
                object.__setattr__(self, part.name, readonly(getattr(self, part.name)))

    def describe(self) -> dict[str, str]:
        """Return a hash of each part that there is."""
        held = {part.name: getattr(self, part.name) for part in fields(self)}
        return {
            f"coil {name}": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
            for name, array in held.items()
            if array is not None
        }


def espirit(
    kspace: Tensor,
    mask: Tensor,
    sets: int = 1,
    kernel: int = 6,
    calibration: int = 24,
    threshold: float = 0.02,
    crop: float = 0.8,
) -> Tensor:
    """Estimate coil sensitivities from the fully sampled centre of k-space.

    Args:
        kspace: `(coil, ky, kx)` complex, centred.
        mask: `(ky, kx)`, which samples were taken.
        sets: number of map sets; two where the object is larger than the field of view.
        kernel: side of the k-space kernel.
        calibration: side of the centre used, at most.
        threshold: singular values below this share of the largest are noise.
        crop: eigenvalues below this mark pixels without signal; maps fall to zero there, softly.

    Returns: `(set, coil, y, x)` complex64 with unit norm over coils where the object is. The phase
        of each set is that of the first principal component of the coils, so images keep a smooth
        phase.

    Raises:
        InputError: the fully sampled centre is smaller than the kernel.
    """
    coils, rows, columns = kspace.shape
    centre = calibration_region(kspace, mask, calibration)
    if min(centre.shape[-2:]) < kernel + 2:
        raise InputError(
            f"The fully sampled centre is {tuple(centre.shape[-2:])}; coil maps need at least "
            f"{kernel + 2} x {kernel + 2} "
            "samples. Give the maps, --maps FILE, or measure more central lines."
        )
    kernels, main = _kernels(centre, kernel, threshold)
    field = _autocorrelation(kernels, (rows, columns))
    coarse = field[:, ::2, ::2].movedim(0, -1).reshape(-1, coils, coils)
    vectors = _dominant(coarse, sets).reshape((rows + 1) // 2, (columns + 1) // 2, coils, sets)
    vectors = vectors.repeat_interleave(2, 0).repeat_interleave(2, 1)[:rows, :columns]
    full = field.movedim(0, -1).reshape(rows, columns, coils, coils)
    vectors = full @ (full @ vectors)
    vectors, values = _orthonormal(full, vectors)
    phase = torch.einsum("c,yxcs->yxs", main.conj(), vectors)
    vectors = vectors * (phase.conj() / phase.abs().clamp_min(1e-12))[..., None, :]
    weight = torch.sigmoid((values - crop) * 40.0)
    return (
        (vectors * weight[..., None, :]).movedim((-1, -2), (0, 1)).to(torch.complex64).contiguous()
    )


def calibration_region(kspace: Tensor, mask: Tensor, size: int = 24) -> Tensor:
    """Return the fully sampled centre of k-space, `(coil, <= size, <= size)`."""
    where = fully_sampled_centre(mask.cpu().numpy() > 0)
    region = kspace[(..., *where)]
    rows, columns = region.shape[-2:]
    top, left = max(0, (rows - size) // 2), max(0, (columns - size) // 2)
    return region[..., top : top + size, left : left + size]


def prewhiten(kspace: Tensor, covariance: Tensor) -> Tensor:
    """Make the noise of all coils uncorrelated and of unit variance per complex sample.

    Args:
        kspace: `(..., coil, ky, kx)`.
        covariance: `(coil, coil)` Hermitian, of a noise-only scan.

    Returns:
        `inverse(cholesky(covariance)) kspace`, same shape.
    """
    factor = torch.linalg.cholesky(covariance.to(torch.complex128)).to(kspace.dtype)
    flat = kspace.movedim(-3, 0).reshape(kspace.shape[-3], -1)
    white: Tensor = torch.linalg.solve_triangular(factor, flat, upper=False)
    return white.reshape(kspace.movedim(-3, 0).shape).movedim(0, -3)


def compress(kspace: Tensor, virtual: int, of: Tensor | None = None) -> Tensor:
    """Compress to `virtual` coils by the principal components of the data (Buehrer et al., MRM
    2007, 10.1002/mrm.21237).

    Args: kspace: `(..., coil, ky, kx)`, or coil maps; returned unchanged when it has no more coils
        than `virtual`. virtual: coils of the result. of: `(coil, ky, kx)`, the data whose
        components these are; `kspace` itself when None.

    Returns:
        `(..., virtual, ky, kx)`, strongest first.
    """
    coils = kspace.shape[-3]
    if coils <= virtual:
        return kspace
    flat = (kspace if of is None else of).reshape(coils, -1)
    _, vectors = torch.linalg.eigh(flat @ flat.conj().T)
    chosen = vectors.flip(-1)[:, :virtual]
    combined: Tensor = chosen.conj().T @ kspace.reshape(*kspace.shape[:-2], -1)
    return combined.reshape(*kspace.shape[:-3], virtual, *kspace.shape[-2:])


def _kernels(centre: Tensor, kernel: int, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the kernels `(k, coil, kernel, kernel)` that span the calibration data, and the first
    coil component.
    """
    coils = centre.shape[0]
    patches = centre.unfold(-2, kernel, 1).unfold(-2, kernel, 1)
    matrix = patches.permute(1, 2, 0, 3, 4).reshape(-1, coils * kernel * kernel)
    gram = matrix.conj().T @ matrix
    values, vectors = torch.linalg.eigh(gram)
    keep = values > threshold**2 * values[-1]
    flat = centre.reshape(coils, -1)
    main = torch.linalg.eigh(flat @ flat.conj().T)[1][:, -1]
    return vectors[:, keep].T.reshape(-1, coils, kernel, kernel), main


def _autocorrelation(kernels: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the Hermitian matrix field `(coil * coil, y, x)` whose eigenvectors of eigenvalue 1
    are the sensitivities.
    """
    _, coils, size, _ = kernels.shape
    small = 2 * size
    spectrum = torch.fft.fft2(kernels, s=(small, small))
    count = kernels.shape[0]
    flat = spectrum.reshape(count, coils, -1)
    field = torch.einsum("kap,kbp->abp", flat.conj(), flat).reshape(coils * coils, small, small)
    coefficients = torch.fft.ifft2(field) / size**2
    down, along = (_waves(length, small, kernels) for length in shape)
    matrices: Tensor = (down @ coefficients) @ along.T
    return matrices


def _waves(length: int, count: int, like: Tensor) -> Tensor:
    """Return `(length, count)`: the Fourier waves of the shifts 0, 1, ... -1 on a centred axis."""
    position = (
        torch.arange(length, device=like.device, dtype=torch.float64) - length // 2
    ) / length
    shift = torch.fft.fftfreq(count, 1 / count, device=like.device, dtype=torch.float64)
    return torch.polar(
        torch.ones((), dtype=torch.float64), -2 * torch.pi * position[:, None] * shift
    ).to(like.dtype)


def _dominant(matrices: Tensor, sets: int) -> Tensor:
    """Return the `sets` strongest eigenvectors of a batch of Hermitian matrices by repeated
    squaring.
    """
    power = matrices
    for _ in range(5):
        power = power @ power
        power = (
            power / power.diagonal(dim1=-2, dim2=-1).real.sum(-1).clamp_min(1e-30)[..., None, None]
        )
    strongest = power.diagonal(dim1=-2, dim2=-1).real.argmax(-1)
    first: Tensor = power.gather(-1, strongest[:, None, None].expand(-1, power.shape[-2], 1))
    first = first / first.norm(dim=-2, keepdim=True).clamp_min(1e-30)
    if sets == 1:
        return first
    rest = matrices - first @ (first.mH @ matrices @ first) @ first.mH
    rest = (
        (rest + rest.mH) / 2
    )  # of coils that see the same, rounding is all that is left: kept Hermitian, no square vanishes  # noqa: E501
    return torch.cat([first, _dominant(rest, sets - 1)], -1)


def _orthonormal(matrices: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Gram-Schmidt on the last axis, then the eigenvalue (Rayleigh quotient) of each vector."""
    columns: list[Tensor] = []
    for index in range(vectors.shape[-1]):
        vector = vectors[..., index]
        for other in columns:
            vector = vector - other * (other.conj() * vector).sum(-1, keepdim=True)
        least = (
            1e-3 if columns else 1e-30
        )  # below it, what is left of a second vector is rounding, and no sensitivity
        columns.append(vector / vector.norm(dim=-1, keepdim=True).clamp_min(least))
    basis = torch.stack(columns, -1)
    values = (basis.conj() * (matrices @ basis)).sum(-2).real
    return basis, values


def noise_covariance(samples: np.ndarray) -> Tensor:
    """Return the `(coil, coil)` covariance of noise-only samples `(coil, n)`, for `prewhiten`."""
    centred = samples - samples.mean(1, keepdims=True)
    return torch.from_numpy(centred @ centred.conj().T / max(1, samples.shape[1] - 1))
