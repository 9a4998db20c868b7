"""What is said of a forecast: the visits it rests on, volumes, lesions, tumour, and how far to
trust it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from veridical.errors import SettingError, nearest
from veridical.models.atrophy_rates import NAMES
from veridical.phantoms import volume_change
from veridical.tasks.forecast_conditions import YEAR, spoken
from veridical.tasks.forecast_future import BRAIN, Future, crossing
from veridical.types import Finding, Study, Verdict

FARTHEST = 5.0
"""Years beyond which no calibration patient was followed."""
SEARCHED = 20.0
"""Years in which a threshold is sought."""
THRESHOLD = re.compile(r"([a-z ]+)=([+-]\d+(?:\.\d+)?)%")
LEAST = 0.05
"""Jacobian below which a voxel is nearly folded."""


def table(future: Future, days: float, threshold: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return all numbers of a forecast, rounded: `volumes`, `lesions`, `tumour`, `threshold`."""
    name, share = _threshold(threshold)
    found: dict[str, dict[str, dict[str, float]]] = {
        "volumes": future.volumes(days),
        "lesions": future.counts(days),
        "tumour": future.extents(days),
    }
    if future.course is not None:
        low, middle, high = crossing(future, name, share, SEARCHED)
        ends = {"lower_years": low, "median_years": middle, "upper_years": high}
        known = {key: value for key, value in ends.items() if np.isfinite(value)}
        found["threshold"] = {threshold: known}
    return {
        part: {name: {k: round(v, 3) for k, v in row.items()} for name, row in rows.items()}
        for part, rows in found.items()
        if rows
    }


def findings(
    future: Future, study: Study, days: float, known: Mapping[str, Any]
) -> Iterator[Finding]:
    """Say all of it.

    Args:
        future: of the patient.
        study: with the days of its visits.
        days: after the last visit.
        known: the table.
    """
    yield _visits(future, study)
    yield _conditions(future)
    yield _horizon(future, days)
    yield _deformation(future, days)
    yield _volumes(known, days)
    yield _threshold_said(known)
    if "lesions" in known:
        yield _lesions(future, known["lesions"], days)
    if "tumour" in known:
        yield _tumour(future, known["tumour"])


def _threshold(said: str) -> tuple[str, float]:
    match = THRESHOLD.fullmatch(said.strip())
    if not match or not float(match[2]):
        raise SettingError(
            f"threshold = {said!r}; expected a region and a change: brain=-5%, lateral "
            "ventricle=+20%."
        )
    if match[1] not in (BRAIN, *NAMES):
        raise SettingError(
            f"No region is called {match[1]!r}. {nearest(match[1], (BRAIN, *NAMES))}"
        )
    return match[1], float(match[2]) / 100


def _visits(future: Future, study: Study) -> Finding:
    every = future.visits.every
    compared = [one for one in every if one.change is not None]
    said = f"{len(every)} visit{'s' if len(every) > 1 else ''}, on day {spoken(study.days)}"
    moved = [one.moved for one in every if one.moved and one.moved != "taken as it lies"]
    carried = {name: one.visits for name, one in future.carried.items()}
    old = [name for name in carried if name not in future.visits.last.images]
    evidence = {
        "days": list(study.days), "compared": len(compared), "moved": moved, "images": carried,
        "anatomy": future.visits.anatomy,
    }  # fmt: skip
    if future.visits.flow is None:
        reason = (
            f"{said}; no head was found ({future.visits.why}) The last images are carried as they "
            "are."
        )
        return Finding("visits", "fail", reason, evidence)
    tail = (
        f" {', '.join(old)} was not made at the last visit and is carried from before."
        if old
        else ""
    )
    if len(compared) < len(every) - 1:
        reason = (
            f"{said}; only {len(compared)} of {len(every) - 1} earlier ones share a contrast with "
            f"the last and could be compared.{tail}"
        )
        return Finding("visits", "warn", reason, evidence)
    alone = " The rates are those of the population." if len(every) == 1 else ""
    reason = f"{said}; anatomy from {future.visits.anatomy}.{alone}{tail}"
    return Finding("visits", "pass", reason, evidence)


def _conditions(future: Future) -> Finding:
    who = future.who
    known = {"age": who.age, "sex": who.sex or None, "diagnosis": who.group}
    missing = [name for name, value in known.items() if value is None]
    evidence = {**known, "genes": dict(who.genes.known), "treatment": who.treatment.name}
    if missing:
        reason = (
            f"Not known: {', '.join(missing)}. The forecast is for a mixture of such people, and "
            "its intervals are wider. Say it: --age, --sex, --diagnosis."
        )
        return Finding("forecast conditions", "warn", reason, evidence)
    reason = f"For a {who.sex} patient of {who.age:.0f} years, {who.group}."
    return Finding("forecast conditions", "pass", reason, evidence)


