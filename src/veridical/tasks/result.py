"""A drawn volume becomes a result: units, intervals, evidence and findings, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from scipy import stats

from veridical.audit.describe_image import describe_image
from veridical.audit.interval import Calibration, interval
from veridical.audit.pathology import pathology
from veridical.audit.scope import Scope
from veridical.models.base import ImageModel
from veridical.tasks.imagewise import Drawn, Plan
from veridical.tasks.view import View, scale
from veridical.types import Array, Evidence, Finding, Image, Interval, Result, Verdict

ABOUT = (
    "each voxel's value: one minus the variance of the draws over the variance that such values have over the object in "
    "training images, before anything of this patient is known"
)
LIMITS = (1.5, 3.0)
"""What was changed, over what was expected to be wrong: at most the first passes, above the second fails."""
ORDER: tuple[Verdict, ...] = ("not_run", "pass", "warn", "fail")
DESCRIBED = 9
"""Slices of a volume that scope looks at."""
Which = Literal["mean", "draw"]


def widenings(card: Mapping[str, Any], plan: Plan) -> dict[str, float]:
    """Return by how much the spread of each calibrated channel's draws must grow; others are left out."""
    found = {}
    for name in plan.wanted:
        stored = card.get("calibration", {}).get(key(plan, name))
        if stored:
            calibration = Calibration.from_dict(stored)
            found[name] = calibration.multiplier / float(stats.norm.ppf(0.5 + calibration.level / 2))
    return found


def key(plan: Plan, channel: str) -> str:
    """Return under which name a card holds the calibration of a job for a channel: `complete-FLAIR`, `enhance-noise`."""
    return f"{plan.job}-{plan.degraded[channel].kind}" if channel in plan.degraded else f"{plan.job}-{channel}"


def assemble(
    drawn: Drawn, view: View, plan: Plan, subject: Image, model: ImageModel, card: Mapping[str, Any], which: Which = "mean",
    lesions: Array | None = None,
) -> Result:  # fmt: skip
    """Put a drawn volume back onto the grid of the subject with its companions.

    Args:
        drawn: from `imagewise.solve`.
        view: that was solved.
        plan: what was asked.
        subject: gives the grid and, where the channel was measured, the units.
        model: that solved it.
        card: of its weights.
        which: estimate: the mean of the draws, or the first draw, which has the texture of one image.
        lesions: mask on the subject's grid, or None.
    """
    scales = np.array([view.scales.get(name) or scale_unseen(name) for name in plan.wanted], np.float32)
    sized = scales[:, None, None, None]
    estimate = drawn.mean if which == "mean" else drawn.draws[0].astype(np.float32)
    each = units(plan, subject)
    image = Image(
        np.ascontiguousarray(view.restore(estimate * sized), np.float32), subject.geometry,
        each[plan.wanted[0]] if len(set(each.values())) == 1 else "mixed", plan.wanted,
        {"scale": {n: float(s) for n, s in zip(plan.wanted, scales, strict=True)}, "units": each},
    )  # fmt: skip
    many = drawn.spread is not None
    absent: dict[str, str] = {}
    if not many:
        absent["draws"] = absent["interval"] = absent["evidence"] = (
            "One draw has no spread; ask for 2 or more draws."
            if model.stochastic
            else f"{model.name} gives one estimate; ask a sampler (brain-prior) for 2 or more draws."
        )
    draws = np.multiply(view.restore(drawn.draws), sized, dtype=np.float32, order="C") if many else None
    found = view.restore(drawn.evidence).astype(np.float32) if drawn.evidence is not None else None
    band = _interval(drawn, view, plan, image, model, card, scales, absent)
    body = view.restore(drawn.support)
    findings = (
        *_agreement(drawn, plan),
        _scope(view, plan, card),
        *_pathology(image, view, plan, found, lesions, body, abs(float(np.linalg.det(subject.geometry.affine[:3, :3])))),
    )
    kind = (
        ("posterior mean" if which == "mean" else "one draw") if many else "one draw" if model.stochastic else "point estimate"
    )
    about = Evidence(found, None, None, "" if found is None else ABOUT)
    return Result(image, kind, draws, band, about, findings, (), absent)


