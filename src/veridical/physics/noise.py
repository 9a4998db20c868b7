"""Noise: what measurements add to the ideal numbers, and how strong it is. All randomness comes
from the generator given.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from veridical.errors import GeometryError, InputError, SettingError

MAD = 0.6744897501960817
"""Median absolute deviation of a standard normal variable (Rousseeuw and Croux 1993,
10.1080/01621459.1993.10476408).
"""


def gaussian(clean: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise of standard deviation `sigma` to each real component; complex in,
    complex out.
    """
    _check(sigma, "sigma")
    return clean + sigma * _normal(clean, generator)


def rician(clean: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Return the magnitude of `clean` with complex Gaussian noise (Gudbjartsson and Patz 1995,
    10.1002/mrm.1910340618).

    Args:
        clean: magnitudes, >= 0, any shape.
        sigma: standard deviation per real component, in the units of `clean`.
        generator: source of randomness.
    """
    _check(sigma, "sigma")
    return torch.hypot(clean + sigma * _normal(clean, generator), sigma * _normal(clean, generator))


def poisson(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Return Poisson counts with mean `clean` (counts, >= 0)."""
    if clean.min() < 0:
        raise InputError(
            f"Mean counts of {float(clean.min()):g} were given; a Poisson mean is never below 0."
        )
    return torch.poisson(clean, generator)


def poisson_gaussian(
    clean: Tensor, photons: float, electronic: float, generator: torch.Generator
) -> Tensor:
    """Return line integrals as a low-dose CT scan measures them (La Riviere and Billmire, IEEE TMI
    24, 2005).

    `-log((Poisson(I0 exp(-p)) + Gaussian) / I0)`, counts below 1 taken as 1 (photon starvation).

    Args:
        clean: line integrals p, dimensionless, any shape.
        photons: I0, counts of the unattenuated beam a bin.
        electronic: standard deviation of the electronic noise in counts; 10 or so is usual.
        generator: source of randomness.
    """
    _check(electronic, "electronic")
    if photons <= 0:
        raise SettingError(
            f"photons = {photons}; the unattenuated beam must have counts, e.g. 1e5."
        )
    counts = poisson(photons * torch.exp(-clean), generator) + electronic * _normal(
        clean, generator
    )
    return math.log(photons) - torch.log(counts.clamp_min(1.0))


def inverse_variance(line_integrals: Tensor, photons: float, electronic: float) -> Tensor:
    """Return 1 / variance of low-dose line integrals, to first order: `N^2 / (N + electronic^2)`
    with `N = I0 exp(-p)`.

    Args:
        line_integrals: measured or ideal, dimensionless, any shape.
        photons, electronic: as in `poisson_gaussian`.
    """
    counts = photons * torch.exp(-line_integrals)
    return counts.square() / (counts + electronic**2)


def estimate_sigma(kspace: Tensor, mask: Tensor, bins: int = 12) -> float:
    """Estimate the noise of k-space from where there is least signal.

    The standard deviation of each coil is taken robustly (MAD) in rings of equally many sampled
    points; the ring counts whose root mean square over coils is least. Signal left in the outermost
    samples makes it too large; data that the scanner filtered make it too small.

    Args: kspace: `(..., ky, kx)` complex, centred; leading axes (slices, coils) are estimated one
        by one. mask: `(ky, kx)`, non-zero where sampled. Zeros that were filled in must not be
        marked: they would pass for noise-free data. bins: rings at most; fewer where samples are
        few, since the least of many poor estimates is too small.

    Returns:
        Standard deviation per real component, in the units of `kspace`.

    Raises:
        GeometryError: the mask is not of the matrix.
        InputError: fewer than 64 samples.
    """
    rows, columns = kspace.shape[-2:]
    if mask.shape != (rows, columns):
        raise GeometryError(
            f"The mask is {tuple(mask.shape)}, k-space {tuple(kspace.shape)}; expected a mask (ky, "
            "kx)."
        )
    y = (torch.arange(rows, device=kspace.device) - rows // 2) / rows
    x = (torch.arange(columns, device=kspace.device) - columns // 2) / columns
    sampled = mask != 0
    order = torch.argsort(torch.hypot(y[:, None], x)[sampled], stable=True)
    values = kspace.reshape(-1, rows, columns)[:, sampled][:, order]
    if len(order) < 64:
        raise InputError(
            f"{len(order)} sampled points; at least 64 are needed to estimate the noise. Give "
            "sigma instead."
        )
    count = max(1, min(bins, values.numel() // 3000, len(order) // 64))
    rings = torch.chunk(torch.view_as_real(values), count, dim=1)
    return (
        min(float(ring.abs().flatten(1).median(1).values.square().mean().sqrt()) for ring in rings)
        / MAD
    )


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape and type of `like`, per real component where it is
    complex.
    """
    if like.is_complex():
        return torch.complex(_normal(like.real, generator), _normal(like.real, generator))
    return torch.randn(like.shape, dtype=like.dtype, device=like.device, generator=generator)


def _check(level: float, what: str) -> None:
    if not level >= 0:
        raise SettingError(f"{what} = {level}; a standard deviation is never below 0.")
