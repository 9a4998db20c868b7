"""What goes along with what in a table of patients: rank correlations with intervals and p-values,
corrected for how many were looked at.

Two yes-or-no variables are tested by Fisher's exact test, one of them and a number by that of Mann
and Whitney, two numbers by Spearman's; the effect is Spearman's correlation in all cases (of two
yes-or-no variables the phi coefficient). Missing values leave a patient out of a pair, never in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from veridical.errors import InputError
from veridical.evaluation.statistics import bca, benjamini_hochberg, bootstrap, holm

Reals = NDArray[np.float64]

FEWEST = 8
"""Patients of whom both are known that a pair needs."""


@dataclass(frozen=True)
class Association:
    """Two variables.

    Args:
        first, second: their names.
        n: patients of whom both are known.
        effect: Spearman's correlation; positive where both are larger together.
        low, high: 95 % bootstrap interval over patients; None where there is none.
        p: of one test.
        holm: p-value under Holm's correction for all pairs.
        discovery: p-value under that of Benjamini and Hochberg.
    """

    first: str
    second: str
    n: int
    effect: float
    low: float | None
    high: float | None
    p: float
    holm: float = 1.0
    discovery: float = 1.0

    @property
    def holds(self) -> bool:
        """Whether it is left at 5 % after Holm's correction."""
        return self.holm <= 0.05


def associations(
    table: Mapping[str, Reals],
    pairs: Iterable[tuple[str, str]],
    resamples: int = 2000,
    seed: int = 0,
) -> list[Association]:
    """Return the association of each pair.

    Args:
        table: variable -> `(patient,)`, NaN where not known; yes and no are 1 and 0.
        pairs: of variables.
        resamples: of the bootstrap; 0 makes no intervals.
        seed: of the bootstrap.

    Raises:
        InputError: fewer than 8 patients, or a variable that is the same in all of them.
    """
    found = [_association(table, pair, resamples, seed) for pair in pairs]
    strict = holm([one.p for one in found])
    mild = benjamini_hochberg([one.p for one in found])
    return [
        replace(one, holm=a, discovery=b) for one, a, b in zip(found, strict, mild, strict=True)
    ]


def p_value_of(first: Reals, second: Reals, ties: float = 1.0) -> float:
    """Return the two-sided p-value of one pair.

    Args:
        first, second: `(patient,)` without missing values.
        ties: of two yes-or-no variables, share of the probability of the table itself that counts:
            1 is Fisher's exact test; uniform random numbers make its p-values uniform where nothing
            is associated.
    """
    a, b = (_binary(one) for one in (first, second))
    if a and b:
        return _fisher(first == first.max(), second == second.max(), ties)
    if a or b:
        kind, number = (first, second) if a else (second, first)
        yes = kind == kind.max()
        return float(stats.mannwhitneyu(number[yes], number[~yes]).pvalue)
    return float(stats.spearmanr(first, second).pvalue)


def _association(
    table: Mapping[str, Reals], pair: tuple[str, str], resamples: int, seed: int
) -> Association:
    one, other = (np.asarray(table[name], float) for name in pair)
    known = ~(np.isnan(one) | np.isnan(other))
    one, other = one[known], other[known]
    if len(one) < FEWEST or np.ptp(one) == 0 or np.ptp(other) == 0:
        raise InputError(
            f"{pair[0]} and {pair[1]} are known of {len(one)} patients; expected {FEWEST} or more, "
            "and values that differ. Leave the pair out."
        )
    x, y = (stats.rankdata(values) for values in (one, other))

    def correlation(rows: Reals) -> Reals:
        index = rows.astype(np.intp)
        a, b = x[index], y[index]
        a, b = (part - part.mean(-1, keepdims=True) for part in (a, b))
        with np.errstate(invalid="ignore", divide="ignore"):
            value = (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
        return np.asarray(value)

    order = np.arange(len(x), dtype=float)
    ends = None
    if resamples:
        names = [str(number) for number in range(len(x))]
        ends = bca(bootstrap(order, names, statistic=correlation, resamples=resamples, seed=seed))
    low, high = ends or (None, None)
    effect = float(correlation(order))
    return Association(*pair, len(x), effect, low, high, p_value_of(one, other))


def _binary(values: Reals) -> bool:
    return len(np.unique(values)) == 2


def _fisher(first: NDArray[np.bool_], second: NDArray[np.bool_], ties: float) -> float:
    """Return the probability of tables that are less probable, and of a share of those that are
    as probable.
    """
    both, drawn, marked = int((first & second).sum()), int(first.sum()), int(second.sum())
    counts = np.arange(max(0, drawn + marked - len(first)), min(drawn, marked) + 1)
    chance = stats.hypergeom.pmf(counts, len(first), marked, drawn)
    here = float(chance[counts == both][0])
    alike = np.isclose(chance, here, rtol=1e-7, atol=0)
    less = chance[(chance < here) & ~alike].sum()
    return float(min(1.0, less + ties * chance[alike].sum()))
