"""Age effect: do the amounts of tissue of a group still change with age as they did before their
intensity style was changed?

The slope of each tissue class's share against age, before and after, and the slope of each
patient's change: that one is paired, so it sees a lost effect long before the two slopes differ by
their own errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from veridical.audit.biology import CLASSES
from veridical.errors import InputError
from veridical.types import Array, Finding, Verdict

CHANGED = (0.2, 0.5)
"""Share of an age effect that may be lost or added: at most the first passes, above the second,
beyond chance, fails.
"""
LEAST = 5
"""Patients without whom nothing is said."""
LEVEL = 0.95


@dataclass(frozen=True)
class Effect:
    """Slopes of one amount against age, a decade, with their intervals of 95 %; `change` is that of
    after minus before.
    """

    before: float
    before_interval: tuple[float, float]
    after: float
    after_interval: tuple[float, float]
    change: float
    change_interval: tuple[float, float]

    @property
    def kept(self) -> float:
        """Slope after over slope before."""
        return self.after / self.before

    @property
    def verdict(self) -> Verdict:
        """Whether an effect that was there is there still."""
        size = abs(self.kept - 1)
        if size <= CHANGED[0]:
            return "pass"
        return "fail" if size > CHANGED[1] and clear(self.change_interval) else "warn"


def age_effect(ages: Array, before: Array, after: Array, names: Sequence[str] = CLASSES) -> Finding:
    """Compare how amounts depend on age.

    Args:
        ages: `(patient,)`, years.
        before, after: `(patient, class)`, shares; one row a patient.
        names: of the classes.

    Returns: A finding on the class whose effect, clear before, is kept worst; its evidence holds
        the `Effect` of every class.

    Raises:
        InputError: shapes that do not fit.
    """
    if before.shape != after.shape or before.shape != (len(ages), len(names)):
        raise InputError(
            f"{len(ages)} ages, amounts {before.shape} and {after.shape}, {len(names)} names; "
            "expected a row for each age "
            "and a column for each name."
        )
    if len(ages) < LEAST or np.ptp(ages) == 0:
        reason = (
            f"{len(ages)} patients of known age; an age effect takes {LEAST}, not all of one age."
        )
        return Finding("age_effect", "not_run", reason)
    effects = {
        name: effect(np.asarray(ages), before[:, k], after[:, k]) for k, name in enumerate(names)
    }
    numbers = {"patients": len(ages), **{name: asdict(one) for name, one in effects.items()}}
    seen = {name: one for name, one in effects.items() if clear(one.before_interval)}
    if not seen:
        made = [
            n
            for n, one in effects.items()
            if clear(one.after_interval) and clear(one.change_interval)
        ]
        if made:
            reason = (
                f"An age effect on the share of {made[0]} tissue appeared that the images before "
                "do not show."
            )
            return Finding("age_effect", "warn", reason, numbers)
        return Finding(
            "age_effect",
            "not_run",
            f"The {len(ages)} patients show no age effect that could be lost.",
            numbers,
        )
    name, least = max(seen.items(), key=lambda pair: abs(pair[1].kept - 1))
    reason = (
        f"In {len(ages)} patients the share of {name} tissue changed with age by "
        f"{least.before:+.2%} a decade before, by "
        f"{least.after:+.2%} after: {least.kept:.0%} of the effect ({1 - CHANGED[0]:.0%} to "
        f"{1 + CHANGED[0]:.0%} passes)."
    )
    return Finding("age_effect", least.verdict, reason, numbers)


def effect(ages: Array, before: Array, after: Array) -> Effect:
    """Return the slopes of an amount `(patient,)` against age in years: least squares, intervals by
    Student's t.
    """
    from scipy import stats  # takes half a second to load

    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(ages) - 2))
    fits = [stats.linregress(ages / 10, amount) for amount in (before, after, after - before)]
    slopes = [float(fit.slope) for fit in fits]
    bands = [
        (at - half * float(fit.stderr), at + half * float(fit.stderr))
        for at, fit in zip(slopes, fits, strict=True)
    ]
    return Effect(slopes[0], bands[0], slopes[1], bands[1], slopes[2], bands[2])


def clear(interval: tuple[float, float]) -> bool:
    """Say whether an interval leaves zero out."""
    return interval[0] > 0 or interval[1] < 0
