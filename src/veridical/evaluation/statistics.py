"""Intervals and p-values over patients: bias-corrected bootstrap, corrections for many comparisons.

The patient is the unit: all cases of a drawn patient come along, and patients are drawn within their stratum (site).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from veridical.errors import InputError, SettingError
from veridical.types import Array

BLOCK = 4_000_000
"""Most numbers drawn at a time."""
Statistic = Callable[[Array], Array]
"""Reduces the last axis of an array `(..., n)`."""


@dataclass(frozen=True, eq=False)
class Resamples:
    """A statistic and what the bootstrap says of it.

    Args:
        observed: over all cases.
        values: over each resample of patients.
        jackknife: with each patient left out in turn.
    """

    observed: float
    values: Array
    jackknife: Array


def bootstrap(
    values: Array,
    patients: Sequence[str],
    strata: Sequence[str] | None = None,
    *,
    statistic: Statistic = lambda x: x.mean(axis=-1),
    resamples: int = 2000,
    seed: int = 0,
) -> Resamples:
    """Draw patients with replacement within their stratum, and compute a statistic of all cases of those drawn.

    Args:
        values: `(n,)`, one a case; positions `arange(n)` where the statistic needs more than one number a case.
        patients: `(n,)`, whose case it is.
        strata: `(n,)`, a patient's group; None: all together.
        statistic: reduces the last axis.
        resamples: how many.
        seed: of the draws.

    Raises:
        InputError: lengths differ, no case, or a patient in two strata.
    """
    groups = _groups(values, patients, strata)
    observed = float(statistic(values))
    if len(patients) == len(set(patients)):
        drawn = _drawn_single(groups, resamples, seed)
        step = max(1, BLOCK // len(values))
        found = np.concatenate([statistic(values[drawn[i : i + step]]) for i in range(0, resamples, step)])
    else:
        found = np.array([float(statistic(values[index])) for index in _drawn_clusters(groups, resamples, seed)])
    members = [cases for stratum in groups for cases in stratum]
    everyone = np.arange(len(values))
    left = [np.setdiff1d(everyone, cases, assume_unique=True) for cases in members] if len(members) > 1 else []
    return Resamples(observed, found, np.array([float(statistic(values[index])) for index in left]))


def bca(resamples: Resamples, level: float = 0.95) -> tuple[float, float] | None:
    """Return the bias-corrected and accelerated interval (Efron 1987, 10.1080/01621459.1987.10478410).

    None with fewer than two patients. Where every resample lies on one side of the observed value, so that the bias
    correction is infinite, the percentile interval is returned; where all are equal, that value twice.
    """
    if len(resamples.jackknife) < 2:
        return None
    low, high = (float(np.quantile(resamples.values, _bca_level(resamples, a))) for a in ((1 - level) / 2, (1 + level) / 2))
    return min(low, high), max(low, high)


def p_value(resamples: Resamples, limit: float, better: Literal["higher", "lower"]) -> float:
    """Return the one-sided p-value of "no better than `limit`": the level at which the BCa bound touches the limit.

    Never below `1 / (number of resamples + 1)`.
    """
    values = resamples.values if better == "higher" else -resamples.values
    bound = limit if better == "higher" else -limit
    share = (np.count_nonzero(values < bound) + 0.5 * np.count_nonzero(values == bound)) / len(values)
    smallest = 1 / (len(values) + 1)
    if not 0 < share < 1:
        return float(np.clip(share, smallest, 1.0))
    bias, acceleration = _constants(resamples)
    sign = 1.0 if better == "higher" else -1.0
    z = ndtri(share) - sign * bias
    adjusted = z / (1 + sign * acceleration * z) - sign * bias
    return float(np.clip(ndtr(adjusted), smallest, 1.0))


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
    """Return bias correction and acceleration; 0 where they are not defined."""
    values, observed = resamples.values, resamples.observed
    below = (np.count_nonzero(values < observed) + 0.5 * np.count_nonzero(values == observed)) / len(values)
    bias = float(ndtri(below)) if 0 < below < 1 else 0.0
    away = resamples.jackknife.mean() - resamples.jackknife if len(resamples.jackknife) else np.zeros(1)
    spread = float((away**2).sum()) ** 1.5
    return bias, float((away**3).sum()) / (6 * spread) if spread > 0 else 0.0


def _bca_level(resamples: Resamples, level: float) -> float:
    bias, acceleration = _constants(resamples)
    z = bias + float(ndtri(level))
    return float(ndtr(bias + z / (1 - acceleration * z)))


def _groups(values: Array, patients: Sequence[str], strata: Sequence[str] | None) -> list[list[Array]]:
    """Return stratum -> patient -> positions of the cases, in the order of names."""
    if values.ndim != 1 or len(values) != len(patients) or (strata is not None and len(strata) != len(values)):
        raise InputError(f"{values.shape} values, {len(patients)} patients and strata were given; expected one of each a case.")
    if len(values) == 0:
        raise InputError("There is no case to resample. Give at least one.")
    home: dict[str, str] = {}
    cases: dict[str, list[int]] = {}
    for position, patient in enumerate(patients):
        stratum = "" if strata is None else strata[position]
        if home.setdefault(patient, stratum) != stratum:
            raise InputError(f"{patient} is in the strata {home[patient]!r} and {stratum!r}; a patient belongs to one.")
        cases.setdefault(patient, []).append(position)
    return [[np.array(cases[p]) for p in sorted(cases) if home[p] == stratum] for stratum in sorted(set(home.values()))]


def _drawn_single(groups: list[list[Array]], resamples: int, seed: int) -> Array:
    """Return positions `(resamples, n)` where every patient has one case."""
    if resamples < 1:
        raise SettingError(f"{resamples} resamples were asked for; expected at least 1, 2000 to publish.")
    rng = np.random.default_rng(seed)
    flat = [np.concatenate(stratum) for stratum in groups]
    return np.concatenate([stratum[rng.integers(0, len(stratum), (resamples, len(stratum)))] for stratum in flat], axis=1)


def _drawn_clusters(groups: list[list[Array]], resamples: int, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    drawn = [[rng.integers(0, len(stratum), len(stratum)) for stratum in groups] for _ in range(resamples)]
    return [np.concatenate([stratum[k] for stratum, picks in zip(groups, each, strict=True) for k in picks]) for each in drawn]
