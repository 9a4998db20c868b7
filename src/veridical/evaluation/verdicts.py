"""From numbers to verdicts, by rules that fit on a page.

Pass: the interval clears the limit. Fail: it is wholly on the wrong side. Else inconclusive. Primary endpoints are corrected
for their number by Holm's method, exploratory p-values by Benjamini and Hochberg's. A level is its worst primary endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from veridical.evaluation.results import Conflict, Endpoint, Judgement, LevelVerdict
from veridical.evaluation.statistics import benjamini_hochberg, holm
from veridical.types import Level

ALPHA = 0.025
"""One-sided; the two-sided interval is of 95 %."""
WORST: tuple[Judgement, ...] = ("fail", "inconclusive", "pass")
LEVELS: tuple[Level, ...] = ("pixel", "feature", "task", "trust")
MEANING = 0.01
"""A scale from baseline to floor that is shorter than this share of the value's own distance from the floor is no scale."""
APPEARANCE = ("feature/*",)
TRUTHFUL = ("task/dice/*", "task/surface-dice/*", "task/hausdorff95/*", "task/lesion-f1/*", "trust/coverage/*")


def distance(value: float, ideal: float | None) -> float:
    """Return the distance from the ideal value, or the value itself where there is none."""
    return value if ideal is None else abs(value - ideal)


def distances(interval: tuple[float, float], ideal: float | None) -> tuple[float, float]:
    """Return the interval of the distance from the ideal value: from 0 where the interval holds it."""
    if ideal is None:
        return interval
    ends = sorted(abs(end - ideal) for end in interval)
    return (0.0 if interval[0] <= ideal <= interval[1] else ends[0], ends[1])


def normalised(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with its score `(bad - m) / (bad - floor)`: 1 real against real, 0 a simple baseline.

    For a metric with an ideal value, m, bad and floor are distances from it. No score where one of the three is missing or
    where the baseline is no worse than the floor, since then the scale means nothing.
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
    low, high = sorted((endpoint.bad - end) / width for end in distances(endpoint.interval, endpoint.ideal))
    return replace(endpoint, score=score, score_interval=(low, high))


def judge(endpoints: Sequence[Endpoint], wrong: Mapping[str, tuple[float, float]]) -> tuple[Endpoint, ...]:
    """Return the endpoints with adjusted p-values and verdicts.

    Args:
        endpoints: with values, intervals, limits, and `p` where a metric is a test.
        wrong: key of a primary endpoint -> p-values of "no better than the limit" and "no worse than the limit".
    """
    primary = [e for e in endpoints if e.primary and e.key in wrong]
    better = dict(zip((e.key for e in primary), holm([wrong[e.key][0] for e in primary]), strict=True))
    worse = dict(zip((e.key for e in primary), holm([wrong[e.key][1] for e in primary]), strict=True))
    tested = [e for e in endpoints if not e.primary and e.p is not None]
    found = dict(zip((e.key for e in tested), benjamini_hochberg([e.p or 0.0 for e in tested]), strict=True))
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
        return replace(e, verdict="not_run", note=e.note or "Too few patients, or no score to hold against the limit.")
    verdict: Judgement = "pass" if better[e.key] <= ALPHA else "fail" if worse[e.key] <= ALPHA else "inconclusive"
    return replace(e, verdict=verdict, p=wrong[e.key][0], p_adjusted=better[e.key])


def levels(endpoints: Sequence[Endpoint], absent: Mapping[Level, str]) -> tuple[LevelVerdict, ...]:
    """Return each level's verdict, that of its worst primary endpoint.

    Args:
        endpoints: judged.
        absent: level -> why it may have no primary endpoint.
    """
    found = []
    for level in LEVELS:
        primary = [e for e in endpoints if e.primary and e.level == level and e.verdict in WORST]
        if not primary:
            found.append(LevelVerdict(level, "not_run", absent.get(level, "No primary endpoint could be computed.")))
            continue
        worst = min(primary, key=lambda e: (WORST.index(e.verdict), e.score if e.score is not None else 0.0))
        found.append(LevelVerdict(level, worst.verdict, _reason(worst, len(primary))))
    return tuple(found)


def _reason(e: Endpoint, count: int) -> str:
    of_score = e.limit_of == "score" and e.score is not None
    value, interval = (e.score, e.score_interval) if of_score else (e.value, e.interval)
    scale = " on the scale from the simple baseline (0) to real against real (1)" if of_score else f" {e.units}"
    between = "" if interval is None else f", 95 % interval {interval[0]:.3g} to {interval[1]:.3g}"
    limit = f"at most {e.limit:g} away from {e.ideal:g}" if e.ideal is not None and not of_score else f"limit {e.limit:g}"
    which = "the only primary endpoint" if count == 1 else f"the worst of {count} primary endpoints"
    return f"{e.label} in {e.region} is {value:.3g}{'' if scale == ' 1' else scale}{between}; {limit}. It is {which}."


def conflicts(endpoints: Sequence[Endpoint]) -> tuple[Conflict, ...]:
    """Return where levels disagree in a way that has a name."""
    verdict = {e.key: e.verdict for e in endpoints if e.primary}
    found = []

    def keys(patterns: Sequence[str], wanted: Judgement) -> tuple[str, ...]:
        return tuple(key for key, v in verdict.items() if v == wanted and any(fnmatchcase(key, p) for p in patterns))

    pixels, features = keys(("pixel/*",), "pass"), keys(APPEARANCE, "pass")
    tasks, untrue, unreal = keys(("task/*",), "fail"), keys(TRUTHFUL, "fail"), keys(APPEARANCE, "fail")
    if pixels and tasks:
        reason = "Pixels are close to the reference while the task fails: over-smoothing, or a finding is lost."
        found.append(Conflict("over-smoothing", reason, pixels + tasks))
    if pixels and unreal:
        reason = "Pixels are close to the reference while the texture is not that of real images: over-smoothing is likely."
        found.append(Conflict("smooth", reason, pixels + unreal))
    if features and untrue:
        reason = "The images look real while what they show is not what was there: plausible and wrong."
        found.append(Conflict("looks real, is not true", reason, features + untrue))
    if features and unreal:
        reason = "One feature extractor calls the images real and another does not: neither alone can be believed."
        found.append(Conflict("extractors disagree", reason, features + unreal))
    return tuple(found)
