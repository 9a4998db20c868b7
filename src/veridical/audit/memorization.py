"""Memorization: is a synthetic head nearer to one that the generator learned from than real heads
are to one another?
"""

from __future__ import annotations

from veridical.types import Finding, Result, Study, Verdict

NAME = "memorization"


def memorization(study: Study, result: Result) -> Finding | None:
    """Compare the distance that the task noted with those between the training heads; None where it
    noted none.
    """
    known = result.facts.get("nearest_head")
    if known is None:
        return None
    verdict: Verdict = "pass" if known["distance"] >= known["least"] else "warn"
    compared = (
        f"it is {known['distance']:.3f} from {known['name']}, the nearest of the heads that the "
        f"generator learned from (1 minus the mean Dice of structures at 4 mm); real heads are "
        f"{known['usual']:.3f} from one another, the nearest two {known['least']:.3f}"
    )
    if verdict == "pass":
        return Finding(NAME, verdict, f"No real head: {compared}.", dict(known))
    reason = (
        f"This may be a real head: {compared}. Do not share it as synthetic; take another seed."
    )
    return Finding(NAME, verdict, reason, dict(known))
