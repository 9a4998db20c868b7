"""From numbers to verdicts, by rules that fit on a page.

Pass: the interval clears the limit. Fail: it is wholly on the wrong side. Else inconclusive.
Primary endpoints are corrected for their number by Holm's method, exploratory p-values by Benjamini
and Hochberg's. A level is its worst primary endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
from scipy.special import ndtri

from veridical.evaluation.results import DECIDING, Conflict, Endpoint, Judgement, LevelVerdict
from veridical.evaluation.statistics import benjamini_hochberg, holm
from veridical.types import Level

ALPHA = 0.025
"""One-sided; the two-sided interval is of 95 %."""
LEVELS: tuple[Level, ...] = ("pixel", "feature", "task", "trust")
FEWEST = 5
"""Patients below which no interval is given: a bootstrap of four says nothing."""
NO_INTERVAL = f"No interval is possible from {{}}, {FEWEST} are needed."
UNDECIDED = "The value stands, and nothing is decided."
MEANING = 0.01
"""A scale from baseline to floor that is shorter than this share of the value's own distance from
the floor is no scale.
"""


@dataclass(frozen=True)
class Rule:
    """A conflict: one primary endpoint of the first patterns of keys passes and one of the second
    fails.
    """

    name: str
    passes: tuple[str, ...]
    fails: tuple[str, ...]
    reason: str


STRUCTURE = (
    "task/dice/*",
    "task/surface-dice/*",
    "task/hausdorff95/*",
    "task/lesion-f1/*",
    "task/volume-difference/*",
    "task/concordance/*",
)
RULES = (
    Rule(
        "over-smoothing", ("pixel/*",), ("task/*",),
        "Pixels are close to the reference while the task fails: over-smoothing, or a finding is "
        "lost.",
    ),
    Rule(
        "smooth", ("pixel/*",), ("feature/*",),
        "Pixels are close to the reference while the texture is not that of real images: "
        "over-smoothing is likely.",
    ),
    Rule(
        "looks real, is not true", ("feature/*",), (*STRUCTURE, "trust/coverage/*"),
        "The images look real while what they show is not what was there: plausible and wrong.",
    ),
)  # fmt: skip


def distance(value: float, ideal: float | None) -> float:
    """Return the distance from the ideal value, or the value itself where there is none."""
    return value if ideal is None else abs(value - ideal)


def distances(interval: tuple[float, float], ideal: float | None) -> tuple[float, float]:
    """Return the interval of the distance from the ideal value: from 0 where the interval holds
    it.
    """
    if ideal is None:
        return interval
    ends = sorted(abs(end - ideal) for end in interval)
    return (0.0 if interval[0] <= ideal <= interval[1] else ends[0], ends[1])


def normalised(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with its score `(bad - m) / (bad - floor)`: 1 real against real, 0 a
    simple baseline.

    For a metric with an ideal value, m, bad and floor are distances from it. No score where one of
    the three is missing or where the baseline is no worse than the floor, since then the scale
    means nothing.
    """
    if endpoint.value is None or endpoint.bad is None or endpoint.floor is None:
        return endpoint
    width = endpoint.bad - endpoint.floor
    lower = endpoint.better == "lower" or endpoint.ideal is not None
    away = abs(distance(endpoint.value, endpoint.ideal) - endpoint.floor)
    if (width <= 0 if lower else width >= 0) or abs(width) < MEANING * away:
        note = "No score: the simple baseline is no worse than the floor here."
        return replace(endpoint, note=f"{endpoint.note} {note}".strip())
    score = (endpoint.bad - distance(endpoint.value, endpoint.ideal)) / width
    if endpoint.interval is None:
        return replace(endpoint, score=score)
    low, high = sorted(
        (endpoint.bad - end) / width for end in distances(endpoint.interval, endpoint.ideal)
    )
    return replace(endpoint, score=score, score_interval=(low, high))


def judge(
    endpoints: Sequence[Endpoint], wrong: Mapping[str, tuple[float, float]]
) -> tuple[Endpoint, ...]:
    """Return the endpoints with adjusted p-values and verdicts.

    Args: endpoints: with values, intervals, limits, and `p` where a metric is a test. wrong: key of
        a primary endpoint -> p-values of "no better than the limit" and "no worse than the limit".
    """
    primary = [e for e in endpoints if e.primary and e.key in wrong]
    better = dict(
        zip((e.key for e in primary), holm([wrong[e.key][0] for e in primary]), strict=True)
    )
    worse = dict(
        zip((e.key for e in primary), holm([wrong[e.key][1] for e in primary]), strict=True)
    )
    tested = [e for e in endpoints if not e.primary and e.p is not None]
    found = dict(
        zip((e.key for e in tested), benjamini_hochberg([e.p or 0.0 for e in tested]), strict=True)
    )
    return tuple(_judged(e, better, worse, found, wrong) for e in endpoints)


def _judged(
    e: Endpoint,
    better: Mapping[str, float],
    worse: Mapping[str, float],
    found: Mapping[str, float],
    wrong: Mapping[str, tuple[float, float]],
) -> Endpoint:
    if e.value is None:
        return replace(e, verdict="not_run")
    if not e.primary:
        return replace(e, verdict="exploratory", p_adjusted=found.get(e.key))
    if e.key not in better:
        few = 0 < e.n < FEWEST and (e.limit_of == "value" or e.score is not None)
        note = (
            UNDECIDED if few else "Not judged: no score to hold against the limit, or no interval."
        )
        return replace(
            e, verdict="inconclusive" if few else "not_run", note=f"{e.note} {note}".strip()
        )
    verdict: Judgement = (
        "pass" if better[e.key] <= ALPHA else "fail" if worse[e.key] <= ALPHA else "inconclusive"
    )
    test = "" if e.p is None else f"Permutation test of both sets being alike: p = {e.p:.2g}."
    return replace(
        e,
        verdict=verdict,
        p=wrong[e.key][0],
        p_adjusted=better[e.key],
        note=f"{e.note} {test}".strip(),
    )


