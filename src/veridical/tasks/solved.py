"""What reconstruction and enhancement share: one problem solved with its companions, and slices put together to a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from veridical.audit.consistency import consistency
from veridical.audit.evidence import evidence, local_variance, split
from veridical.audit.interval import Calibration, interval
from veridical.audit.self_calibration import ExpectedError, expected_error, recoloured, trust_finding
from veridical.models.base import MeasurementModel
from veridical.models.problem import Problem
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.fourier import fft, ifft
from veridical.physics.identity import Identity
from veridical.physics.masks import fully_sampled_centre
from veridical.types import Array, Evidence, Finding, Geometry, Image, Interval, Result, Verdict

MAP_ERROR = 0.05
"""Share of the signal by which estimated coil maps may be wrong; without it a clean scan would never be consistent."""
SMOOTHING = 2.0
"""Gaussian width in voxels over which variances of few samples are averaged."""
DETAIL = 0.25
"""Evidence is about what lies beyond the fully sampled centre of k-space, or beyond this share of it elsewhere."""
ABOUT = (
    "detail finer than the fully sampled centre of k-space (MRI) or than a quarter of the image's bandwidth (all else); what "
    "could have been otherwise is taken from the energy of such detail in this image"
)
WORST: tuple[Verdict, ...] = ("not_run", "pass", "warn", "fail")


@dataclass(frozen=True, eq=False)
class Solved:
    """One slice or volume: arrays `(z, y, x)`, draws `(draw, z, y, x)`, all in the units of the data."""

    estimate: Array
    measured: Array
    unmeasured: Array
    draws: Array | None
    spread: Array | None
    evidence: Array | None
    scale: float
    findings: tuple[Finding, ...]
    direct: bool = False
    """Whether the image itself was measured, so that one denoising is the posterior mean."""

    @property
    def believable(self) -> bool:
        """Whether the spread of the draws may become an interval: no finding about the sampling failed."""
        return not any(f.check == "sampling" and f.verdict == "fail" for f in self.findings)


def solve(
    model: MeasurementModel, problem: Problem, draws: int, seed: int, spread_factor: float = 1.0, raw: bool = False
) -> Solved:
    """Solve one problem and compute what can be said about it.

    Args:
        model: any model that accepts the problem's operator.
        problem: the prepared slice or volume.
        draws: how many; a model without randomness gives one, and then there is no spread and no evidence.
        seed: of the draws.
        spread_factor: by which the spread of the draws must grow to be calibrated; from `spread_factor_of`.
        raw: the problem is a scan: some of its samples are withheld to calibrate it by itself.
    """
    images = model.solve(problem, draws, seed)
    mean, many = images.mean(0), model.stochastic and len(images) > 1
    findings: tuple[Finding, ...] = ()
    if raw and many and isinstance(problem.operator, CartesianMRI):
        expected = sampling_error(model, problem, seed)
        images = recoloured(images, expected, problem.operator.mask)
        findings = (trust_finding(expected),)
    every = problem.image(images).numpy() if many else None
    spread = None if every is None else np.sqrt(local_variance(every[:, None], SMOOTHING)[0]) * spread_factor
    measured, estimate, unmeasured = exact_parts(problem, mean)
    return Solved(
        estimate,
        measured,
        unmeasured,
        every,
        spread,
        _evidence(problem, images, spread_factor) if many else None,
        problem.scale,
        (_consistency(problem, mean), *findings),
        isinstance(problem.operator, Identity),
    )


def sampling_error(model: MeasurementModel, problem: Problem, seed: int) -> ExpectedError:
    """Return the error that is expected where a Cartesian scan was not sampled, by withholding some of its samples."""
    return expected_error(problem, lambda fewer: model.solve(fewer, 1, seed)[0], seed)


def exact_parts(problem: Problem, mean: Tensor) -> tuple[Array, Array, Array]:
    """Return what was measured, the estimate and what was not measured, float32: the outer two sum to the middle exactly."""
    whole = problem.image(mean).numpy().astype(np.float32)
    fixed, _ = split(problem.operator, mean, iterations=10)
    measured = problem.part(mean, fixed).numpy().astype(np.float32)
    unmeasured = whole - measured
    return measured, measured + unmeasured, unmeasured


def _consistency(problem: Problem, mean: Tensor) -> Finding:
    mri = isinstance(problem.operator, CartesianMRI)
    y, x, sigma = problem.data, mean, problem.sigma
    if problem.weights is None:
        return consistency(problem.operator, y, x, sigma, MAP_ERROR if mri else 0.0)
    return consistency(problem.whitened(), problem.weights.sqrt() * y, x, sigma)


def _evidence(problem: Problem, images: Tensor, spread_factor: float) -> Array:
    """Return the evidence `(z, y, x)` for detail that was not measured everywhere.

    The variance before the measurement is that of the detail of an image like this one: by the law of total variance the
    mean energy of the posterior mean's detail over the object, plus the mean posterior variance.
    """
    sets = images.ndim == 4 and not problem.stacked
    shown = images.sum(1, keepdim=True) if sets else images if problem.stacked else images[:, None]
    mask = problem.operator.mask.numpy() > 0 if isinstance(problem.operator, CartesianMRI) else None
    draws = detail(shown, mask).numpy() * spread_factor
    inside = np.ones(draws.shape[1:]) if problem.support is None else np.clip(problem.support.numpy(), 1e-6, None)
    within = local_variance(draws[:, None])[0]
    energy = np.abs(draws.mean(0) / spread_factor) ** 2
    before = float(np.average(energy + within, weights=np.broadcast_to(inside, energy.shape)))
    return np.asarray(evidence(draws[:, None], max(before, 1e-12), SMOOTHING)[0])


def spread_factor_of(card: Mapping[str, Any], job: str) -> float:
    """Return how much wider than the draws a calibrated normal distribution is; 1 where there is no calibration."""
    if job not in card.get("calibration", {}):
        return 1.0
    calibration = Calibration.from_dict(card["calibration"][job])
    return float(calibration.multiplier / stats.norm.ppf(0.5 + calibration.level / 2))


def detail(image: Tensor, mask: Array | None) -> Tensor:
    """Remove the fully sampled centre of k-space from `(..., y, x)`; a quarter of each axis where all was sampled."""
    shape = image.shape[-2:]
    rows, columns = fully_sampled_centre(mask) if mask is not None else (slice(0, shape[0]), slice(0, shape[1]))
    if rows.stop - rows.start >= shape[0] and columns.stop - columns.start >= shape[1]:
        rows, columns = (slice(int(n * (0.5 - DETAIL / 2)), int(n * (0.5 + DETAIL / 2))) for n in shape)
    kspace = fft(image.to(torch.complex64))
    kspace[..., rows, columns] = 0
    return ifft(kspace)


def assemble(
    slices: Sequence[Solved],
    model: MeasurementModel,
    card: Mapping[str, Any],
    geometry: Geometry,
    job: str,
    channel: str,
    units: str,
) -> Result:
    """Put solved slices together to one result with its companions.

    Args:
        slices: along z; or one volume.
        model: that solved them.
        card: of its weights: holds the calibration of the job; empty for classical models.
        geometry: of the result, `(x, y, slices)`.
        job: `reconstruct-mri` or `enhance-denoise`, names the calibration.
        channel: contrast.
        units: of the result.
    """

    def volume(pick: Callable[[Solved], Array | None]) -> Array | None:
        parts = [pick(s) for s in slices]
        if any(part is None for part in parts):
            return None
        stacked = np.concatenate([np.asarray(part) for part in parts], -3)
        turned: Array = np.ascontiguousarray(np.moveaxis(stacked, (-3, -1), (-1, -3))[..., None, :, :, :], dtype=np.float32)
        return turned

    image = Image(_there(volume(lambda s: s.estimate)), geometry, units, (channel,))
    every, found = volume(lambda s: s.draws), volume(lambda s: s.evidence)
    absent: dict[str, str] = {}
    if every is None:
        absent["interval"] = absent["draws"] = (
            "One draw has no spread; ask for 2 or more draws."
            if model.stochastic
            else f"{model.name} gives one estimate; ask a sampler (denoiser) for 2 or more draws."
        )
    believable = all(s.believable for s in slices)
    band = _interval(slices, image, volume(lambda s: s.spread), card, job, absent) if believable else None
    if not believable:
        found = None
        absent["interval"] = absent["evidence"] = (
            "Too much was not sampled: what withheld samples say of the error does not let the spread be believed; see the "
            "finding 'sampling'."
        )
    elif found is None:
        absent["evidence"] = f"{model.name} was not asked for several draws of a prior, so no variances can be compared."
    parts = Evidence(found, volume(lambda s: s.measured), volume(lambda s: s.unmeasured), "" if found is None else ABOUT)
    checks = dict.fromkeys(f.check for s in slices for f in s.findings)
    findings = tuple(_worst([f for s in slices for f in s.findings if f.check == check]) for check in checks)
    centre = "posterior mean" if all(s.direct for s in slices) else "plug-and-play estimate"
    kind = centre if every is not None else "point estimate"
    return Result(image, kind, every, band, parts, (*findings, _scope(job)), (), absent)


def moved(result: Result, geometry: Geometry, along: int, offset: float) -> Result:
    """Return a result whose last axis is the slice axis `along` of an image, on that image's grid, with `offset` added.

    Args:
        result: on the turned grid.
        geometry: the image's grid.
        along: 0 to 2.
        offset: in the units of the result; parts and evidence have none.
    """

    def back(array: Array | None, add: float = 0.0) -> Array | None:
        if array is None:
            return None
        turned = np.moveaxis(array, -1, array.ndim - 3 + along)
        return np.ascontiguousarray(turned + np.float32(add) if add else turned)

    image = Image(_there(back(result.image.data, offset)), geometry, result.image.units, result.image.channels)
    band, parts = result.interval, result.evidence
    if band is not None:
        band = replace(band, lower=_there(back(band.lower, offset)), upper=_there(back(band.upper, offset)))
    if parts is not None:
        parts = replace(parts, map=back(parts.map), measured=back(parts.measured, offset), unmeasured=back(parts.unmeasured))
        if offset and parts.measured is not None and parts.unmeasured is not None:
            image = replace(image, data=parts.measured + parts.unmeasured)
    return replace(result, image=image, draws=back(result.draws, offset), interval=band, evidence=parts)


def _interval(
    slices: Sequence[Solved], image: Image, spread: Array | None, card: Mapping[str, Any], job: str, absent: dict[str, str]
) -> Interval | None:
    if spread is None:
        return None
    if job not in card.get("calibration", {}):
        absent["interval"] = f"These weights are not calibrated for {job}: `veridical calibrate` needs patients with a truth."
        return None
    calibration = Calibration.from_dict(card["calibration"][job])
    scale = float(np.median([s.scale for s in slices]))
    return interval(image.data, spread / spread_factor_of(card, job), calibration, scale)


def _scope(job: str) -> Finding:
    return Finding("scope", "not_run", f"There is no description of the scans that this model knows for {job}.")


def _worst(findings: Sequence[Finding]) -> Finding:
    """Return the worst finding of all slices, saying how many there were."""
    worst = max(findings, key=lambda f: WORST.index(f.verdict))
    if len(findings) == 1:
        return worst
    like = sum(f.verdict == worst.verdict for f in findings)
    return Finding(worst.check, worst.verdict, f"{like} of {len(findings)} slices: {worst.reason}", worst.evidence)


def _there(array: Array | None) -> Array:
    if array is None:
        raise AssertionError("every slice has an estimate")
    return array
