"""Coil sensitivities and noise level from non-Cartesian k-space.

The densely sampled centre of k-space is brought to a Cartesian grid by a density-weighted,
regularized least-squares fit of one small image a coil; ESPIRiT (`physics.coils.espirit`) takes it
from there. The images are fitted on a wider square of k-space than is kept, because a finite field
of view couples each sample to grid points on both sides of it.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from veridical.errors import GeometryError, InputError
from veridical.physics.coils import espirit
from veridical.physics.fourier import centre, fft
from veridical.physics.linear import conjugate_gradient
from veridical.physics.noise import MAD
from veridical.physics.noncartesian_mri import NoncartesianMRI

CALIBRATION = 24
"""Side of the calibration region at most, in grid points: the default of `espirit`."""
SMALLEST = 8
"""Side of the calibration region at least: the kernel of `espirit` plus two."""
MARGIN = 4
"""Grid points fitted beyond each edge of the calibration region and then dropped."""
NEAR = 0.75
"""A grid point counts as sampled when a sample lies this near, in cycles per field of view."""
SHARE = 0.95
"""Share of the grid points of a densely sampled region that must count as sampled; the fit bridges
the others.
"""
STEPS = 12
"""Conjugate-gradient steps of the fit; with the density weights its eigenvalues lie near 1."""
DAMPING = 1e-3
"""Tikhonov weight of the fit, on the same scale."""


def noncartesian_maps(
    kspace: Tensor, trajectory: Tensor, matrix: tuple[int, int], sets: int = 1
) -> Tensor:
    """Estimate coil sensitivities from the densely sampled centre of non-Cartesian k-space.

    Args:
        kspace: `(coil, sample)` complex.
        trajectory: `(sample, 2)`, `(ky, kx)` in cycles per field of view.
        matrix: `(rows, columns)` of the maps.
        sets: number of map sets; two where the object is larger than the field of view.

    Returns: `(set, coil, y, x)` complex64 as `espirit` gives them. Ones for a single coil, whose
        sensitivity cannot be told from the object; further sets of a single coil are zero.

    Raises:
        GeometryError: the shapes do not fit each other.
        InputError: the densely sampled centre is smaller than 8 x 8 grid points.
        MissingExtra: finufft is not installed.
    """
    _check(kspace, trajectory)
    if len(kspace) == 1:
        maps = torch.zeros(sets, 1, *matrix, dtype=torch.complex64, device=kspace.device)
        maps[0] = 1
        return maps
    region = calibration_grid(kspace, trajectory, matrix)
    inside = torch.ones(region.shape[-2:], device=kspace.device)
    return espirit(centre(region, matrix), centre(inside, matrix), sets=sets)


def calibration_grid(kspace: Tensor, trajectory: Tensor, matrix: tuple[int, int]) -> Tensor:
    """Return the centre of k-space on grid points, `(coil, n, n)`, n even, 8 to 24: as large as it
    is densely sampled.

    Arguments and errors as in `noncartesian_maps`. The zero frequency lies at index `n // 2`.
    """
    _check(kspace, trajectory)
    size = _dense(trajectory, min(CALIBRATION, *(2 * (n // 2) for n in matrix)))
    wide = min(size + 2 * MARGIN, *(2 * (n // 2) for n in matrix))
    near = trajectory.abs().amax(1) <= wide / 2
    one_coil = torch.ones(1, 1, wide, wide, dtype=torch.complex64, device=kspace.device)
    operator = NoncartesianMRI(trajectory[near], one_coil)
    weights = operator.density()

    def normal(images: Tensor) -> Tensor:
        return operator.adjoint(weights * operator.forward(images))

    start = operator.adjoint(weights * kspace[:, None, near].to(torch.complex64))
    images = conjugate_gradient(normal, start, 3, STEPS, DAMPING)
    return centre(fft(images[:, 0]), (size, size))


def noncartesian_sigma(kspace: Tensor, trajectory: Tensor, bins: int = 12) -> float:
    """Estimate the noise of non-Cartesian k-space from where there is least signal.

    As `physics.noise.estimate_sigma`: the standard deviation of each coil is taken robustly (MAD)
    in rings of equally many samples; the ring counts whose root mean square over coils is least,
    which is one of those farthest out. Signal left there makes it too large; data that the scanner
    filtered make it too small.

    Args: kspace: `(..., sample)` complex; leading axes (coils) are estimated one by one.
        trajectory: `(sample, 2)`, `(ky, kx)`; in cycles per field of view, or any units of one
        scale an axis. bins: rings at most; fewer where samples are few, since the least of many
        poor estimates is too small.

    Returns:
        Standard deviation per real component, in the units of `kspace`.

    Raises:
        GeometryError: the shapes do not fit each other.
        InputError: fewer than 64 samples.
    """
    _check(kspace, trajectory)
    samples = len(trajectory)
    if samples < 64:
        raise InputError(
            f"{samples} samples; at least 64 are needed to estimate the noise. Give sigma instead."
        )
    radius = (trajectory / trajectory.abs().amax(0).clamp_min(1e-12)).norm(dim=1)
    values = kspace.reshape(-1, samples)[:, torch.argsort(radius, stable=True)]
    count = max(1, min(bins, values.numel() // 3000, samples // 64))
    rings = torch.chunk(torch.view_as_real(values), count, dim=1)
    return (
        min(float(ring.abs().flatten(1).median(1).values.square().mean().sqrt()) for ring in rings)
        / MAD
    )


def _dense(trajectory: Tensor, largest: int) -> int:
    """Return the side of the largest centred square whose grid points nearly all have a sample
    nearby.
    """
    tree = cKDTree(trajectory.detach().cpu().double().numpy())
    for size in range(largest, SMALLEST - 1, -2):
        axis = np.arange(size) - size // 2
        grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
        if np.mean(tree.query(grid)[0] <= NEAR) >= SHARE:
            return size
    raise InputError(
        f"The {len(trajectory)} samples do not cover the central {SMALLEST} x {SMALLEST} grid "
        "points of k-space, each within "
        f"{NEAR} cycles per field of view; coil maps need that. Give the maps, --maps FILE, or "
        "measure the centre more densely."
    )


def _check(kspace: Tensor, trajectory: Tensor) -> None:
    fits = (
        trajectory.ndim == 2
        and trajectory.shape[1] == 2
        and kspace.ndim
        and kspace.shape[-1] == len(trajectory)
    )
    if not fits or not kspace.is_complex():
        raise GeometryError(
            f"k-space {tuple(kspace.shape)} {kspace.dtype} with a trajectory "
            f"{tuple(trajectory.shape)}; expected complex "
            "(coil, sample) and (sample, 2). Flatten readouts: kspace.flatten(1), "
            "trajectory.reshape(-1, 2)."
        )
