"""The table of scores: one row a result, one column a metric and region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from veridical import registry
from veridical.metrics.scores import facts
from veridical.report import words
from veridical.types import Result, Score


@dataclass(frozen=True)
class Value:
    """One entry of the table of scores."""

    text: str
    best: bool
    more: str


@dataclass(frozen=True)
class Column:
    """One metric in one region, for all results."""

    label: str
    direction: str
    values: tuple[Value | None, ...]


def columns(results: Mapping[str, Result], scores: Mapping[str, Sequence[Score]]) -> list[Column]:
    """Return one column a metric and region, in the order in which they come; the best of two or
    more is marked.

    Where neither more nor less is simply better (`Facts.target`), nothing is marked.
    """
    keys = list(
        dict.fromkeys((score.metric, score.region) for found in scores.values() for score in found)
    )
    made = []
    for metric, region in keys:
        row = [
            next(
                (s for s in scores.get(name, ()) if (s.metric, s.region) == (metric, region)), None
            )
            for name in results
        ]
        present = [score for score in row if score is not None]
        about = facts(metric) if metric in registry.entries("metric") else None
        label, target = (about.label, about.target) if about else (metric, "")
        sign, pick = (
            ("↑ higher is better", max)
            if present[0].better == "higher"
            else ("↓ lower is better", min)
        )
        best = (
            f"{pick(score.value for score in present):.4g}"
            if len(present) > 1 and not target
            else ""
        )
        values = tuple(
            None
            if s is None
            else Value(words.amount(s.value, s.units), f"{s.value:.4g}" == best, _more(s))
            for s in row
        )
        made.append(Column(f"{label}, {region}", f"→ {target}" if target else sign, values))
    return made


def _more(score: Score) -> str:
    parts = []
    if score.interval is not None:
        parts.append(f"{score.interval[0]:.4g} to {score.interval[1]:.4g}")
    if score.floor is not None:
        parts.append(f"real against real {score.floor:.4g}")
    return ", ".join(parts)


def ranking(found: Sequence[Column], names: Sequence[str]) -> str:
    """Return who is best in what, in words; empty where nothing is marked."""
    best: dict[str, list[str]] = {}
    for column in found:
        for name, value in zip(names, column.values, strict=True):
            if value is not None and value.best:
                best.setdefault(name, []).append(column.label.split(",")[0])
    said = [
        f"{name} is best in {words.listed(dict.fromkeys(labels))}" for name, labels in best.items()
    ]
    return f"{'; '.join(said)}." if said else ""


def captions(results: Mapping[str, Result], found: Sequence[Column]) -> dict[str, str]:
    """Return what stands under each result's image: its kind and its first score."""
    made = {name: derived.kind for name, derived in results.items()}
    for column in found[:1]:
        for name, value in zip(results, column.values, strict=True):
            made[name] += (
                f", {column.label.split(',')[0]} {value.text}" if value is not None else ""
            )
    return made