def levels(endpoints: Sequence[Endpoint], absent: Mapping[Level, str]) -> tuple[LevelVerdict, ...]:
    """Return each level's verdict, that of its worst primary endpoint.

    Args:
        endpoints: judged.
        absent: level -> why it may have no primary endpoint.
    """
    found = []
    for level in LEVELS:
        primary = [e for e in endpoints if e.primary and e.level == level and e.verdict in DECIDING]
        if not primary:
            found.append(
                LevelVerdict(
                    level, "not_run", absent.get(level, "No primary endpoint could be computed.")
                )
            )
            continue
        worst = min(
            primary,
            key=lambda e: (-DECIDING.index(e.verdict), e.score if e.score is not None else 0.0),
        )
        silent = [
            e.key for e in endpoints if e.primary and e.level == level and e.verdict == "not_run"
        ]
        rest = f" Not judged, though primary: {', '.join(silent)}." if silent else ""
        found.append(LevelVerdict(level, worst.verdict, _reason(worst, len(primary)) + rest))
    return tuple(found)


def _reason(e: Endpoint, count: int) -> str:
    of_score = e.limit_of == "score" and e.score is not None
    value, interval = (e.score, e.score_interval) if of_score else (e.value, e.interval)
    scale = (
        "on the scale from the simple baseline (0) to real against real (1)"
        if of_score
        else ""
        if e.units == "1"
        else e.units
    )
    between = "" if interval is None else f", 95 % interval {interval[0]:.3g} to {interval[1]:.3g}"
    limit = (
        f"at most {e.limit:g} away from {e.ideal:g}"
        if e.ideal is not None and not of_score
        else f"limit {e.limit:g}"
    )
    which = "the only primary endpoint" if count == 1 else f"the worst of {count} primary endpoints"
    said = (
        f"{e.label} in {e.region} is {f'{value:.3g} {scale}'.strip()}{between}; {limit}. It is "
        f"{which}."
    )
    if e.verdict == "inconclusive" and interval is None and e.n < FEWEST:
        return f"{said} {e.note}"
    if e.verdict != "inconclusive" or e.p_adjusted is None or not _clears(e):
        return said
    return (
        f"{said} The interval clears the limit, but p is {e.p_adjusted:.2g} over all primary "
        f"endpoints, above {ALPHA}."
    )


def _clears(e: Endpoint) -> bool:
    of_score = e.limit_of == "score"
    interval = e.score_interval if of_score else e.interval
    if interval is None or e.limit is None:
        return False
    if of_score or (e.better == "higher" and e.ideal is None):
        return interval[0] > e.limit
    return distances(interval, e.ideal)[1] < e.limit


def conflicts(endpoints: Sequence[Endpoint]) -> tuple[Conflict, ...]:
    """Return where levels disagree in a way that has a name: `RULES`, extractors that disagree,
    intervals that say nothing.
    """
    primary = [e for e in endpoints if e.primary]
    found = []
    for rule in RULES:
        passed, failed = _keys(primary, rule.passes, "pass"), _keys(primary, rule.fails, "fail")
        refuted = _keys(primary, rule.passes, "fail")
        if passed and failed and not refuted:
            found.append(Conflict(rule.name, rule.reason, (*passed, *failed)))
    return (*found, *_disagreeing(primary), *_uninformative(endpoints))


def _keys(
    endpoints: Sequence[Endpoint], patterns: Sequence[str], verdict: Judgement
) -> tuple[str, ...]:
    matching = (e for e in endpoints if any(fnmatchcase(e.key, pattern) for pattern in patterns))
    return tuple(e.key for e in matching if e.verdict == verdict)


def _disagreeing(primary: Sequence[Endpoint]) -> list[Conflict]:
    """Return the metrics that pass on one feature extractor and fail on another."""
    reason = (
        "One feature extractor calls the images real and another does not: neither alone can be "
        "believed."
    )
    found = []
    for metric in dict.fromkeys(e.metric for e in primary if e.level == "feature"):
        passed, failed = (
            _keys(primary, (f"feature/{metric}/*",), verdict) for verdict in ("pass", "fail")
        )
        if passed and failed:
            found.append(Conflict("extractors disagree", reason, (*passed, *failed)))
    return found


def _uninformative(endpoints: Sequence[Endpoint]) -> list[Conflict]:
    """Return the regions where intervals cover as promised, and are as wide as those around the
    simple baseline would be.

    Errors of mean size m that are normal have a central interval of width `2 z sqrt(pi / 2) m`.
    """
    known = {e.key: e for e in endpoints}
    found = []
    for key in _keys([e for e in endpoints if e.primary], ("trust/coverage/*",), "pass"):
        region, level = known[key].region, known[key].ideal
        width, error = known.get(f"trust/interval-width/{region}"), known.get(f"pixel/mae/{region}")
        if (
            width is None
            or width.value is None
            or error is None
            or error.bad is None
            or level is None
        ):
            continue
        blind = 2 * float(ndtri((1 + level) / 2)) * float(np.sqrt(np.pi / 2)) * error.bad
        if width.value >= blind:
            reason = (
                f"The intervals in {region} hold the truth as often as promised, but their mean "
                f"width is {width.value:.3g} "
                f"{width.units}; around the simple baseline {blind:.3g} would do. They say nothing."
            )
            found.append(Conflict("uninformative intervals", reason, (key, width.key, error.key)))
    return found
