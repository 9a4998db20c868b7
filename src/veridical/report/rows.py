"""Rows of the tables in an evaluation's report: endpoints, subgroups with their gaps, cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from veridical.evaluation.results import CaseRow, Endpoint, Evaluation, Judgement
from veridical.report import plots

if TYPE_CHECKING:
    from markupsafe import Markup

SHORT = 6
"""Letters of a unit that stands behind every number; a longer one is said once, in words."""
MOST_COLUMNS = 6
"""Metrics in the table of cases where no primary endpoint is known case by case."""


@dataclass(frozen=True)
class EndpointRow:
    """One endpoint as a table shows it; what is not there is an empty text."""

    name: str
    region: str
    value: str
    interval: str
    n: str
    cases: str
    real: str
    real_is: str
    baseline: str
    baseline_is: str
    score: str
    strip: Markup | None
    limit: str
    p: str
    verdict: Judgement
    note: str


@dataclass(frozen=True)
class Forest:
    """One endpoint over the values of one column.

    Args:
        title, column: the endpoint and the column in words.
        rows: group, n, value with interval, strip; the first is all patients.
        gap: the largest difference in words.
    """

    title: str
    column: str
    rows: tuple[tuple[str, str, str, Markup], ...]
    gap: str


def named(e: Endpoint) -> str:
    """Return an endpoint's name: metric and region."""
    return f"{e.label}, {e.region}"


def number(value: float | None, units: str, interval: tuple[float, float] | None = None) -> str:
    """Return a value with its unit, to as many digits as its interval bears, else to three."""
    if value is None:
        return ""
    width = 0.0 if interval is None else abs(interval[1] - interval[0])
    if width > 0 and math.isfinite(width) and 1e-6 < width < 1e6:
        text = f"{value:,.{max(0, 1 - math.floor(math.log10(width)))}f}"
    else:
        text = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
    text = text.replace("-", "−")
    return text if units == "1" or len(units) > SHORT else f"{text} {units}"


def ruler(e: Endpoint) -> plots.Ruler:
    """Return the scale that an endpoint is shown on: the normalised one where it has a score that
    counts.
    """
    if e.score is not None and not (e.limit is not None and e.limit_of == "value"):
        return plots.normalised(e.limit)
    return plots.of_values(e)


def strip(e: Endpoint, size: str = "small") -> Markup | None:
    """Return the dot and interval of an endpoint, or None where there is neither a score nor a
    limit to hold it against.
    """
    limited = e.limit is not None and e.limit_of == "value"
    if e.value is None or (e.score is None and not limited):
        return None
    by_score = e.score is not None and not limited
    value, interval = (e.score, e.score_interval) if by_score else (e.value, e.interval)
    scale = (
        "on the scale from the simple baseline (0) to real against real (1)"
        if by_score
        else ""
        if e.units == "1"
        else e.units
    )
    between = "" if interval is None else f", 95 % interval {interval[0]:.3g} to {interval[1]:.3g}"
    asked = "" if e.limit is None else f", limit {e.limit:g}"
    return plots.strip(
        value or 0.0,
        interval,
        ruler(e),
        f"{named(e)}: {value:.3g} {scale}{between}{asked}",
        size,
        e.verdict,
    )


def row(e: Endpoint) -> EndpointRow:
    """Return an endpoint as a table shows it."""
    limit = (
        ""
        if e.limit is None
        else f"score ≥ {e.limit:g}"
        if e.limit_of == "score"
        else number(e.limit, e.units)
    )
    if e.limit is not None and e.limit_of == "value":
        limit = (
            f"{e.ideal:g} ± {e.limit:g}"
            if e.ideal is not None
            else f"{'≤' if e.better == 'lower' else '≥'} {limit}"
        )
    direction = (
        f"ideal {e.ideal:g}"
        if e.ideal is not None
        else "higher is better"
        if e.better == "higher"
        else "lower is better"
    )
    direction += f"; {e.units}" if len(e.units) > SHORT else ""
    away = "" if e.ideal is None else " away"
    return EndpointRow(
        e.label,
        f"{e.region}; {direction}",
        number(e.value, e.units, e.interval),
        between(e.interval),
        f"{e.n}",
        f"{e.analysed} of {e.total} cases",
        f"{number(e.floor, e.units)}{away}" if e.floor is not None else "",
        e.floor_is,
        f"{number(e.bad, e.units)}{away}" if e.bad is not None else "",
        e.bad_is,
        "" if e.score is None else number(e.score, "1", e.score_interval),
        strip(e),
        limit,
        p_value(e.p_adjusted if e.p_adjusted is not None else e.p),
        e.verdict,
        e.note,
    )


