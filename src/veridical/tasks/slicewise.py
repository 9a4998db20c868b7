"""What reconstruction and enhancement share: one slice solved with its companions, and slices put together to a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from veridical.audit.consistency import consistency
from veridical.audit.describe import describe_scan
from veridical.audit.evidence import evidence, local_variance, split
from veridical.audit.interval import Calibration, interval
from veridical.audit.scope import Scope
from veridical.models.base import MRIModel
from veridical.models.prepared_scan import Scan, root_sum_of_squares
from veridical.physics.fourier import fft, ifft
from veridical.physics.masks import fully_sampled_centre
from veridical.types import Array, Derived, Evidence, Finding, Geometry, Image, Interval, Verdict

MAP_ERROR = 0.05
"""Share of the signal by which estimated coil maps may be wrong; without it a clean scan would never be consistent."""
SMOOTHING = 2.0
"""Gaussian width in voxels over which variances of few draws are averaged."""
DETAIL = 0.25
"""Evidence is about what lies beyond the fully sampled centre, or beyond this share of it where all was sampled."""
ABOUT = (
    "detail finer than the fully sampled centre of k-space, which is measured in every voxel; what could have been "
    "otherwise is taken from the energy of such detail in this image"
)
WORST: tuple[Verdict, ...] = ("not_run", "pass", "warn", "fail")


@dataclass(frozen=True, eq=False)
class Solved:
    """One slice: arrays `(y, x)`, draws `(draw, y, x)`, all in the units of the data."""

    estimate: Array
    measured: Array
    unmeasured: Array
    draws: Array | None
    spread: Array | None
    evidence: Array | None
    scale: float
    consistency: Finding
    descriptors: Mapping[str, float]


def solve(model: MRIModel, scan: Scan, draws: int, seed: int, contrast: str, widening: float = 1.0) -> Solved:
    """Solve one slice and compute what can be said about it.

    Args:
        model: any MR model.
        scan: the prepared slice.
        draws: how many; a model without randomness gives one, and then there is no spread and no evidence.
        seed: of the draws.
        contrast: name for the condition.
        widening: by which the spread of the draws must grow to be calibrated; from `widening`.
    """
    images = model.solve(scan, draws, seed, contrast)
    mean = images.mean(0)

    def magnitude(image: Tensor) -> Array:
        return np.asarray(root_sum_of_squares(scan.operator.coil_images(image)).numpy() * scan.scale)

    measured, unmeasured = split(scan.operator, mean, iterations=10)
    many = model.stochastic and len(images) > 1
    every = np.stack([magnitude(image) for image in images]) if many else None
    spread = None if every is None else np.sqrt(local_variance(every[:, None], SMOOTHING)[0])
    residual = consistency(scan.operator, scan.kspace, mean, scan.sigma, MAP_ERROR)
    return Solved(
        magnitude(mean),
        magnitude(measured),
        magnitude(unmeasured),
        every,
        spread,
        _evidence(scan, images, widening) if many else None,
        scan.scale,
        residual,
        describe_scan(scan.kspace.numpy(), scan.operator.mask.numpy(), scan.start[0].numpy(), scan.sigma),
    )


def _evidence(scan: Scan, images: Tensor, widening: float) -> Array:
    """Return the evidence `(y, x)` for detail beyond the fully sampled centre.

    The variance before the measurement is that of the detail of an image like this one: by the law of total variance the
    mean energy of the posterior mean's detail over the object, plus the mean posterior variance.

    Args:
        scan: the slice.
        images: draws `(draw, set, y, x)`.
        widening: by which the spread of the draws must grow to be calibrated.
    """
    draws = detail(images.sum(1), scan.operator.mask.numpy() > 0).numpy()[:, None] * widening
    inside = np.clip(scan.support[0].numpy(), 1e-6, None)
    within = local_variance(draws)[0]
    energy = np.abs(draws.mean(0)[0] / widening) ** 2
    before = float(np.average(energy + within, weights=inside))
    return np.asarray(evidence(draws, max(before, 1e-12), SMOOTHING)[0])


def widening(card: Mapping[str, Any], task: str) -> float:
    """Return how much wider than the draws a calibrated normal distribution is; 1 where there is no calibration."""
    if task not in card.get("calibration", {}):
        return 1.0
    calibration = Calibration.from_dict(card["calibration"][task])
    return float(calibration.multiplier / stats.norm.ppf(0.5 + calibration.level / 2))


def detail(image: Tensor, mask: Array) -> Tensor:
    """Remove the fully sampled centre of k-space (at most a quarter of each axis when all was sampled) from `(..., y, x)`."""
    rows, columns = fully_sampled_centre(mask)
    shape = image.shape[-2:]
    if rows.stop - rows.start >= shape[0] and columns.stop - columns.start >= shape[1]:
        rows, columns = (slice(int(n * (0.5 - DETAIL / 2)), int(n * (0.5 + DETAIL / 2))) for n in shape)
    kspace = fft(image.to(torch.complex64))
    kspace[..., rows, columns] = 0
    return ifft(kspace)


def assemble(
    slices: Sequence[Solved], model: MRIModel, card: Mapping[str, Any], geometry: Geometry, task: str, channel: str, units: str
) -> Derived:
    """Put solved slices together to one result with its companions.

    Args:
        slices: along z.
        model: that solved them.
        card: of its weights: holds the calibration of `task` and the scope; empty for classical models.
        geometry: of the result, `(x, y, slices)`.
        task: `reconstruct` or `enhance`, names the calibration.
        channel: contrast.
        units: of the result.
    """

    def volume(pick: Callable[[Solved], Array | None]) -> Array | None:
        parts = [pick(s) for s in slices]
        if any(part is None for part in parts):
            return None
        stacked = np.stack([np.asarray(part) for part in parts], -1)
        turned: Array = np.ascontiguousarray(np.swapaxes(stacked, -3, -2)[..., None, :, :, :], dtype=np.float32)
        return turned

    image = Image(_there(volume(lambda s: s.estimate)), geometry, units, (channel,))
    every = volume(lambda s: s.draws)
    found = volume(lambda s: s.evidence)
    absent: dict[str, str] = {}
    if every is None:
        absent["interval"] = absent["draws"] = (
            "One draw has no spread; ask for 2 or more draws."
            if model.stochastic
            else f"{model.name} gives one estimate; ask a sampler (brain-prior) for 2 or more draws."
        )
    band = _interval(slices, image, volume(lambda s: s.spread), model, card, task, absent)
    if found is None:
        absent["evidence"] = f"{model.name} was not asked for several draws of a prior, so no variances can be compared."
    parts = Evidence(
        found,
        volume(lambda s: s.measured),
        volume(lambda s: s.unmeasured),
        "" if found is None else ABOUT,
    )
    findings = (_worst([s.consistency for s in slices]), _scope(slices, card, task))
    kind = "posterior mean" if every is not None else "one draw" if model.stochastic else "point estimate"
    return Derived(image, kind, every, band, parts, findings, (), absent)


def _interval(
    slices: Sequence[Solved],
    image: Image,
    spread: Array | None,
    model: MRIModel,
    card: Mapping[str, Any],
    task: str,
    absent: dict[str, str],
) -> Interval | None:
    if spread is None:
        return None
    if task not in card.get("calibration", {}):
        absent["interval"] = f"These weights are not calibrated for {task}: `veridical calibrate` needs patients with a truth."
        return None
    steps = getattr(model, "steps", None)
    calibrated = card.get("calibration_steps", steps)
    if steps != calibrated:  # the spread of the draws changes with the steps, so the band would not hold
        absent["interval"] = f"The interval is calibrated for {calibrated} sampler steps; this result took {steps}."
        return None
    calibration = Calibration.from_dict(card["calibration"][task])
    scale = float(np.median([s.scale for s in slices]))
    return interval(image.data, spread, calibration, scale)


def _scope(slices: Sequence[Solved], card: Mapping[str, Any], task: str) -> Finding:
    if task != "reconstruct" or "scope" not in card:
        return Finding("scope", "not_run", f"There is no description of the scans this model knows for {task}.")
    scope = Scope.from_dict(card["scope"])
    return _worst([scope(s.descriptors) for s in slices])


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