def _horizon(future: Future, days: float) -> Finding:
    years, seen = days / YEAR, (future.last - future.first) / YEAR
    evidence = {"years": round(years, 3), "years_seen": round(seen, 3)}
    said = f"{years:.1f} years ahead, from {seen:.1f} years of visits"
    if years > FARTHEST:
        reason = f"{said}: no calibration patient was followed for more than {FARTHEST:g} years."
        return Finding("forecast horizon", "warn", reason, evidence)
    return Finding("forecast horizon", "pass", f"{said}.", evidence)


def _deformation(future: Future, days: float) -> Finding:
    flow, course = future.visits.flow, future.course
    if flow is None or course is None:
        return Finding(
            "forecast deformation", "not_run", "There is no head that could be deformed."
        )
    grown = volume_change.jacobian(flow.displacement(course.change(days / YEAR)), flow.spacing)[
        1:-1, 1:-1, 1:-1
    ]
    least, most = float(grown.min()), float(grown.max())
    reason = f"Voxels keep {least:.2f} to {most:.2f} of their volume; none is folded."
    evidence = {"least_jacobian": least, "most_jacobian": most}
    if least < LEAST:
        return Finding(
            "forecast deformation", "fail", f"A voxel is folded: Jacobian {least:.2f}.", evidence
        )
    return Finding("forecast deformation", "pass", reason, evidence)


def _volumes(known: Mapping[str, Any], days: float) -> Finding:
    rows = known.get("volumes")
    if not rows:
        return Finding("forecast volumes", "not_run", "Without a head there are no volumes.")
    parts = [
        f"{name} {row['now_ml']:.1f} to {row['then_ml']:.1f} ml "
        f"({row['lower_ml']:.1f} to {row['upper_ml']:.1f})"
        for name, row in rows.items()
    ]
    reason = f"In {days / YEAR:.1f} years: {'; '.join(parts)}; 90 % intervals."
    return Finding("forecast volumes", "pass", reason, {"table": rows})


def _threshold_said(known: Mapping[str, Any]) -> Finding:
    rows = known.get("threshold")
    if not rows:
        return Finding("time to threshold", "not_run", "Without a head there is no threshold.")
    ((name, row),) = rows.items()
    low, middle, high = (row.get(key) for key in ("lower_years", "median_years", "upper_years"))
    if middle is None:
        earliest = "" if low is None else f", at the earliest in {low:.1f} years"
        reason = f"{name} is not expected within {SEARCHED:g} years{earliest}."
    else:
        until = "later than that" if high is None else f"{high:.1f}"
        reason = f"{name} is expected in {middle:.1f} years ({low:.1f} to {until}; 90 % interval)."
    return Finding("time to threshold", "pass", reason, dict(row))


def _lesions(future: Future, rows: Mapping[str, Any], days: float) -> Finding:
    one, row = future.lesions, rows["new lesions"]
    assert one is not None, "there are rows only where there are lesions"
    mean, spread = one.rate
    reason = (
        f"{one.now} lesions of {one.volume:.1f} ml now; {row['then']:.0f} new ones in "
        f"{days / YEAR:.1f} years ({row['lower']:.0f} to {row['upper']:.0f}), at "
        f"{mean:.1f} +- {spread:.1f} a year without treatment. Where they will be is not known: "
        "the samples show possible places."
    )
    return Finding("forecast lesions", "pass", reason, {"table": dict(rows), "seen": one.seen})


def _tumour(future: Future, rows: Mapping[str, Any]) -> Finding:
    one = future.tumour
    assert one is not None, "there are rows only where there is a tumour"
    parts = [
        f"{name} {row['now_ml']:.1f} to {row['then_ml']:.1f} ml "
        f"({row['lower_ml']:.1f} to {row['upper_ml']:.1f})"
        for name, row in rows.items()
    ]
    reason = (
        f"Tumour under treatment {future.who.treatment.name}: {'; '.join(parts)}. "
        f"{future.who.genes.spoken} {one.twin.alarm}"
    )
    verdict: Verdict = "warn" if one.twin.alarm else "pass"
    return Finding("forecast tumour", verdict, reason.strip(), {"table": dict(rows)})
