"""Brightness: is the result as bright as what was measured?"""

from __future__ import annotations

import numpy as np

from veridical.types import Finding, Image, Result, Study

LIMIT = 0.2
"""Change of the mean up to which it passes."""


def brightness(study: Study, result: Result) -> Finding | None:
    """Compare the means of channels that were measured and are in the result; None where there is
    none.
    """
    measured = {
        n: i for visit in study.visits.values() for n, i in visit.items() if isinstance(i, Image)
    }
    both = [name for name in result.image.channels if name in measured]
    if not both:
        return None
    change = max(abs(float(np.mean(result.image[n]) / np.mean(measured[n].data)) - 1) for n in both)
    reason = f"The mean of {', '.join(both)} changed by {change:.0%} (up to {LIMIT:.0%} passes)."
    return Finding("brightness", "pass" if change <= LIMIT else "warn", reason, {"change": change})