def common(found: Sequence[EndpointRow]) -> tuple[str, str]:
    """Return what real against real and the baseline were, each where it is one for all rows and
    else empty.
    """
    floors, bads = (
        {text for text in texts if text}
        for texts in zip(*((r.real_is, r.baseline_is) for r in found), strict=True)
    )
    return (floors.pop() if len(floors) == 1 else "", bads.pop() if len(bads) == 1 else "")


def between(interval: tuple[float, float] | None) -> str:
    """Return an interval as `0.89 to 0.93`."""
    return (
        ""
        if interval is None
        else f"{number(interval[0], '1', interval)} to {number(interval[1], '1', interval)}"
    )


def p_value(p: float | None) -> str:
    """Return a p-value to two digits, never as zero."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.2g}"


def patients(evaluation: Evaluation) -> tuple[int, int]:
    """Return the number of patients, and of those with a case that did not fail."""
    return len({row.patient for row in evaluation.cases}), len(
        {row.patient for row in evaluation.cases if not row.failed}
    )


def forests(evaluation: Evaluation) -> tuple[Forest, ...]:
    """Return the subgroups by endpoint and column, each beside all patients."""
    grouped: dict[tuple[str, str], list[tuple[str, Endpoint]]] = {}
    for e in evaluation.subgroups:
        base, _, group = e.key.rpartition(", ")
        column, _, value = group.partition("=")
        if value and e.value is not None:
            grouped.setdefault((base, column), []).append((value, e))
    known = {e.key: e for e in evaluation.endpoints}
    return tuple(
        _forest(known.get(base), column, found) for (base, column), found in grouped.items()
    )


def columns(evaluation: Evaluation) -> list[Endpoint]:
    """Return the endpoints that the table of cases shows: the primary ones, else the first few,
    that cases have values of.
    """
    there = [
        e for e in evaluation.endpoints if any(e.key in row.values for row in evaluation.cases)
    ]
    return [e for e in there if e.primary] or there[:MOST_COLUMNS]


def cells(case: CaseRow, chosen: Sequence[Endpoint]) -> list[tuple[str, str]]:
    """Return each chosen value of a case, and why it is not there."""
    return [(number(case.values.get(e.key), e.units), case.notes.get(e.key, "")) for e in chosen]


def _forest(whole: Endpoint | None, column: str, found: Sequence[tuple[str, Endpoint]]) -> Forest:
    shown = ([("all", whole)] if whole is not None and whole.value is not None else []) + list(
        found
    )
    ends = [v for _, e in shown for v in (e.value, *(e.interval or ())) if v is not None]
    pad = 0.06 * ((max(ends) - min(ends)) or abs(max(ends)) or 1.0)
    ticks = {whole.value: "all"} if whole is not None and whole.value is not None else {}
    scale = plots.Ruler(min(ends) - pad, max(ends) + pad, ticks)
    rows = []
    for name, e in shown:
        value = number(e.value, e.units, e.interval)
        said = f"{e.label}, {name}: {value}, 95 % interval {between(e.interval) or 'not known'}"
        drawn = plots.strip(e.value or 0.0, e.interval, scale, said)
        rows.append(
            (name, f"{e.n}", f"{value} ({between(e.interval)})" if e.interval else value, drawn)
        )
    first = found[0][1]
    return Forest(
        f"{first.label}, {first.region.partition(', ')[0]}", column, tuple(rows), _gap(found)
    )


def _gap(found: Sequence[tuple[str, Endpoint]]) -> str:
    """Return the largest difference between two groups, and whether their intervals lie apart."""
    ordered = sorted(found, key=lambda pair: pair[1].value or 0.0)
    if len(ordered) < 2:
        return "Only one group has enough patients."
    (low_name, low), (high_name, high) = ordered[0], ordered[-1]
    gap = number((high.value or 0.0) - (low.value or 0.0), high.units, high.interval)
    if low.interval is None or high.interval is None:
        return f"Largest gap: {gap}, {high_name} above {low_name}; its certainty is not known."
    apart = low.interval[1] < high.interval[0]
    return (
        f"Largest gap: {gap}, {high_name} above {low_name}; their 95 % intervals "
        f"{'lie apart' if apart else 'overlap'}."
    )
