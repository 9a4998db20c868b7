"""The twin of a patient: it is told scans and treatment, forecasts with intervals, chooses among
treatments and scan days under a stated objective, and says when model and patient have parted.

With simulated patients in place of real ones it is an in-silico twin testbed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from veridical.errors import SettingError
from veridical.models.world import (
    Belief,
    Brain,
    Observed,
    WorldModel,
    ball,
    probability,
    volumes,
)
from veridical.physics.treatment import Treatment

Reals = NDArray[np.float64]

HORIZON, STEP = 730.0, 20.0
"""Days until which a treatment is judged, and steps in which."""
CAUTION = 0.0
"""Weight of the standard deviation in the objective: 0 is neutral to risk."""


@dataclass(frozen=True, eq=False)
class Fan:
    """A forecast.

    Args:
        days: since the first scan.
        enhancing, visible: `(member, day)` ml.
    """

    days: Reals
    enhancing: Reals
    visible: Reals

    def interval(self, level: float, what: str = "visible") -> tuple[Reals, Reals]:
        """Return the ends of the central interval on each day, ml."""
        values = getattr(self, what)
        tail = (1 - level) / 2
        return np.quantile(values, tail, axis=0), np.quantile(values, 1 - tail, axis=0)

    def median(self, what: str = "visible") -> Reals:
        """Return the median on each day, ml."""
        return np.asarray(np.median(getattr(self, what), axis=0))


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Args:
        name: of the best option.
        values: name of each option -> expected objective, days.
        spread: name -> standard deviation of the objective, days.
        objective: in words.
    """

    name: str
    values: Mapping[str, float]
    spread: Mapping[str, float]
    objective: str


@dataclass(frozen=True, eq=False)
class Twin:
    """The twin of a patient.

    Args:
        model: the world model.
        belief: about the patient, on the day of the last scan.
        scans: all that it was told.
    """

    model: WorldModel
    belief: Belief
    scans: tuple[Observed, ...]

    @classmethod
    def begun(
        cls,
        model: WorldModel,
        first: Observed,
        brain: Brain,
        genes: Mapping[str, str] | None = None,
    ) -> Twin:
        """Return the twin of a patient after the first scan."""
        return cls(model, model.encode([first], brain, Treatment(), genes), (first,))

    def told(self, scan: Observed, treatment: Treatment) -> Twin:
        """Return the twin after another scan.

        Args:
            scan: after the last one.
            treatment: all that was done until then, and may be planned beyond.

        Raises:
            SettingError: the scan is not after the last one.
        """
        if scan.day <= self.belief.day:
            raise SettingError(
                f"A scan of day {scan.day:g} was given after one of day {self.belief.day:g}; "
                "expected scans in order, each on a day of its own."
            )
        belief = self.model.observed(self.belief, treatment, scan)
        return replace(self, belief=belief, scans=(*self.scans, scan))

    def forecast(self, treatment: Treatment, days: Sequence[float]) -> Fan:
        """Return what is expected on some days, in order, under a treatment."""
        radii = self.model.rollout(self.belief, treatment, days)
        return Fan(np.asarray(days, float), volumes(radii[..., 0]), volumes(radii[..., 1]))

    def choose(
        self, options: Sequence[Treatment], horizon: float = HORIZON, caution: float = CAUTION
    ) -> Choice:
        """Return the option with the longest expected time to progression.

        Args:
            options: whole treatments: what was done, and what would be.
            horizon: days since the first scan; who has not progressed by then counts with it.
            caution: standard deviations that are taken off the expectation.
        """
        days = np.arange(self.belief.day + STEP, horizon + STEP / 2, STEP)
        first = self.scans[0].extent.visible
        means, spreads = {}, {}
        for option in options:
            fan = self.forecast(option, list(days))
            times = np.array([progression(fan.days, one, first) for one in fan.visible])
            means[option.name], spreads[option.name] = float(times.mean()), float(times.std())
        worth = {name: means[name] - caution * spreads[name] for name in means}
        said = (
            f"expected days until more is visible than at the first scan, {horizon:g} at most"
            + (f", less {caution:g} standard deviations" if caution else "")
        )
        return Choice(max(worth, key=lambda name: worth[name]), means, spreads, said)

    def next_scan(self, treatment: Treatment, days: Sequence[float], target: float) -> Choice:
        """Return the day of a scan that is expected to tell most about the visible radius on a
        later day; the values are the standard deviation that would be left, mm.

        The expectation is that of a linear Gaussian update: no scan is imagined.

        Args:
            treatment: from now on.
            days: to choose among, in order.
            target: day that is forecast, after all of them.
        """
        radii = self.model.rollout(self.belief, treatment, [*days, target])
        goal, left = radii[:, -1, 1], {}
        for place, day in enumerate(days):
            shown = radii[:, place]
            error = [max(0.02 * float(r), 0.3) for r in shown.mean(0)]
            spread = np.cov(shown.T) + np.diag(np.square(error))
            cross = np.array([np.cov(shown[:, n], goal)[0, 1] for n in range(2)])
            gained = float(cross @ np.linalg.solve(spread, cross))
            left[f"day {day:g}"] = float(np.sqrt(max(goal.var(ddof=1) - gained, 0.0)))
        said = f"standard deviation of the visible radius on day {target:g} that is left, mm"
        best = min(left, key=lambda name: left[name])
        return Choice(best, left, dict.fromkeys(left, 0.0), said)

    @property
    def alarm(self) -> str:
        """Why model and patient are held to have parted; empty while they have not."""
        if not self.belief.alarm:
            return ""
        day, p = min(self.belief.surprises.items(), key=lambda item: item[1])
        return (
            f"The scan of day {day:g} was as improbable as {p:.2g} under the model. Intervals were "
            "widened; treat forecasts with distrust, and look for what the model leaves out."
        )


def progression(days: Reals, visible: Reals, first: float) -> float:
    """Return the day from which on more is visible than at first, for good, between two days by
    interpolation of radii; the last day where that never comes.

    Args:
        days: in order.
        visible: `(day,)` ml.
        first: ml.
    """
    above = visible > first
    if not above[-1]:
        return float(days[-1])
    start = len(above) - int(np.argmin(above[::-1])) if not above.all() else 0
    if start == 0:
        return float(days[0])
    low, high, wanted = ball(visible[start - 1]), ball(visible[start]), ball(first)
    share = (wanted - low) / max(high - low, 1e-9)
    return float(days[start - 1] + share * (days[start] - days[start - 1]))


__all__ = [
    "Belief", "Brain", "Choice", "Fan", "Observed", "Twin", "WorldModel", "probability",
    "progression",
]  # fmt: skip