def scale_unseen(name: str) -> float:
    """Return what one network unit of a channel that was not measured is: 1000 HU, 5 SUV, else 1 (arbitrary units)."""
    return scale(name, np.ones(1)) if name in ("CT", "PET") else 1.0


def units(plan: Plan, subject: Image) -> dict[str, str]:
    """Return the units of each channel of the result: as measured; where it was not, HU for CT, SUV for PET, else a.u."""
    unseen = {"CT": "HU", "PET": "SUV"}
    return {n: subject.units_of(n) if n in subject.channels else unseen.get(n, "a.u.") for n in plan.wanted}


def _interval(
    drawn: Drawn, view: View, plan: Plan, image: Image, model: ImageModel, card: Mapping[str, Any], scales: Array,
    absent: dict[str, str],
) -> Interval | None:  # fmt: skip
    if drawn.spread is None:
        return None
    stored = {name: card.get("calibration", {}).get(key(plan, name)) for name in plan.wanted}
    missing = [key(plan, name) for name, found in stored.items() if not found]
    if missing:
        absent["interval"] = (
            f"These weights are not calibrated for {', '.join(missing)}: `veridical calibrate` needs patients with a truth."
        )
        return None
    steps, calibrated = getattr(model, "steps", None), card.get("calibration_steps")
    if calibrated is not None and steps != calibrated:
        absent["interval"] = f"The interval is calibrated for {calibrated} sampler steps; this result took {steps}."
        return None
    bands = []
    for k, name in enumerate(plan.wanted):
        spread = view.restore(drawn.spread[k : k + 1] * scales[k])
        centre = view.restore(drawn.mean[k : k + 1] * scales[k])
        bands.append(interval(centre, spread, Calibration.from_dict(stored[name]), float(scales[k])))
    least = min(bands, key=lambda band: band.patients)
    lower, upper = (np.concatenate([getattr(b, side) for b in bands]).astype(np.float32) for side in ("lower", "upper"))
    how = "; ".join(dict.fromkeys(b.method for b in bands))
    return Interval(lower, upper, least.level, least.patients, how, least.promises)


def _agreement(drawn: Drawn, plan: Plan) -> list[Finding]:
    if not plan.degraded:
        reason = "Nothing measured was changed; consistency says nothing of channels that were not measured."
        return [Finding("consistency", "pass", reason, {"changed": 0.0})]
    name, ratio = max(drawn.residual.items(), key=lambda pair: pair[1])
    verdict: Verdict = "pass" if ratio <= LIMITS[0] else "warn" if ratio <= LIMITS[1] else "fail"
    reason = f"{name} was changed by {ratio:.2f} times what was expected to be wrong with it (up to {LIMITS[0]} passes)."
    return [Finding("consistency", verdict, reason, {"changed_over_expected": ratio})]


def _scope(view: View, plan: Plan, card: Mapping[str, Any]) -> Finding:
    stored = card.get("scope_images", {})
    known = [name for name in (*plan.measured, *plan.relook) if name in stored]
    if not known:
        return Finding("scope", "not_run", "There is no description of the images this model knows for the channels given.")
    found = []
    for name in known:
        judge = Scope.from_dict(stored[name])
        chosen = np.linspace(0.3, 0.7, DESCRIBED) * (view.shape[0] - 1)
        every = [describe_image(view.images[name][int(i)]) for i in sorted(set(np.round(chosen)))]
        finding = judge({n: float(np.median([e[n] for e in every])) for n in every[0]})
        found.append(Finding("scope", finding.verdict, f"{name}: {finding.reason}", finding.evidence))
    return max(found, key=lambda f: ORDER.index(f.verdict))


def _pathology(
    image: Image, view: View, plan: Plan, evidence: Array | None, lesions: Array | None, body: Array, voxel: float
) -> list[Finding]:
    found = []
    for k, name in enumerate(plan.wanted):
        measured = view.restore(view.images[name]) * view.scales[name] if name in view.images else None
        one = pathology(image.data[k], measured, None if evidence is None else evidence[k], lesions, body, voxel)
        found.append(Finding(one.check, one.verdict, f"{name}: {one.reason}", one.evidence))
    return found
