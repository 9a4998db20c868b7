"""What reconstruction and enhancement share: problems with an operator, solved slice by slice or as
volumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from veridical.audit.evidence import evidence, local_variance, split
from veridical.audit.residual import MAP_ERROR, Misfit, misfit
from veridical.audit.self_calibration import ExpectedError, expected_error, recoloured
from veridical.models.base import MeasurementModel
from veridical.models.problem import Problem
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.fourier import fft, ifft
from veridical.physics.identity import Identity
from veridical.physics.masks import fully_sampled_centre
from veridical.tasks.assemble import Solution, spread_factors
from veridical.types import Array

SMOOTHING = 2.0
"""Gaussian width in voxels over which variances of few samples are averaged."""
DETAIL = 0.25
"""Evidence is about what lies beyond the fully sampled centre of k-space, or beyond this share of
it elsewhere.
"""
ABOUT = (
    "detail finer than the fully sampled centre of k-space (MRI) or than a quarter of the image's "
    "bandwidth (all else); what "
    "could have been otherwise is taken from the energy of such detail in this image"
)
TOO_LITTLE = (
    "Too much was not sampled: what withheld samples say of the error does not let the spread be "
    "believed; see the finding "
    "'sampling'."
)


@dataclass(frozen=True, eq=False)
class Solved:
    """One slice or volume: arrays `(z, y, x)`, draws `(draw, z, y, x)`, all in the units of the
    data.
    """

    measured: Array
    unmeasured: Array
    draws: Array | None
    spread: Array | None
    evidence: Array | None
    scale: float
    misfit: Misfit
    sampling: ExpectedError | None = None
    direct: bool = False
    """Whether the image itself was measured, so that one denoising is the posterior mean."""

    @property
    def estimate(self) -> Array:
        """`measured + unmeasured`, exactly."""
        return self.measured + self.unmeasured


def solve(
    model: MeasurementModel, problem: Problem, draws: int, seed: int, job: str, raw: bool = False
) -> Solved:
    """Solve one problem and compute what can be said about it.

    Args: model: any model that accepts the problem's operator. problem: the prepared slice or
        volume. draws: how many; a model without randomness gives one, and then there is no spread
        and no evidence. seed: of the draws. job: names the calibration in the card. raw: the
        problem is a scan: some of its samples are withheld to calibrate it by itself.
    """
    images = model.solve(problem, draws, seed)
    mean, many = images.mean(0), model.stochastic and len(images) > 1
    expected = None
    if raw and many and isinstance(problem.operator, CartesianMRI):
        expected = expected_error(problem, lambda fewer: model.solve(fewer, 1, seed)[0], seed)
        images = recoloured(images, expected, problem.operator.mask)
    every = problem.image(images).numpy() if many else None
    spread = None if every is None else np.sqrt(local_variance(every[:, None], SMOOTHING)[0])
    measured, unmeasured = parts(problem, mean)
    known = _evidence(problem, images, spread_factors(model, (job,))[0]) if many else None
    direct = isinstance(problem.operator, Identity)
    return Solved(
        measured,
        unmeasured,
        every,
        spread,
        known,
        problem.scale,
        _misfit(problem, mean),
        expected,
        direct,
    )


def parts(problem: Problem, mean: Tensor) -> tuple[Array, Array]:
    """Return what was measured and what was not, float32; they sum to the estimate."""
    whole = problem.image(mean).numpy().astype(np.float32)
    fixed, _ = split(problem.operator, mean, iterations=10)
    measured = problem.part(mean, fixed).numpy().astype(np.float32)
    return measured, whole - measured


def _misfit(problem: Problem, mean: Tensor) -> Misfit:
    if problem.weights is None:
        error = MAP_ERROR if isinstance(problem.operator, CartesianMRI) else 0.0
        return misfit(problem.operator, problem.data, mean, problem.sigma, error)
    return misfit(problem.whitened(), problem.weights.sqrt() * problem.data, mean, problem.sigma)


def _evidence(problem: Problem, images: Tensor, spread_factor: float) -> Array:
    """Return the evidence `(z, y, x)` for detail that was not measured everywhere.

    The variance before the measurement is that of the detail of an image like this one: by the law
    of total variance the mean energy of the posterior mean's detail over the object, plus the mean
    posterior variance.
    """
    sets = images.ndim == 4 and not problem.stacked
    shown = images.sum(1, keepdim=True) if sets else images if problem.stacked else images[:, None]
    mask = problem.operator.mask.numpy() > 0 if isinstance(problem.operator, CartesianMRI) else None
    draws = detail(shown, mask).numpy() * spread_factor
    inside = (
        np.ones(draws.shape[1:])
        if problem.support is None
        else np.clip(problem.support.numpy(), 1e-6, None)
    )
    within = local_variance(draws[:, None])[0]
    energy = np.abs(draws.mean(0) / spread_factor) ** 2
    before = float(np.average(energy + within, weights=np.broadcast_to(inside, energy.shape)))
    return np.asarray(evidence(draws[:, None], max(before, 1e-12), SMOOTHING)[0])


def detail(image: Tensor, mask: Array | None) -> Tensor:
    """Remove the fully sampled centre of k-space from `(..., y, x)`; a quarter of each axis where
    all was sampled.
    """
    shape = image.shape[-2:]
    rows, columns = (
        fully_sampled_centre(mask) if mask is not None else (slice(0, shape[0]), slice(0, shape[1]))
    )
    if rows.stop - rows.start >= shape[0] and columns.stop - columns.start >= shape[1]:
        rows, columns = (
            slice(int(n * (0.5 - DETAIL / 2)), int(n * (0.5 + DETAIL / 2))) for n in shape
        )
    kspace = fft(image.to(torch.complex64))
    kspace[..., rows, columns] = 0
    return ifft(kspace)


def stacked(
    slices: Sequence[Solved], job: str, channel: str, units: str, offset: float = 0.0
) -> Solution:
    """Put solved slices, or one volume, together.

    Args:
        slices: along z.
        job: names the calibration in the card.
        channel: contrast or modality.
        units: of it.
        offset: added to the image, in its units: -1000 for CT that was solved as HU above air.
    """

    def whole(name: str, add: float = 0.0) -> Array | None:
        found = [getattr(one, name) for one in slices]
        if any(part is None for part in found):
            return None
        return np.asarray(
            np.concatenate(found, -3)[..., None, :, :, :] + np.float32(add), np.float32
        )

    measured, unmeasured = (
        np.concatenate([one.measured for one in slices])[None] + np.float32(offset),
        np.concatenate([one.unmeasured for one in slices])[None],
    )
    draws = whole("draws", offset)
    centre = "posterior mean" if all(one.direct for one in slices) else "plug-and-play estimate"
    sampling = tuple(one.sampling for one in slices if one.sampling is not None)
    return Solution(
        measured + unmeasured,
        (channel,),
        (units,),
        (float(np.median([one.scale for one in slices])),),
        (job,),
        "point estimate" if draws is None else centre,
        draws,
        whole("spread"),
        whole("evidence"),
        measured,
        unmeasured,
        ABOUT,
        TOO_LITTLE if any(one.verdict == "fail" for one in sampling) else "",
        {"misfit": tuple(one.misfit for one in slices), "sampling": sampling},
    )
