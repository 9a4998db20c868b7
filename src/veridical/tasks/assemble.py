"""From what a model found to a result with its companions: the one assembler of all tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from veridical.audit.interval import Calibration, interval
from veridical.models.base import Model
from veridical.types import Array, Evidence, Geometry, Image, Interval, Result

NOT_CALIBRATED = (
    "These weights are not calibrated for {}: `veridical calibrate` needs patients with a truth."
)


@dataclass(frozen=True, eq=False)
class Solution:
    """What a model found of a volume: arrays `(channel, slice, y, x)` in the units of the result;
    None where there is none.

    Args:
        estimate: of every channel.
        channels: their names.
        units: of each channel.
        scales: what one network unit of each channel is, in its units.
        jobs: name of each channel's calibration in the card: `reconstruct-mri`, `complete-FLAIR`.
        kind: which estimate it is, see `Result`.
        draws: `(draw, channel, slice, y, x)`.
        spread: standard deviation of the draws, not calibrated.
        evidence: in [0, 1].
        measured, unmeasured: parts that sum to the estimate.
        about: what the evidence is about, where it is not the voxel as it is.
        unbelievable: why the spread must not become an interval; empty where it may.
        facts: for the audits, see `Result`.
    """

    estimate: Array
    channels: tuple[str, ...]
    units: tuple[str, ...]
    scales: tuple[float, ...]
    jobs: tuple[str, ...]
    kind: str
    draws: Array | None = None
    spread: Array | None = None
    evidence: Array | None = None
    measured: Array | None = None
    unmeasured: Array | None = None
    about: str = ""
    unbelievable: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def assemble(
    found: Solution, geometry: Geometry, restore: Callable[[Array], Array], model: Model
) -> Result:
    """Put a solution onto the grid of the result.

    Args:
        found: the solution.
        geometry: of the result.
        restore: turns `(..., slice, y, x)` into `(..., x, y, z)` of that grid.
        model: that found it.
    """

    def placed(array: Array | None) -> Array | None:
        return None if array is None else np.ascontiguousarray(restore(array), np.float32)

    each = dict(zip(found.channels, found.units, strict=True))
    units = found.units[0] if len(set(found.units)) == 1 else "mixed"
    scales = {name: float(scale) for name, scale in zip(found.channels, found.scales, strict=True)}
    data = np.ascontiguousarray(restore(found.estimate), np.float32)
    image = Image(data, geometry, units, found.channels, {"scale": scales, "units": each})
    absent: dict[str, str] = {}
    if found.draws is None:
        absent["draws"] = absent["interval"] = (
            "One draw has no spread; ask for --draws 2 or more."
            if model.stochastic
            else f"{model.name} gives one estimate; a sampler (denoiser, generator) has draws."
        )
    if found.evidence is None:
        absent["evidence"] = (
            f"{model.name} was not asked for several draws of a prior, so no variances can be "
            "compared."
        )
    if found.unbelievable:
        absent["interval"] = absent["evidence"] = found.unbelievable
    band = _interval(found, data, placed(found.spread), model, absent)
    evidence = None if found.unbelievable else placed(found.evidence)
    parts = Evidence(
        evidence,
        placed(found.measured),
        placed(found.unmeasured),
        "" if evidence is None else found.about,
    )
    facts = {"card": model.card, **found.facts}
    return Result(image, found.kind, placed(found.draws), band, parts, (), (), absent, facts)


def calibrations(model: Model, jobs: tuple[str, ...]) -> list[Calibration] | None:
    """Return the calibration of each job for this model as it is set; None where one is missing."""
    stored = [model.card.get("calibration", {}).get(job) for job in jobs]
    return [Calibration.from_dict(one) for one in stored] if all(stored) else None


def spread_factors(model: Model, jobs: tuple[str, ...]) -> list[float]:
    """Return by how much the spread of the draws must grow to be calibrated, for each job; 1 where
    that is not known.
    """
    known = calibrations(model, jobs)
    return (
        [1.0] * len(jobs) if known is None else [calibration.spread_factor for calibration in known]
    )


def _interval(
    found: Solution, data: Array, spread: Array | None, model: Model, absent: dict[str, str]
) -> Interval | None:
    if spread is None or found.unbelievable:
        return None
    known = calibrations(model, found.jobs)
    if known is None:
        missing = [job for job in found.jobs if job not in model.card.get("calibration", {})]
        absent["interval"] = NOT_CALIBRATED.format(", ".join(missing))
        return None
    steps, calibrated = getattr(model, "steps", None), model.card.get("calibration_steps")
    if calibrated is not None and steps != calibrated:
        absent["interval"] = (
            f"The interval is calibrated for --steps {calibrated}; this result took {steps}."
        )
        return None
    pairs = zip(found.channels, known, strict=True)
    if unheld := [f"{name}: {one.unheld}" for name, one in pairs if one.unheld]:
        absent["interval"] = f"A band that does not hold is not written. {'; '.join(unheld)}."
        return None
    bands = [
        interval(data[k : k + 1], spread[k : k + 1], calibration, found.scales[k])
        for k, calibration in enumerate(known)
    ]
    least = min(bands, key=lambda band: band.patients)
    lower, upper = (
        np.concatenate([getattr(b, side) for b in bands]).astype(np.float32)
        for side in ("lower", "upper")
    )
    how = "; ".join(dict.fromkeys(band.method for band in bands))
    return Interval(lower, upper, least.level, least.patients, how, least.promises)
