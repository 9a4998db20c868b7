"""An image from any generator held against the raw data of the same slice: the residual, and what a
residual of noise alone would be.

An image says less than an operator needs: magnitudes have no phase, and arbitrary units no scale.
Both are fitted, which takes some of the noise away. How much is found by fitting them to simulated
data of the same image (a parametric bootstrap), so that a residual of noise alone has a chi-square
of 1 whatever was fitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from veridical.audit.evidence import split
from veridical.audit.inputs import onto
from veridical.audit.residual import MAP_ERROR, Misfit, misfit
from veridical.errors import GeometryError
from veridical.generative.posterior import standard_normal
from veridical.models.problem import Problem
from veridical.models.problems import problems
from veridical.physics.cartesian_mri import CartesianMRI, CartesianScan
from veridical.physics.pet import PET
from veridical.types import Array, Geometry, Image, Measurement

PHASE_STEPS = 15
"""Gradient steps to the phase."""
ABSOLUTE = ("1/mm",)
"""Units that have no scale to be fitted."""
AIR = -1000.0
"""HU of air, which is 0 in units of attenuation."""


@dataclass(frozen=True)
class Held:
    """One slice held against its raw data.

    Args:
        misfit: the residual against its null.
        scale: by which the image was multiplied, in units of the raw data over units of the image.
        unmeasured: share of the image's energy in the null space of the operator.
        null: chi-square of simulated data before it was set to 1.
    """

    misfit: Misfit
    scale: float
    unmeasured: float
    null: float


def held_against(image: Image, scan: Measurement) -> Iterator[Held]:
    """Hold each slice of an image against the raw data.

    Args:
        image: its first channel is taken, of complex ones the magnitude; on the grid of the scan.
            In units other than 1/mm it gets the least-squares scale.
        scan: any measurement that `models.problems` prepares.

    Raises:
        GeometryError: image and scan are not of one grid.
        InputError: the raw data cannot be prepared.
    """
    fixed = image.units in ABSOLUTE
    slices = np.moveaxis(np.abs(on_grid(image, scan.geometry)), (0, 1, 2), (2, 1, 0))
    for index, problem in enumerate(problems(scan)):
        shown = np.ascontiguousarray(slices[index], np.float32)
        yield _held(problem, torch.from_numpy(shown), fixed, seed=index)


def on_grid(image: Image, grid: Geometry) -> Array:
    """Return the first channel `(x, y, z)` on the grid of a scan, turned where it must be, never
    interpolated: that would blur it.

    Raises:
        GeometryError: its voxels are not those of the scan.
    """
    own = image.geometry
    data = np.asarray(image.data[0])
    if image.units == "HU":
        data = data - AIR
    stated = "index" not in (own.frame, grid.frame)
    if own.shape == grid.shape and (own.matches(grid) or not stated):
        return data
    step = np.linalg.inv(own.affine) @ grid.affine
    if not stated or np.abs(step - np.round(step)).max() > 0.01:
        raise GeometryError(
            f"The image has {own}, the raw data {grid}; expected the voxels of the scan. Hold the "
            "image against them before it is resampled or cut."
        )
    return onto(replace(image, data=data[None], units="a.u.", channels=image.channels[:1]), grid, 0)


def inconsistent_mask(scan: Measurement) -> str:
    """Say how the mask of a Cartesian scan contradicts its data; empty where it does not.

    Whatever was left out is exactly zero in every coil, and what was measured never is.
    """
    if not isinstance(scan.operator, CartesianScan):
        return ""
    taken = np.abs(scan.data).max(1) > 0
    outside = float(np.mean(taken & ~scan.operator.mask)) / max(float(np.mean(taken)), 1e-12)
    empty = float(np.mean(~taken & scan.operator.mask)) / float(np.mean(scan.operator.mask))
    if outside > 0:
        return f"{outside:.1%} of the samples in the data are not in the mask"
    return f"{empty:.1%} of the samples in the mask are exactly zero in the data" if empty else ""


def _held(problem: Problem, shown: Tensor, fixed: bool, seed: int) -> Held:
    """Hold one slice `(y, x)` against its problem."""
    operator, root = problem.whitened(), None
    if problem.weights is not None:
        root = problem.weights.sqrt()
    shown = shown / problem.scale
    start = problem.start if operator.dtype.is_complex else shown.reshape(operator.domain)
    x, scale = fitted(problem, problem.data, shown, start, fixed)
    error = MAP_ERROR if isinstance(problem.operator, CartesianMRI) else 0.0
    data = problem.data if root is None else root * problem.data
    found = misfit(operator, data, x, problem.sigma, error)
    generator = torch.Generator().manual_seed(seed)
    again = simulated(problem, x, generator)
    refit, _ = fitted(problem, again, scale * shown, start, fixed)
    again = again if root is None else root * again
    null = np.minimum(misfit(operator, again, refit, problem.sigma).bands, 1.0)
    bands = tuple(float(band) for band in np.array(found.bands) / null)
    chi_square = float(np.average(bands, weights=found.counts))
    _, rest = split(problem.operator, x, iterations=10)
    share = float(rest.abs().square().sum() / x.abs().square().sum().clamp_min(1e-30))
    judged = replace(found, chi_square=chi_square, bands=bands)
    return Held(judged, scale, share, float(np.average(null, weights=found.counts)))


def fitted(
    problem: Problem, data: Tensor, shown: Tensor, start: Tensor, fixed: bool = False
) -> tuple[Tensor, float]:
    """Return the image that an operator takes, `(*domain)`, and the scale.

    The magnitude is that of the image times the scale. The phase, and the share of each set of coil
    maps, are those that explain the data best: projected gradient descent from a classical
    reconstruction.

    Args:
        problem: of the slice.
        data: `(*range)`, the measured ones or simulated ones.
        shown: `(y, x)`, the magnitude in the problem's units up to the scale.
        start: `(*domain)`, where the phase starts.
        fixed: the scale is 1.
    """
    operator, weights = problem.operator, problem.weights
    if not operator.dtype.is_complex:
        x = shown.reshape(operator.domain).to(operator.dtype)
        scale = 1.0 if fixed else least_squares(operator.forward(x), data, weights)
        return scale * x, scale
    unit = isinstance(operator, CartesianMRI)
    rate = 1.0 if unit else 1 / (1.05 * operator.largest_singular_value()) ** 2
    x, scale = start, 1.0
    if not fixed:
        scale = least_squares(operator.forward(_shaped(problem, x, shown)), data, weights)
    for _ in range(PHASE_STEPS):
        x = x + rate * (operator.adjoint(data) - operator.normal(x))
        x = _shaped(problem, x, scale * shown)
        if not fixed:
            better = least_squares(operator.forward(x), data, weights)
            x, scale = better * x, better * scale
    return x, scale


def simulated(problem: Problem, x: Tensor, generator: torch.Generator) -> Tensor:
    """Return data of an image `(*domain)` with noise like that of the problem, `(*range)`."""
    clean = problem.operator.forward(x)
    if isinstance(problem.operator, PET) and problem.fit is not None:
        mean = problem.scale * clean + problem.operator.background
        counts = torch.poisson(mean.clamp_min(0), generator)
        return (counts - problem.operator.background) / problem.scale
    deviation: float | Tensor = problem.sigma
    if problem.weights is not None:
        deviation = problem.sigma / problem.weights.sqrt().clamp_min(1e-6)
    noise = deviation * standard_normal(tuple(clean.shape), clean, generator)
    return clean + (noise * problem.operator.mask if hasattr(problem.operator, "mask") else noise)


def least_squares(predicted: Tensor, data: Tensor, weights: Tensor | None) -> float:
    """Return the factor that brings a prediction closest to the data."""
    weighted = predicted if weights is None else weights * predicted
    size = float((weighted.conj() * predicted).real.sum())
    return float((weighted.conj() * data).real.sum()) / size if size > 0 else 1.0


def _shaped(problem: Problem, x: Tensor, magnitude: Tensor) -> Tensor:
    """Return `x` with the magnitude of an image, pixel by pixel."""
    have = problem.image(x)[0] / problem.scale
    return x * torch.where(have > 1e-9, magnitude / have.clamp_min(1e-9), torch.zeros_like(have))
