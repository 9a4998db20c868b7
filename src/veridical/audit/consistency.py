"""Consistency: does the image reproduce what was measured, to within the noise?

It sees what A sees and nothing else: a structure in the null space of A can neither fail nor pass
it. Evidence says where that is. The mathematics is in `residual`, and for images of other
generators, of which nothing is known but the raw data, in `raw_data`.
"""

from __future__ import annotations

from dataclasses import replace

from veridical.audit.inputs import images, of_slices, scan
from veridical.audit.raw_data import ABSOLUTE, Held, held_against, inconsistent_mask
from veridical.errors import VeridicalError
from veridical.types import Finding, Image, Measurement, Result, Study, Verdict

NAME = "consistency"
LIMITS = (1.5, 3.0)
"""What was changed, over what was expected to be wrong: at most the first passes, above the second
fails.
"""


def consistency(study: Study, result: Result) -> Finding | None:
    """Judge the residuals that the solver noted: `misfit`, one a slice, or `changed`, channel by
    channel. Where it noted none and there are raw data, hold the image against them.
    """
    misfits, changed = result.facts.get("misfit", ()), result.facts.get("changed", {})
    if misfits:
        return of_slices([misfit.finding(NAME) for misfit in misfits])
    if changed:
        channel, ratio = max(changed.items(), key=lambda pair: pair[1])
        verdict: Verdict = (
            "pass" if ratio <= LIMITS[0] else "warn" if ratio <= LIMITS[1] else "fail"
        )
        reason = (
            f"{channel} was changed by {ratio:.2f} times what was expected to be wrong with it (up "
            f"to {LIMITS[0]} passes)."
        )
        return Finding(NAME, verdict, reason, {"changed_over_expected": float(ratio)})
    raw = scan(study)
    if raw is not None:
        return _against_raw(result.image, raw)
    return Finding(NAME, "not_run", _why_not(study, result))


def _against_raw(image: Image, raw: Measurement) -> Finding:
    """Hold an image from any generator against raw data, slice by slice."""
    contradiction = inconsistent_mask(raw)
    if contradiction:
        reason = f"The mask is not that of the raw data: {contradiction}."
        return Finding(NAME, "fail", f"{reason} An image made with it is wrong.")
    name = str(raw.header.get("contrast"))
    shown = image.channel(name if name in image.channels else image.channels[0])
    try:
        held = list(held_against(shown, raw))
    except VeridicalError as error:
        return Finding(NAME, "not_run", f"It cannot be held against the raw data. {error}")
    return of_slices([_finding(one, shown) for one in held])


def _finding(held: Held, image: Image) -> Finding:
    """Return what one slice says."""
    found = held.misfit.finding(NAME)
    fitted = "" if image.units in ABSOLUTE else f" at the least-squares scale of {held.scale:.3g}"
    reason = (
        f"Held against the raw data{fitted}: {found.reason} {held.unmeasured:.1%} of the image's "
        "energy lies in the null space of the operator."
    )
    known = {"scale": held.scale, "null_space_share": held.unmeasured, "null": held.null}
    return replace(found, reason=reason, evidence={**found.evidence, **known})


def _why_not(study: Study, result: Result) -> str:
    measured = images(study, result)
    if not measured and scan(study) is None:
        return "Nothing was measured, so there is nothing that the image could be held against."
    if not set(measured) & set(result.image.channels) and measured:
        made = ", ".join(result.image.channels)
        return (
            f"{made} was not measured; consistency says nothing of channels that were not measured."
        )
    return "This method notes no residual, so what it changed was not held against the noise."
