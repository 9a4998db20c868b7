"""From a measurement to the problems that models solve, slice by slice, whatever measured it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from veridical.errors import InputError, SettingError
from veridical.generative.posterior import Fit, standard_normal
from veridical.models.problem import Problem, object_of, prepare, scaled
from veridical.physics.cartesian_mri import CartesianMRI, CartesianScan
from veridical.physics.coils import Coils, calibration_region, compress, espirit, prewhiten
from veridical.physics.linear import LinearOperator
from veridical.physics.noise import estimate_sigma, inverse_variance
from veridical.physics.noncartesian_coils import noncartesian_maps, noncartesian_sigma
from veridical.physics.noncartesian_mri import NoncartesianMRI, NoncartesianScan
from veridical.physics.pet import PET
from veridical.preprocessing.tissue_level import bright_level
from veridical.types import Array, Measurement, Noise

MOST_COILS = 12
"""More coils than that are compressed to this number of virtual ones."""
KERNEL, CROP = 8, 0.9
"""Of ESPIRiT where the object wraps around: a wider kernel and a higher threshold than usual gain
0.1 to 0.8 dB on a real head. Objects that fit lose up to 0.4 dB by them, and so do scans with few
central lines.
"""
QUIETEST = 1e-3
"""Share of the mean noise power that a coil has at least: one that receives nothing would otherwise
count without limit.
"""
WRAPPED = 0.005
"""Share of the energy that a second set of maps must hold to be kept; without it everything takes
half the time.
"""
FOREGROUND = 0.1
"""Share of the 99th percentile above which an image is foreground."""
SUBSETS = 8
"""Of the angles of a PET scan, in its data step."""
PERTURBED, LOCAL = 8, 1.5
"""Perturbed reconstructions of counts, and pixels over which their variance is averaged."""
LEAST_COUNTS = 0.5
"""Expected counts below which the variance of a Poisson number is taken no smaller."""


def problems(measurement: Measurement, sets: int = 2) -> Iterator[Problem]:
    """Yield the slices of a measurement, prepared.

    Args: measurement: Cartesian or non-Cartesian MR, whose coil maps are found where they were not
        given, or any linear operator with data `(slice, *range)`. sets: of coil maps.

    Raises: InputError: there is no linear operator, a slice is all zero, or NaN or infinities are
        in the data.
    """
    operator = measurement.operator
    if not np.isfinite(measurement.data).all():
        raise InputError(
            "The raw data hold NaN or infinite values; repair the file or leave those samples out "
            "as zeros."
        )
    for index, data in enumerate(measurement.data):
        if not np.abs(data).max() > 0:
            raise InputError(
                f"Slice {index + 1} of the raw data is all zero; nothing was measured there. Leave "
                "it out."
            )
        if isinstance(operator, CartesianScan):
            yield cartesian(data, operator, index, measurement.noise, sets)
        elif isinstance(operator, NoncartesianScan):
            yield noncartesian(data, operator, index, measurement.noise, sets)
        elif isinstance(operator, LinearOperator):
            yield linear(operator, data, stated_noise(measurement))
        else:
            raise InputError(
                f"The operator {operator.name!r} of this measurement is not linear, so no model "
                "here can solve it. "
                "Linear ones: veridical list operator."
            )


def stated_noise(measurement: Measurement) -> Noise:
    """Return the noise with the photons of one detector bin as its level, where the header of a CT
    scan has them.
    """
    noise, photons = measurement.noise, measurement.header.get("photons")
    if noise.kind == "poisson_gaussian" and noise.level is None and photons:
        return Noise(noise.kind, float(photons))
    return noise


def cartesian(kspace: Array, scan: CartesianScan, index: int, noise: Noise, sets: int) -> Problem:
    """Prepare one slice of Cartesian k-space `(coil, ky, kx)`.

    Coil maps are those of the scan; else they are found from its calibration scan, else from the
    data.
    """
    data, calibration, given, level = virtual_coils(kspace, scan.coils, index, noise)
    sampled = torch.from_numpy(np.array(scan.mask[index], dtype=np.float32))
    sigma = level or estimate_sigma(data, sampled)
    source, where = (
        (data, sampled) if calibration is None else (calibration, (calibration != 0).any(0).float())
    )
    if given is not None:
        maps = given[:sets]
    else:
        maps = (
            espirit(source, where, sets=sets)
            if len(data) > 1
            else torch.ones(1, 1, *sampled.shape, dtype=torch.complex64)
        )
    prepared = prepare(data * sampled, sampled, maps, sigma)
    if len(maps) == 1:
        return prepared
    shares = prepared.start.abs().square().sum((1, 2))
    if float(shares[1:].sum() / shares.sum()) < WRAPPED:  # the object fits the field of view
        start = prepared.start[:1] * prepared.scale
        return scaled(
            CartesianMRI(sampled, maps[:1]), data * sampled, start, sigma, object_of(maps)
        )
    if given is not None or min(calibration_region(source, where).shape[-2:]) < 3 * KERNEL:
        return prepared
    return prepare(
        data * sampled, sampled, espirit(source, where, sets=sets, kernel=KERNEL, crop=CROP), sigma
    )


def noncartesian(
    kspace: Array, scan: NoncartesianScan, index: int, noise: Noise, sets: int
) -> Problem:
    """Prepare one slice of non-Cartesian k-space `(coil, sample)`, its samples weighted by what
    they resolve of the grid.
    """
    flat, _, given, level = virtual_coils(
        kspace[..., None], scan.coils, index, noise, most=len(kspace)
    )
    data = flat[..., 0]
    trajectory = torch.from_numpy(np.array(scan.trajectory[index], dtype=np.float32))
    maps = noncartesian_maps(data, trajectory, scan.matrix, sets) if given is None else given[:sets]
    operator = NoncartesianMRI(trajectory, maps)
    sigma = level or noncartesian_sigma(data, trajectory)
    return scaled(operator, data, operator.classical(data), sigma, object_of(maps))


def virtual_coils(
    kspace: Array, coils: Coils, index: int, noise: Noise, most: int = MOST_COILS
) -> tuple[Tensor, Tensor | None, Tensor | None, float | None]:
    """Return k-space of a slice, its calibration k-space and its coil maps, in at most `most`
    coils, and their noise level.

    Where the covariance of the noise is known, coils are mixed so that it becomes white, of the
    harmonic mean of their noise power, so that good coils keep their scale; maps keep their norm.
    Then the principal components of the data are kept.

    Args:
        kspace: `(coil, ky, kx)`.
        coils: what is known of them.
        index: of the slice.
        noise: of the data; its level counts where there is no covariance.
        most: coils to keep.
    """
    data = torch.from_numpy(np.array(kspace, dtype=np.complex64))
    parts = (
        None if part is None else torch.from_numpy(np.array(part[index]))
        for part in (coils.calibration, coils.maps)
    )
    calibration, maps = parts
    level = noise.level
    if calibration is not None and not (calibration != 0).any():
        calibration = None
    if coils.covariance is not None:
        covariance = torch.from_numpy(np.array(coils.covariance, dtype=np.complex128))
        covariance = covariance + QUIETEST * covariance.diagonal().real.mean() * torch.eye(
            len(covariance)
        )
        power = float(len(covariance) / torch.linalg.inv(covariance).diagonal().real.sum())
        level = math.sqrt(power / 2)
        data = prewhiten(data, covariance) * math.sqrt(power)
        calibration = None if calibration is None else prewhiten(calibration, covariance)
        if maps is not None:
            mixed = prewhiten(maps, covariance)
            maps = mixed * (
                maps.norm(dim=1, keepdim=True) / mixed.norm(dim=1, keepdim=True).clamp_min(1e-12)
            )
    calibration = None if calibration is None else compress(calibration, most, data)
    return (
        compress(data, most),
        calibration,
        None if maps is None else compress(maps, most, data),
        level,
    )


def linear(operator: LinearOperator, data: Array, noise: Noise) -> Problem:
    """Prepare one slice of any linear operator with real data `(*range)`."""
    kind = torch.complex64 if operator.dtype.is_complex else torch.float32
    measured = torch.from_numpy(np.array(data)).to(kind)
    start = operator.classical(measured)
    magnitude = start.abs()
    scale = bright_level(magnitude.numpy())
    offset = operator.background if isinstance(operator, PET) else 0.0
    sigma, weights = noise_of(operator, measured, start, noise)
    counts = isinstance(operator, PET) and noise.kind == "poisson"
    level = start_level(operator, measured, start, sigma, weights, counts) / scale
    support = (magnitude > FOREGROUND * scale).float()
    fit = poisson_fit(operator, measured, scale) if isinstance(operator, PET) and counts else None
    return Problem(
        operator,
        (measured - offset) / scale,
        sigma / scale,
        start / scale,
        weights,
        level,
        fit,
        scale=scale,
        support=support.reshape(-1, *support.shape[-2:])[:1],
    )


def start_level(
    operator: LinearOperator,
    data: Tensor,
    start: Tensor,
    sigma: float,
    weights: Tensor | None,
    counts: bool,
) -> float | Tensor:
    """Return the noise standard deviation of the classical reconstruction, from reconstructions of
    perturbed data.

    Of counts it is `(*domain)`: expectation maximization is as noisy as it is bright. Elsewhere it
    hardly varies; the root mean square over the image is returned.
    """
    generator, total, times = (
        torch.Generator().manual_seed(0),
        torch.zeros_like(start.abs()),
        PERTURBED if counts else 1,
    )
    deviation = sigma if weights is None else sigma / weights.sqrt().clamp_min(1e-6)
    for _ in range(times):
        perturbed = data + deviation * standard_normal(tuple(data.shape), data, generator)
        changed = operator.classical(perturbed.clamp_min(0) if counts else perturbed) - start
        total = total + changed.abs().square() / (2 if operator.dtype.is_complex else 1)
    if counts:
        return torch.from_numpy(ndimage.gaussian_filter((total / times).numpy(), LOCAL)).sqrt()
    return float(total.mean().sqrt())


def poisson_fit(system: PET, counts: Tensor, scale: float) -> Fit:
    """Return the data step of PET counts: penalized expectation maximization, in units of
    `scale`.
    """

    def fit(x: Tensor, towards: Tensor, weight: float | Tensor) -> Tensor:
        return (
            system.penalized(x * scale, counts, towards * scale, weight / scale**2, SUBSETS) / scale
        )

    return fit


def noise_of(
    operator: LinearOperator, data: Tensor, start: Tensor, noise: Noise
) -> tuple[float, Tensor | None]:
    """Return the noise level, and the weight of every sample where they differ.

    Args: operator: A. data: `(*range)`. start: `(*domain)`, from which Poisson means are predicted.
        noise: `poisson`: data are counts; `poisson_gaussian`: line integrals of a beam of `level`
        photons a bin; otherwise white, of that level, or estimated from differences of neighbouring
        samples along the last axis.
    """
    if noise.kind == "poisson":
        expected = (
            operator.expected(start) if isinstance(operator, PET) else operator.forward(start)
        )
        variance = expected.clamp_min(LEAST_COUNTS)
        sigma = float(variance.mean().sqrt())
        return sigma, sigma**2 / variance
    if noise.kind == "poisson_gaussian":
        if not noise.level:
            raise SettingError(
                "poisson_gaussian noise needs its level: the photons of the unattenuated beam in "
                "one bin."
            )
        precision = inverse_variance(data.clamp_min(0), noise.level, 0.0)
        sigma = float((1 / precision.mean()).sqrt())
        return sigma, precision * sigma**2
    if noise.level:
        return float(noise.level), None
    return white_level(data), None


def white_level(data: Tensor) -> float:
    """Estimate white noise from second differences along the last axis, robustly (median absolute
    deviation).
    """
    second = data[..., 2:] - 2 * data[..., 1:-1] + data[..., :-2]
    parts = torch.view_as_real(second) if second.is_complex() else second
    return max(float(parts.abs().median()) / 0.6745 / math.sqrt(6), 1e-12)
