"""Consistency: does the image reproduce what was measured, to within the noise?

It sees what A sees and nothing else: a structure in the null space of A can neither fail nor pass
it. Evidence says where that is. The mathematics is in `residual`.
"""

from __future__ import annotations

from veridical.audit.inputs import images, of_slices, scan
from veridical.types import Finding, Result, Study, Verdict

NAME = "consistency"
LIMITS = (1.5, 3.0)
"""What was changed, over what was expected to be wrong: at most the first passes, above the second
fails.
"""


def consistency(study: Study, result: Result) -> Finding | None:
    """Judge the residuals that the solver noted: `misfit`, one a slice, or `changed`, channel by
    channel.
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
    return Finding(NAME, "not_run", _why_not(study, result))


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
