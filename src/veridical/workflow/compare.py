"""Rank several generators on the same real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import InputError
from veridical.evaluation import catalogue
from veridical.evaluation.aggregate import worst_value
from veridical.evaluation.ranking import Ranking, rank
from veridical.evaluation.results import CaseRow, Evaluation
from veridical.evaluation.signature import canonical
from veridical.io.guards import replacing
from veridical.task import Progress, silent
from veridical.workflow.evaluate import Evaluate

RANKED = ("pixel/ssim/foreground", "pixel/mae/foreground", "pixel/psnr/foreground")
"""Endpoints of single cases that are ranked beside the primary ones."""
RANKING = "ranking.json"


def compare(
    candidates: Mapping[str, Any] | Sequence[str | Path],
    reference: Any,
    out: str | Path | None = None,
    settings: Evaluate | None = None,
    progress: Progress = silent,
) -> tuple[Ranking, ...]:
    """Evaluate every candidate by one protocol, and rank them on every endpoint that cases have a
    value of.

    Args: candidates: name -> images, or folders, which then give the names. reference: the real
        images. out: folder; each candidate's report goes into one of its own, the ranks into
        ranking.json. None writes nothing. settings: of every evaluation; the defaults when None.
        progress: called as work goes on.

    Returns: One ranking an endpoint; empty where none is shared. Sets without pairs have no
        endpoint of single cases.

    Raises: InputError: fewer than two candidates, two of one name, or one that did not pass the
        integrity gate.
    """
    named = (
        dict(candidates)
        if isinstance(candidates, Mapping)
        else {Path(each).name: each for each in candidates}
    )
    if len(named) < 2 or len(named) < len(candidates):
        raise InputError(
            f"{len(candidates)} candidates, called {', '.join(named)}; expected two or more, no "
            "two of one name."
        )
    judged: dict[str, Evaluation] = {}
    for name, images in named.items():
        folder = None if out is None else Path(out) / name
        judged[name] = (settings or Evaluate())(images, reference, folder, _said(name, progress))
        if not judged[name].cases:
            raise InputError(
                f"{name} did not pass the integrity gate: {judged[name].levels[0].reason}"
            )
    rankings = tuple(_ranking(key, judged) for key in _keys(judged))
    if out is not None:
        with replacing(Path(out) / RANKING) as temporary:
            temporary.write_bytes(canonical([asdict(ranking) for ranking in rankings]))
    return rankings


def table(rankings: Sequence[Ranking]) -> str:
    """Return the rankings as a Markdown table: mean, rank with its interval, how often the best,
    who cannot be told apart; and below it why, where one who is nearly always the best is not told
    apart from another.
    """
    heads = (
        "endpoint",
        "candidate",
        "mean",
        "rank (95 %)",
        "best in resamples",
        "not told apart from (p, corrected)",
    )
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|---|"]
    for ranking in rankings:
        for place, name in enumerate(ranking.order, 1):
            low, high = ranking.ranks[name]
            row = [
                ranking.key,
                name,
                f"{ranking.means[name]:.4g}",
                f"{place} ({low} to {high})",
                f"{ranking.first[name]:.0%}",
            ]
            alike = ", ".join(f"{other} ({p:.2g})" for other, p in ranking.alike(name).items())
            lines.append(f"| {' | '.join([*row, alike or 'none'])} |")
    caveats = [
        said for ranking in rankings for name in ranking.order if (said := ranking.caveat(name))
    ]
    return "\n".join([*lines, *(["", *caveats] if caveats else [])])


def _keys(judged: Mapping[str, Evaluation]) -> list[str]:
    """Return the endpoints of single cases that all candidates have: primary ones first."""
    shared = set.intersection(
        *({key for row in e.cases for key in row.values} for e in judged.values())
    )
    primary = [
        e.key for e in next(iter(judged.values())).endpoints if e.primary and e.key in shared
    ]
    return list(dict.fromkeys([*primary, *(key for key in RANKED if key in shared)]))


def _ranking(key: str, judged: Mapping[str, Evaluation]) -> Ranking:
    """Rank on the cases that every candidate was asked for; one that failed there counts as its
    endpoint's worst value.
    """
    rows = {name: {row.case: row for row in e.cases} for name, e in judged.items()}
    endpoint = next(iter(judged.values()))[key]
    shared = sorted(
        set.intersection(
            *({case for case, row in each.items() if _counts(row, key)} for each in rows.values())
        )
    )
    seen = [row.values[key] for each in rows.values() for row in each.values() if key in row.values]
    ideal = endpoint.ideal
    better = "lower" if ideal is not None else endpoint.better
    base = [
        row.baseline[key] for each in rows.values() for row in each.values() if key in row.baseline
    ]
    worst = worst_value(catalogue.about(endpoint.metric), seen + base)
    worst = worst if ideal is None else abs(worst - ideal)

    def value(row: CaseRow) -> float:
        if row.failed:
            return worst
        return row.values[key] if ideal is None else abs(row.values[key] - ideal)

    first = next(iter(rows.values()))
    values = {name: np.array([value(each[case]) for case in shared]) for name, each in rows.items()}
    protocol = next(iter(judged.values())).protocol
    return rank(
        key,
        values,
        [first[case].patient for case in shared],
        better,
        resamples=protocol["resamples"],
        seed=protocol["seed"],
    )


def _counts(row: CaseRow, key: str) -> bool:
    return bool(row.failed) or key in row.values


def _said(name: str, progress: Progress) -> Progress:
    return lambda what, done, total: progress(f"{name}: {what}", done, total)
