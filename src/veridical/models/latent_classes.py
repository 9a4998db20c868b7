"""Latent classes: patients of a few hidden kinds, within which yes-or-no variables and an age do
not depend on one another.

Lazarsfeld and Henry, Latent structure analysis, 1968; fitted by expectation-maximization (Dempster,
Laird and Rubin 1977, 10.1111/j.2517-6161.1977.tb01600.x) with priors that shrink every class
towards all patients. A missing value is left out of the likelihood, so that none is ever filled in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veridical.errors import InputError

Reals = NDArray[np.float64]

SHRINKAGE = 1.0
"""Patients like all others that are added to each class; chosen by cross-validation."""
STARTS, STEPS, CLOSE = 4, 400, 1e-6
"""Random starts of a fit, its most steps, and the change of the log likelihood a patient at which
it ends.
"""


@dataclass(frozen=True, eq=False)
class LatentClasses:
    """A fit.

    Args:
        shares: `(class,)` of the patients.
        rates: `(class, variable)` how often a variable is true.
        age: `(class,)` mean, years.
        spread: `(class,)` standard deviation of the age, years.
    """

    shares: Reals
    rates: Reals
    age: Reals
    spread: Reals

    def log_likelihood(self, values: Reals, ages: Reals) -> Reals:
        """Return the log likelihood of patients in each class `(patient, class)`, shares included.

        Args:
            values: `(patient, variable)` 1, 0 or NaN where it is not known.
            ages: `(patient,)` years or NaN.
        """
        yes, no = np.nan_to_num(values), np.nan_to_num(1 - values)
        found = np.log(self.shares) + yes @ np.log(self.rates).T + no @ np.log1p(-self.rates).T
        z = (ages[:, None] - self.age) / self.spread
        return np.asarray(found + np.nan_to_num(-0.5 * z**2 - np.log(self.spread)))

    def responsibilities(self, values: Reals, ages: Reals) -> Reals:
        """Return the probability of each class `(patient, class)`; arguments as above."""
        return _normalized(self.log_likelihood(values, ages))


def refitted(
    fit: LatentClasses, values: Reals, ages: Reals, shrinkage: float = SHRINKAGE
) -> LatentClasses:
    """Return the fit of other patients that is reached from a fit; arguments as `fitted`."""
    return _ascended(values, ages, fit.responsibilities(values, ages), shrinkage)[0]


def fitted(
    values: Reals, ages: Reals, classes: int, seed: int, shrinkage: float = SHRINKAGE
) -> LatentClasses:
    """Return the best of several fits.

    Args:
        values: `(patient, variable)` 1, 0 or NaN where it is not known.
        ages: `(patient,)` years or NaN.
        classes: how many.
        seed: of the starts.
        shrinkage: patients like all others that are added to each class.

    Raises:
        InputError: fewer patients than 10 a class, or a variable that is known of nobody.
    """
    if len(values) < 10 * classes or np.isnan(values).all(0).any() or np.isnan(ages).all():
        raise InputError(
            f"{len(values)} patients for {classes} classes; expected 10 for each at least, and "
            "some of whom each variable is known. Take fewer classes, or leave the variable out."
        )
    rng = np.random.default_rng(seed)
    starts = [rng.dirichlet(np.full(classes, 0.5), len(values)) for _ in range(STARTS)]
    tried = [_ascended(values, ages, start, shrinkage) for start in starts]
    return max(tried, key=lambda one: one[1])[0]


def _ascended(
    values: Reals, ages: Reals, belongs: Reals, shrinkage: float
) -> tuple[LatentClasses, float]:
    """Return the fit that is reached from shares `(patient, class)`, and its log likelihood."""
    reached = -np.inf
    for _ in range(STEPS):
        fit = _maximized(values, ages, belongs, shrinkage)
        logs = fit.log_likelihood(values, ages)
        belongs, before = _normalized(logs), reached
        reached = float(np.logaddexp.reduce(logs, 1).sum())
        if reached - before < CLOSE * len(values):
            break
    return fit, reached


def _maximized(values: Reals, ages: Reals, belongs: Reals, shrinkage: float) -> LatentClasses:
    """Return the fit to patients that belong to the classes by shares `(patient, class)`."""
    seen, old = ~np.isnan(values), ~np.isnan(ages)
    everyone = (np.nan_to_num(values).sum(0) + 0.5) / (seen.sum(0) + 1)
    true = belongs.T @ np.nan_to_num(values) + shrinkage * everyone
    rates = true / (belongs.T @ seen + shrinkage)
    weight, known = belongs[old], ages[old]
    count = weight.sum(0) + shrinkage
    age = (weight.T @ known + shrinkage * known.mean()) / count
    squares = (weight * (known[:, None] - age) ** 2).sum(0) + shrinkage * known.var()
    shares = belongs.sum(0) + shrinkage
    return LatentClasses(shares / shares.sum(), rates, age, np.sqrt(squares / count))


def _normalized(logs: Reals) -> Reals:
    likely = np.exp(logs - logs.max(1, keepdims=True))
    return np.asarray(likely / likely.sum(1, keepdims=True))
