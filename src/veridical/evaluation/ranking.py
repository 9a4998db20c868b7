"""Several candidates on the same cases: paired differences with intervals, ranks with their
uncertainty.

Ranks from one test set are as uncertain as the set is small: each resample of patients is ranked
anew (Wiesenfarth et al., Scientific Reports 2021, 10.1038/s41598-021-82017-6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import stats

from veridical.errors import InputError
from veridical.evaluation.statistics import (
    Resamples,
    bca,
    bootstrap,
    holm,
    p_value,
    paired_difference,
)
from veridical.types import Array


@dataclass(frozen=True)
class Difference:
    """`first - second` on one endpoint, over the same cases.

    Args:
        first, second: candidates.
        value: mean difference, positive where the first has the larger value.
        interval: 95 %, BCa over patients, or None.
        p, p_adjusted: two-sided against no difference; by Holm over all pairs.
    """

    first: str
    second: str
    value: float
    interval: tuple[float, float] | None
    p: float
    p_adjusted: float


ALPHA = 0.05
"""Two-sided."""
NEARLY_ALWAYS = 0.9
"""Share of resamples from which being the best looks certain."""


@dataclass(frozen=True)
class Ranking:
    """The candidates in order on one endpoint.

    Args: key: the endpoint. order: from the best. means: candidate -> mean. first: candidate ->
        share of resamples in which it is the best; those who are best together share one. ranks:
        candidate -> 95 % interval of its rank. differences: of every pair. n: patients.
    """

    key: str
    order: tuple[str, ...]
    means: Mapping[str, float]
    first: Mapping[str, float]
    ranks: Mapping[str, tuple[int, int]]
    differences: tuple[Difference, ...]
    n: int

    def alike(self, name: str) -> dict[str, float]:
        """Return the candidates that cannot be told apart from this one, with the corrected p-value
        of the difference.
        """
        pairs = [
            d for d in self.differences if name in (d.first, d.second) and d.p_adjusted > ALPHA
        ]
        return {d.second if d.first == name else d.first: d.p_adjusted for d in pairs}

    def caveat(self, name: str) -> str:
        """Return why a candidate that is the best in nearly every resample is not told apart from
        another; empty where it is.

        Resamples only draw the patients that there are, so that few patients who agree seem
        certain; a test asks what other patients would show.
        """
        others = self.alike(name)
        if not others or self.first[name] < NEARLY_ALWAYS:
            return ""
        pairs = len(self.differences)
        counted = f"{pairs} pair{'' if pairs == 1 else 's'}"
        least = min(1.0, 2 * 0.5**self.n * pairs)
        said = (
            f"{self.key}: {name} is the best in {self.first[name]:.0%} of the resamples of these "
            f"{self.n} patients, yet not "
            f"told apart from {' or '.join(others)}: the share is of these patients, the test asks "
            "about others."
        )
        if least > ALPHA:
            return (
                f"{said} With {self.n} patients and {counted} p cannot be below {least:.2g}; more "
                "patients are needed."
            )
        return (
            f"{said} p is {max(others.values()):.2g} after the correction for {counted}, above "
            f"{ALPHA}."
        )


def rank(
    key: str,
    values: Mapping[str, Array],
    patients: Sequence[str],
    better: Literal["higher", "lower"],
    *,
    strata: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Ranking:
    """Rank candidates by their means, and by their means in every resample of patients.

    Args:
        key: the endpoint.
        values: candidate -> `(n,)`, on the same cases in the same order.
        patients: `(n,)`.
        better: which way is better.
        strata: `(n,)`, a patient's group.
        resamples, seed: of the bootstrap; all candidates share the resamples.

    Raises:
        InputError: fewer than two candidates, or lengths differ.
    """
    names = sorted(values)
    if len(names) < 2 or len({len(values[name]) for name in names}) > 1:
        counts = [len(each) for each in values.values()]
        raise InputError(
            f"{len(names)} candidates with {counts} cases; expected two or more on the same cases."
        )
    drawn = {
        name: bootstrap(np.asarray(values[name]), patients, strata, resamples=resamples, seed=seed)
        for name in names
    }
    sign = -1.0 if better == "higher" else 1.0
    means = {name: drawn[name].observed for name in names}
    ranked = stats.rankdata(
        sign * np.stack([drawn[name].values for name in names]), axis=0, method="min"
    )
    best = ranked == 1
    order = sorted(names, key=lambda name: (sign * means[name], name))
    ends = np.quantile(ranked, (0.025, 0.975), axis=1, method="nearest").astype(int)
    return Ranking(
        key,
        tuple(order),
        means,
        {
            name: float(share)
            for name, share in zip(names, (best / best.sum(axis=0)).mean(axis=1), strict=True)
        },
        {name: (int(ends[0, i]), int(ends[1, i])) for i, name in enumerate(names)},
        _differences(order, drawn),
        len(set(patients)),
    )


def _differences(order: Sequence[str], drawn: Mapping[str, Resamples]) -> tuple[Difference, ...]:
    pairs = list(combinations(order, 2))
    found = [paired_difference(drawn[a], drawn[b]) for a, b in pairs]
    raw = [
        min(1.0, 2 * min(p_value(one, 0.0, "higher"), p_value(one, 0.0, "lower"))) for one in found
    ]
    return tuple(
        Difference(a, b, one.observed, bca(one), p, adjusted)
        for (a, b), one, p, adjusted in zip(pairs, found, raw, holm(raw), strict=True)
    )
