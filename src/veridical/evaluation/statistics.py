"""Intervals and p-values over patients: bias-corrected bootstrap, corrections for many comparisons.

The patient is the unit: all cases of a drawn patient come along, and patients are drawn within
their stratum (site). How often the intervals hold what they promise, by the number of patients, is
measured by benchmarks/bootstrap_coverage.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from veridical.errors import InputError, SettingError
from veridical.types import Array

BLOCK = 4_000_000
"""Most numbers drawn at a time."""
MOST_UNDEFINED = 0.05
"""Share of resamples without a finite value beyond which there is no interval."""
FARTHEST = 8.0
"""Standard deviations beyond which no bound is looked for."""
SAME = "No interval: every sample of these patients gives the same value."
Statistic = Callable[[Array], Array]
"""Reduces the last axis of an array `(..., n)`."""


@dataclass(frozen=True, eq=False)
class Resamples:
    """A statistic and what the bootstrap says of it.

    Args: observed: over all cases. values: over each resample of patients; not finite where the
        statistic is not defined. influence: `(patients,)`, how much it falls when a patient is left
        out, less the mean of that over the stratum. strata: from which patients were drawn.
    """

    observed: float
    values: Array
    influence: Array
    strata: int = 1

    @property
    def finite(self) -> Array:
        """The resamples in which the statistic is defined, sorted."""
        return np.sort(self.values[np.isfinite(self.values)])

    @property
    def absent(self) -> str:
        """Why there is no interval; empty where there is one."""
        if len(self.influence) < 2:
            return "One patient: an interval needs at least two."
        if not np.isfinite(self.observed) or np.mean(~np.isfinite(self.values)) > MOST_UNDEFINED:
            return (
                "No interval: the value is not finite, or not defined for many samples of these "
                "patients."
            )
        return SAME if np.ptp(self.finite) == 0 else ""


def bootstrap(
    values: Array,
    patients: Sequence[str],
    strata: Sequence[str] | None = None,
    *,
    statistic: Statistic = lambda x: x.mean(axis=-1),
    resamples: int = 2000,
    seed: int = 0,
) -> Resamples:
    """Draw patients with replacement within their stratum, and compute a statistic of all cases of
    those drawn.

    Args: values: `(n,)`, one a case; positions `arange(n)` where the statistic needs more than one
        number a case. patients: `(n,)`, whose case it is. strata: `(n,)`, a patient's group; None:
        all together. A patient alone in a stratum would be in every resample and seem certain: such
        patients are drawn together, a single one with the smallest stratum. statistic: reduces the
        last axis; NaN where it is not defined. resamples: how many. seed: of the draws. The same
        patients, strata and seed give the same resamples, whatever the values.

    Raises:
        InputError: lengths differ, no case, or a patient in two strata.
        SettingError: fewer than one resample.
    """
    if resamples < 1:
        raise SettingError(
            f"{resamples} resamples were asked for; expected at least 1, 2000 to publish."
        )
    order, sizes, groups = _grouped(values, patients, strata)
    rng = np.random.default_rng(seed)
    picks = np.concatenate(
        [group[rng.integers(0, len(group), (resamples, len(group)))] for group in groups], axis=1
    )
    picks.sort(axis=1)  # so that the same patients give the same value to the last bit
    found = np.empty(resamples)
    for rows, positions in _drawn(order, sizes, picks):
        found[rows] = statistic(values[positions])
    observed = float(statistic(values[order]))
    influence = np.zeros(len(sizes))
    if len(sizes) > 1 and np.isfinite(observed):
        for rows, positions in _left_out(order, sizes):
            influence[rows] = -statistic(values[positions])
        for group in groups:
            influence[group] -= influence[group].mean()
    return Resamples(observed, found, influence, len(groups))


def paired_difference(first: Resamples, second: Resamples) -> Resamples:
    """Return the difference `first - second` of two statistics, made from the same patients, strata
    and seed.
    """
    with np.errstate(invalid="ignore"):
        values = first.values - second.values
    return Resamples(
        first.observed - second.observed, values, first.influence - second.influence, first.strata
    )


def bca(resamples: Resamples, level: float = 0.95) -> tuple[float, float] | None:
    """Return the bias-corrected and accelerated interval, or None where `resamples.absent` says why
    there is none.

    Efron 1987 (10.1080/01621459.1987.10478410), with the normal quantile widened to `sqrt(n / (n -
    h)) t(n - h)` for n patients in h strata: a bootstrap of few patients is too narrow without
    (Hesterberg 2015, 10.1080/00031305.2015.1089789). Where every resample lies on one side of the
    observed value the bias correction is infinite, and the percentile interval is returned.
    """
    if resamples.absent:
        return None
    bias, acceleration = _constants(resamples)
    degrees, widening = _widening(resamples)
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        z = bias + widening * float(stdtrit(degrees, share))
        below = 1 - acceleration * z
        place = bias + z / below if below > 0 else np.copysign(FARTHEST, z)
        ends.append(
            _quantile(
                resamples.finite, resamples.observed, float(np.clip(place, -FARTHEST, FARTHEST))
            )
        )
    return min(ends), max(ends)


def p_value(resamples: Resamples, limit: float, better: Literal["higher", "lower"]) -> float:
    """Return the one-sided p-value of "no better than `limit`": the level at which the bound of
    `bca` touches the limit.

    Never below one in the number of resamples and one, nor below `2^-n` for n patients, the least
    that a sign test can give, however far they are from the limit. 1 where the value is not finite,
    or not defined for many resamples.
    """
    if resamples.absent not in ("", SAME):
        return 1.0
    sign = 1.0 if better == "higher" else -1.0
    values, bound = np.sort(sign * resamples.finite), sign * limit
    least = max(1 / (len(values) + 1), 0.5 ** len(resamples.influence))
    if resamples.absent == SAME:
        return least if values[0] > bound else 1.0
    z = _place(values, sign * resamples.observed, bound)
    bias, acceleration = (sign * constant for constant in _constants(resamples))
    degrees, widening = _widening(resamples)
    above = 1 + acceleration * (z - bias)
    adjusted = (z - bias) / above - bias if above > 0 else np.sign(z - bias) * np.inf
    return float(np.clip(stdtr(degrees, adjusted / widening), least, 1.0))


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted step by step for the family-wise error (Holm 1979)."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    raised = np.maximum.accumulate((len(values) - np.arange(len(values))) * values[order])
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(raised, 1)
    return [float(x) for x in adjusted]


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the false discovery rate (Benjamini and Hochberg 1995)."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")[::-1]
    ranks = np.arange(len(values), 0, -1)
    lowered = np.minimum.accumulate(values[order] * len(values) / ranks)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(lowered, 1)
    return [float(x) for x in adjusted]


def _constants(resamples: Resamples) -> tuple[float, float]:
    """Return bias correction and acceleration; both 0 where the bias correction is infinite."""
    values, observed, influence = resamples.finite, resamples.observed, resamples.influence
    below = (
        np.count_nonzero(values < observed) + 0.5 * np.count_nonzero(values == observed)
    ) / len(values)
    if not 0 < below < 1:
        return 0.0, 0.0
    spread = float((influence**2).sum()) ** 1.5
    known = np.isfinite(spread) and spread > 0
    return float(ndtri(below)), float((influence**3).sum()) / (6 * spread) if known else 0.0


def _widening(resamples: Resamples) -> tuple[int, float]:
    """Return the degrees of freedom, and by how much a bootstrap of so few patients is too
    narrow.
    """
    patients = len(resamples.influence)
    degrees = patients - resamples.strata
    return degrees, float(np.sqrt(patients / degrees))


def _quantile(ordered: Array, observed: float, z: float) -> float:
    """Return the resamples' value at the normal quantile z; beyond the last of them, by the normal
    distribution.
    """
    edge = -float(ndtri(1 / (len(ordered) + 1)))
    if abs(z) <= edge:
        return float(np.quantile(ordered, ndtr(z)))
    beyond = observed + z * float(ordered.std())
    return max(float(ordered[-1]), beyond) if z > 0 else min(float(ordered[0]), beyond)


def _place(ordered: Array, observed: float, value: float) -> float:
    """Return the normal quantile at which `_quantile` passes a value."""
    edge = -float(ndtri(1 / (len(ordered) + 1)))
    upto = int(np.searchsorted(ordered, value, side="right"))
    if upto in (0, len(ordered)):
        beyond = (value - observed) / float(ordered.std())
        return max(edge, beyond) if upto else min(-edge, beyond)
    low, high = ordered[upto - 1], ordered[upto]
    share = (upto - 1 + (value - low) / (high - low)) / (len(ordered) - 1)
    return float(np.clip(ndtri(share), -edge, edge))


def _grouped(
    values: Array, patients: Sequence[str], strata: Sequence[str] | None
) -> tuple[Array, Array, list[Array]]:
    """Return the positions of cases by patient, the number of cases of each, and the patients of
    each stratum.
    """
    if (
        values.ndim != 1
        or len(values) != len(patients)
        or (strata is not None and len(strata) != len(values))
    ):
        raise InputError(
            f"{values.shape} values, {len(patients)} patients and strata were given; expected one "
            "of each a case."
        )
    if len(values) == 0:
        raise InputError("There is no case to resample. Give at least one.")
    names, owner = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    home: dict[str, str] = {}
    for patient, stratum in zip(
        patients, [""] * len(patients) if strata is None else strata, strict=True
    ):
        if home.setdefault(patient, stratum) != stratum:
            raise InputError(
                f"{patient} is in the strata {home[patient]!r} and {stratum!r}; a patient belongs "
                "to one."
            )
    homes = np.array([home[name] for name in names])
    groups = sorted((np.flatnonzero(homes == stratum) for stratum in np.unique(homes)), key=len)
    alone = sum(len(group) == 1 for group in groups)
    if alone and len(groups) > 1:
        together = max(alone, 2)
        groups = [np.sort(np.concatenate(groups[:together])), *groups[together:]]
    return np.argsort(owner, kind="stable"), np.bincount(owner), groups


def _drawn(order: Array, sizes: Array, picks: Array) -> Iterator[tuple[Array, Array]]:
    """Yield resamples of one length together: their numbers, and positions of cases `(rows,
    length)`.
    """
    starts = np.cumsum(sizes) - sizes
    step = max(1, BLOCK // len(order))
    for first in range(0, len(picks), step):
        drawn = picks[first : first + step]
        if sizes.min() == sizes.max():
            yield (
                first + np.arange(len(drawn)),
                order.reshape(len(sizes), -1)[drawn].reshape(len(drawn), -1),
            )
            continue
        counts = sizes[drawn]
        ends = np.cumsum(counts.ravel())
        steps = np.arange(ends[-1]) - np.repeat(ends - counts.ravel(), counts.ravel())
        cases = order[np.repeat(starts[drawn].ravel(), counts.ravel()) + steps]
        lengths = counts.sum(axis=1)
        begins = np.cumsum(lengths) - lengths
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            yield first + rows, cases[begins[rows, None] + np.arange(length)]


def _left_out(order: Array, sizes: Array) -> Iterator[tuple[Array, Array]]:
    """Yield patients with equally many cases together: their numbers, and positions of all other
    cases `(rows, rest)`.
    """
    starts = np.cumsum(sizes) - sizes
    step = max(1, BLOCK // len(order))
    for size in np.unique(sizes):
        same = np.flatnonzero(sizes == size)
        kept = np.arange(len(order) - size)
        for first in range(0, len(same), step):
            rows = same[first : first + step]
            yield rows, order[kept + size * (kept >= starts[rows, None])]
