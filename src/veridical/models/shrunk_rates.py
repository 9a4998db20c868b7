"""A patient's own rates of regional change: what his scans say, shrunk towards the population.

A scan's change is the rate times the time, and an error that every scan has of its own. Rates are
Gaussian over the population (`atrophy_rates`), so that the posterior is Gaussian too (Laird and
Ware, Biometrics 1982, 10.2307/2529876). Without an earlier scan it is the population.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from veridical.models.atrophy_rates import NAMES, RegionalRates
from veridical.models.regional_change import RegionalChange

Reals = NDArray[np.float64]

RESCAN = np.array([2.0, 0.5, 1.5, 1.5, 3.0, 0.8, 4.0]) / 100
"""Error that a scan has of its own beyond noise, of the log volume of each region: about what was
left on four simulated patients at 4 mm with T1w and FLAIR.
"""
DRIFT = 0.10
"""Standard deviation by which a rate changes in a year, relative to its own spread and size
(assumed).
"""


@dataclass(frozen=True, eq=False)
class RateCourse:
    """The future of the regions, from the last visit on.

    Args:
        rates: at the last visit, a year.
        acceleration: `(region,)` change of the rates a year.
        drift: `(region,)` standard deviation of a rate's change in a year.
        widening: `(region,)` factor of the standard deviations, from patients whose future is
            known.
    """

    rates: RegionalRates
    acceleration: Reals
    drift: Reals
    widening: Reals = field(default_factory=lambda: np.ones(len(NAMES)))

    def change(self, years: float) -> Reals:
        """Return the expected change of the log volumes `(region,)` after some years."""
        return np.asarray(self.rates.mean * years + self.acceleration * years**2 / 2)

    def covariance(self, years: float) -> Reals:
        """Return the covariance of the change: of the rate, and of how it drifts."""
        wandered = np.diag(self.drift**2 * abs(years) ** 3 / 3)
        wide = np.outer(self.widening, self.widening)
        return np.asarray(wide * (self.rates.covariance * years**2 + wandered))

    def drawn(self, years: float, rng: np.random.Generator, count: int) -> Reals:
        """Return changes `(draw, region)`."""
        root = np.linalg.cholesky(self.covariance(years) + 1e-14 * np.eye(len(NAMES)))
        noise = rng.standard_normal((count, len(NAMES)))
        return np.asarray(self.change(years) + noise @ root.T)

    def later(self, years: float) -> RateCourse:
        """Return the course from a later day on: `change(a + b)` is `change(a)` and then
        `later(a).change(b)`.
        """
        moved = replace(self.rates, mean=self.rates.mean + self.acceleration * years)
        return replace(self, rates=moved)


def shrunk(
    prior: RegionalRates,
    acceleration: Reals,
    years: Sequence[float],
    changes: Sequence[RegionalChange],
) -> RegionalRates:
    """Return the rates at the last visit after earlier scans were looked at.

    Args:
        prior: of the population.
        acceleration: `(region,)` a year.
        years: of each earlier scan, before the last visit: negative.
        changes: of each earlier scan against the last one.
    """
    if not changes:
        return prior
    design, noise, seen = _stacked(acceleration, years, changes)
    inverse = np.linalg.inv(prior.covariance)
    weight = design.T @ np.linalg.inv(noise)
    covariance = np.asarray(np.linalg.inv(inverse + weight @ design), float)
    mean = covariance @ (inverse @ prior.mean + weight @ seen)
    return RegionalRates(mean, covariance)


def unshrunk(
    acceleration: Reals, years: Sequence[float], changes: Sequence[RegionalChange]
) -> RegionalRates:
    """Return the rates that the scans alone say, by weighted least squares; arguments as `shrunk`,
    one earlier scan at least.
    """
    design, noise, seen = _stacked(acceleration, years, changes)
    weight = design.T @ np.linalg.inv(noise)
    covariance = np.asarray(np.linalg.inv(weight @ design), float)
    return RegionalRates(covariance @ (weight @ seen), covariance)


def _stacked(
    acceleration: Reals, years: Sequence[float], changes: Sequence[RegionalChange]
) -> tuple[Reals, Reals, Reals]:
    """Return design `(scan x region, region)`, covariance of the errors and what was seen. The last
    scan's own error is part of every change.
    """
    count, own = len(NAMES), np.diag(RESCAN**2)
    design = np.concatenate([year * np.eye(count) for year in years])
    seen = np.concatenate([
        one.change - acceleration * year**2 / 2 for year, one in zip(years, changes, strict=True)
    ])  # fmt: skip
    noise = np.asarray(np.kron(np.ones((len(years), len(years))), own), float)
    for place, one in enumerate(changes):
        block = slice(place * count, (place + 1) * count)
        noise[block, block] += one.covariance + own
    return design, noise, seen
