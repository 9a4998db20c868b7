"""From cases to endpoints: means over cases with intervals over patients, failures counted as the
worst value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from veridical.evaluation import catalogue
from veridical.evaluation.protocol import Protocol
from veridical.evaluation.results import CaseRow, Endpoint
from veridical.evaluation.statistics import Resamples, Statistic, bca, bootstrap, p_value
from veridical.evaluation.verdicts import FEWEST, NO_INTERVAL, normalised
from veridical.metrics.about import Facts
from veridical.types import Array, Level

MOST_GROUPS = 12
"""Values of a column beyond which it is no grouping (an age in years)."""
TINY = 1e-12
Against = tuple[float, float]
"""One-sided p-values of "no better than the limit" and "no worse than the limit"."""
Outcome = tuple[Endpoint, Against | None]


@dataclass(frozen=True)
class Setting:
    """What aggregation needs to know beside the rows.

    Args:
        protocol: with limits and resamples.
        strata: column of the groups by which patients are resampled; empty: all together.
        baseline_is: level -> what the simple baseline was, in words.
        floor_is: what the floor was, in words.
        units: of the images.
    """

    protocol: Protocol
    strata: str
    baseline_is: Mapping[str, str]
    floor_is: str
    units: str


def endpoints(rows: Sequence[CaseRow], setting: Setting) -> list[Outcome]:
    """Return one endpoint for every number that a case has, in the order of their keys.

    Args:
        rows: all cases, failed ones included.
        setting: rules of the aggregation.
    """
    keys = sorted(
        {key for row in rows for key in row.values} | {key for row in rows for key in row.notes}
    )
    return [endpoint(key, rows, setting) for key in keys]


def endpoint(key: str, rows: Sequence[CaseRow], setting: Setting) -> Outcome:
    """Return one endpoint. Cases that failed count as the worst value; those that a metric does not
    apply to do not count.
    """
    level, metric, region = key.split("/", 2)
    about = facts(metric, setting.protocol)
    concerned = [row for row in rows if row.failed or key in row.values or key in row.notes]
    counted = [row for row in concerned if row.failed or key in row.values]
    own = [row.values[key] for row in counted if not row.failed]
    empty = Endpoint(
        key,
        cast(Level, level),
        metric,
        about.label,
        units(about, setting),
        about.better,
        region,
        None,
        total=len(concerned),
        ideal=about.ideal,
    )
    if not own:
        reasons = [row.notes[key] for row in concerned if key in row.notes]
        return replace(
            empty, verdict="not_run", note=reasons[0] if reasons else "Every case failed."
        ), None
    base = [row.baseline[key] for row in rows if key in row.baseline]
    worst = worst_value(about, own + base)
    values = np.array([worst if row.failed else row.values[key] for row in counted])
    bad, floor = _mean(base), _mean([row.retest[key] for row in rows if key in row.retest])
    if about.ideal is not None:
        bad, floor = (None if x is None else abs(x - about.ideal) for x in (bad, floor))
    found = replace(
        empty,
        analysed=len(own),
        floor=floor,
        floor_is="" if floor is None else _floor_is(region, setting),
        bad=bad,
        bad_is=setting.baseline_is.get(level, "") if bad is not None else "",
        note=_note(concerned, key, len(counted) - len(own), worst),
    )
    scale = _scale(key, values, counted, about)
    return with_interval(found, lambda index: values[index].mean(axis=-1), counted, setting, scale)


def _scale(key: str, values: Array, rows: Sequence[CaseRow], about: Facts) -> Statistic | None:
    """Return the score as a function of the cases, where baseline and floor are known of the same
    cases.

    What the cases share (a hard patient is hard for the real image too) then cancels, and the
    interval of the score is much narrower than that of the value.
    """
    own = [row for row in rows if not row.failed]
    if not own or not all(key in row.baseline and key in row.retest for row in own):
        return None
    bad, floor = (
        np.array([getattr(row, name).get(key, np.nan) for row in rows])
        for name in ("baseline", "retest")
    )
    bad, floor = (np.where(np.isnan(x), np.nanmean(x), x) for x in (bad, floor))

    def score(index: Array) -> Array:
        b, m, f = (x[index].mean(axis=-1) for x in (bad, values, floor))
        if about.ideal is not None:
            b, m, f = (np.abs(x - about.ideal) for x in (b, m, f))
        return np.asarray((b - m) / np.where(np.abs(b - f) > TINY, b - f, np.nan))

    return None if np.isnan(score(np.arange(len(values)))) else score


def with_interval(
    known: Endpoint,
    statistic: Statistic,
    rows: Sequence[CaseRow],
    setting: Setting,
    scale: Statistic | None = None,
) -> Outcome:
    """Return the endpoint with value, interval, score and limit.

    Args:
        known: all that does not depend on the value.
        statistic: from positions of `rows`, `(..., n)`, to the value, along the last axis.
        rows: the cases behind it.
        setting: rules.
        scale: the score as such a statistic, where baseline and floor are known case by case.
    """
    protocol = setting.protocol
    resamples = _resampled(statistic, rows, setting)
    patients = len({row.patient for row in rows})
    interval = bca(resamples) if patients >= FEWEST else None
    few = NO_INTERVAL.format(_patients(patients)) if patients < FEWEST else resamples.absent
    found = replace(
        known,
        value=resamples.observed,
        interval=interval,
        n=patients,
        note=f"{known.note} {few}".strip(),
    )
    found = normalised(found)
    scored = (
        None
        if scale is None or found.score is None or not interval
        else _resampled(scale, rows, setting)
    )
    if scored is not None:
        found = replace(found, score_interval=bca(scored) or found.score_interval)
    declared = protocol.limit(found.key)
    if declared is None:
        return found, None
    found = replace(found, primary=True, limit=declared.limit, limit_of=declared.of)
    if scored is not None and declared.of == "score":
        return found, (
            p_value(scored, declared.limit, "higher"),
            p_value(scored, declared.limit, "lower"),
        )
    return found, _against(found, resamples) if patients >= FEWEST else None


def _resampled(statistic: Statistic, rows: Sequence[CaseRow], setting: Setting) -> Resamples:
    return bootstrap(
        np.arange(len(rows)),
        [row.patient for row in rows],
        [row.groups.get(setting.strata, "") for row in rows] if setting.strata else None,
        statistic=statistic,
        resamples=setting.protocol.resamples,
        seed=setting.protocol.seed,
    )


def _against(e: Endpoint, resamples: Resamples) -> Against | None:
    """Return the p-values of an endpoint against its limit, which is brought to the scale of the
    value.
    """
    limit = e.limit
    if limit is None or (e.limit_of == "score" and e.score is None):
        return None
    if e.limit_of == "score":
        limit = cast(float, e.bad) - limit * (cast(float, e.bad) - cast(float, e.floor))
    if e.ideal is None:
        better, worse = p_value(resamples, limit, "higher"), p_value(resamples, limit, "lower")
        return (better, worse) if e.better == "higher" else (worse, better)
    above = (
        p_value(resamples, e.ideal + limit, "lower"),
        p_value(resamples, e.ideal + limit, "higher"),
    )
    below = (
        p_value(resamples, e.ideal - limit, "higher"),
        p_value(resamples, e.ideal - limit, "lower"),
    )
    return max(above[0], below[0]), min(above[1], below[1])


def worst_value(about: Facts, seen: Sequence[float]) -> float:
    """Return what a failed case counts as."""
    if about.worst is not None:
        return about.worst
    if about.ideal is not None:
        return max(seen, key=lambda value: abs(value - (about.ideal or 0.0)))
    return max(seen) if about.better == "lower" else min(seen)


def _patients(count: int) -> str:
    return f"{count} patient{'' if count == 1 else 's'}"


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.mean(listed)) if listed else None


def _note(concerned: Sequence[CaseRow], key: str, failed: int, worst: float) -> str:
    parts = []
    if failed:
        parts.append(f"{failed} failed case{'s' if failed > 1 else ''} counted as {worst:.4g}.")
    reasons = [row.notes[key] for row in concerned if key in row.notes]
    if reasons:
        parts.append(f"Not computed on {len(reasons)} cases, for example: {reasons[0]}")
    return " ".join(parts)


def units(about: Facts, setting: Setting) -> str:
    """Return a metric's units, the images' own where it has those."""
    return setting.units if about.units.endswith(("of the image", "of the images")) else about.units


def _floor_is(region: str, setting: Setting) -> str:
    if " in both:" in region:
        return "the same answer in the real image"
    return "the same task on the real image" if ":" in region else setting.floor_is


def facts(metric: str, protocol: Protocol) -> Facts:
    """Return what a metric says of itself; coverage is ideal at the level that the intervals were
    made for.
    """
    about = catalogue.about(metric)
    return replace(about, ideal=protocol.level) if metric == "coverage" else about


def subgroups(
    rows: Sequence[CaseRow], keys: Sequence[str], setting: Setting
) -> tuple[Endpoint, ...]:
    """Return the chosen endpoints within every subgroup that has at least two patients; `region` is
    `region, column=value`.
    """
    found = []
    columns = sorted({column for row in rows for column in row.groups})
    for column in columns:
        values = sorted({row.groups[column] for row in rows if column in row.groups})
        if not 2 <= len(values) <= MOST_GROUPS:
            continue
        for value in values:
            chosen = [row for row in rows if row.groups.get(column) == value]
            if len({row.patient for row in chosen}) < 2:
                continue
            for key in keys:
                one, _ = endpoint(key, chosen, setting)
                if one.value is not None:
                    region = f"{one.region}, {column}={value}"
                    found.append(
                        replace(
                            one,
                            key=f"{key}, {column}={value}",
                            region=region,
                            limit=None,
                            primary=False,
                        )
                    )
    return tuple(found)
