"""From cases to endpoints: means over cases with intervals over patients, failures counted as the worst value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from veridical.evaluation import catalogue, verdicts
from veridical.evaluation.protocol import Protocol
from veridical.evaluation.results import CaseRow, Endpoint
from veridical.evaluation.statistics import bca, bootstrap, p_value
from veridical.metrics.about import Facts
from veridical.types import Array, Level

MOST_GROUPS = 12
"""Values of a column beyond which it is no grouping (an age in years)."""


@dataclass(frozen=True)
class Setting:
    """What aggregation needs to know beside the rows.

    Args:
        protocol: with limits and resamples.
        strata: column of the groups by which patients are resampled; empty: all together.
        baseline_is: level -> what the simple baseline was, in words.
    """

    protocol: Protocol
    strata: str
    baseline_is: Mapping[str, str]


def endpoints(rows: Sequence[CaseRow], setting: Setting) -> tuple[Endpoint, ...]:
    """Return one endpoint for every number that a case has, in the order of their keys.

    Args:
        rows: all cases, failed ones included.
        setting: rules of the aggregation.
    """
    keys = sorted({key for row in rows for key in row.values} | {key for row in rows for key in row.notes})
    return tuple(endpoint(key, rows, setting) for key in keys)


def endpoint(key: str, rows: Sequence[CaseRow], setting: Setting) -> Endpoint:
    """Return one endpoint. Cases that failed count as the worst value; those that a metric does not apply to do not count."""
    level, metric, region = key.split("/", 2)
    about = facts(metric, setting.protocol)
    concerned = [row for row in rows if row.failed or key in row.values or key in row.notes]
    counted = [row for row in concerned if row.failed or key in row.values]
    own = [row.values[key] for row in counted if not row.failed]
    empty = Endpoint(
        key, _level(level), metric, about.label, about.units, about.better, region, None, total=len(concerned), ideal=about.ideal
    )
    if not own:
        reasons = [row.notes[key] for row in concerned if key in row.notes]
        return replace(empty, verdict="not_run", note=reasons[0] if reasons else "Every case failed.")
    bad = _mean(row.baseline.get(key) for row in rows)
    worst = _worst(about, own, [row.baseline[key] for row in rows if key in row.baseline])
    values = np.array([worst if row.failed else row.values[key] for row in counted])
    floor = _mean(row.retest.get(key) for row in rows)
    if about.ideal is not None:
        bad, floor = (None if x is None else abs(x - about.ideal) for x in (bad, floor))
    found = replace(
        empty,
        value=float(values.mean()),
        n=len({row.patient for row in counted}),
        analysed=len(own),
        floor=floor,
        floor_is=setting.floor_is.get(level, "") if floor is not None else "",
        bad=bad,
        bad_is=setting.baseline_is.get(level, "") if bad is not None else "",
        note=_note(concerned, counted, own, key),
    )
    return _with_interval(found, values, counted, setting)


def facts(metric: str, protocol: Protocol) -> Facts:
    """Return what a metric says of itself; coverage is ideal at the level that the intervals were made for."""
    about = catalogue.about(metric)
    return replace(about, ideal=protocol.level) if metric == "coverage" else about


def subgroups(rows: Sequence[CaseRow], keys: Sequence[str], setting: Setting) -> tuple[Endpoint, ...]:
    """Return the chosen endpoints within every subgroup that has at least two patients; `region` is `region, column=value`."""
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
                one = endpoint(key, chosen, setting)
                if one.value is not None:
                    region = f"{one.region}, {column}={value}"
                    found.append(replace(one, key=f"{key}, {column}={value}", region=region, limit=None, primary=False))
    return tuple(found)
