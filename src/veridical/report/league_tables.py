"""The tables of a league: what is shown of every entry, as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from veridical.evaluation.standings import Cost, LeagueScore, Standing, Standings
from veridical.report.words import listed

NOT_THERE = "–"
LONGEST = 4
"""Entries that are named in a list; of more, their number is said."""


@dataclass(frozen=True)
class Heading:
    """A column of scores.

    Args:
        key: the endpoint.
        label: with region and units.
        arrow: which way is better.
    """

    key: str
    label: str
    arrow: str


def headings(standings: Standings) -> list[Heading]:
    """Return the columns of scores, in the order in which they rank."""
    found = []
    for key in standings.headline:
        one = next(e.scores[key] for e in standings.entries if key in e.scores)
        region = "" if one.region in ("foreground",) else f", {one.region}"
        units = f" ({one.units})" if one.units not in ("", "1") else ""
        arrow = "↑" if one.better == "higher" else "↓"
        found.append(Heading(key, f"{one.label}{region}{units}", arrow))
    return found


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as tables show it."""
    return NOT_THERE if value is None else f"{value:.{digits}g}"


def score(one: LeagueScore | None) -> str:
    """Return a score with its interval."""
    if one is None:
        return NOT_THERE
    text = f"{one.value:.4g}"
    if one.interval is not None:
        text += f" ({one.interval[0]:.4g} to {one.interval[1]:.4g})"
    return text


def rank(one: Standing) -> str:
    """Return the mean rank with its interval."""
    if one.rank is None:
        return NOT_THERE
    return f"{one.rank[0]:.1f} ({one.rank[1]:.1f} to {one.rank[2]:.1f})"


def alike(standings: Standings, key: str, name: str) -> str:
    """Return which entries cannot be told apart from one, in words."""
    others = standings.alike(key, name)
    if others is None:
        return "not known"
    if len(others) > LONGEST:
        return f"{len(others)} others"
    return listed(others) if others else "none"


def costs(cost: Cost | None) -> tuple[str, ...]:
    """Return parameters, steps, training seconds, milliseconds a slice, and memory in MiB."""
    if cost is None:
        return (NOT_THERE,) * 6
    slow = None if cost.seconds_per_slice is None else 1000 * cost.seconds_per_slice
    return (
        f"{cost.parameters / 1e6:.2f} M" if cost.parameters else "none",
        str(cost.steps),
        f"{cost.processor_seconds:.0f}",
        number(slow),
        number(cost.training_memory),
        number(cost.making_memory),
    )


COSTS = (
    "parameters",
    "steps",
    "training, processor s",
    "ms a slice and draw",
    "MiB, training",
    "MiB, making",
)
"""Heads of the columns of `costs`."""


def markdown(standings: Standings) -> str:
    """Return the league as Markdown: scores and rank, costs, differences, notes."""
    heads = headings(standings)
    lines = [f"# {standings.title}", "", about(standings), ""]
    done = [one for one in standings.entries if one.status == "done"]
    rows = [
        [one.name, rank(one), *(score(one.scores.get(head.key)) for head in heads)] for one in done
    ]
    named = [f"{head.label} {head.arrow}" for head in heads]
    lines += _table(["entry", "mean rank (95 %)", *named], rows)
    rows = [[one.name, *costs(one.cost)] for one in standings.entries]
    lines += ["", "## Costs", "", *_table(["entry", *COSTS], rows)]
    if len(done) > 1 and heads:
        rows = [[one.name, *(alike(standings, h.key, one.name) for h in heads)] for one in done]
        lines += ["", "## Not told apart from", "", *_table(["entry", *named], rows)]
    others = [one for one in standings.entries if one.status != "done"]
    if others:
        rows = [[one.name, one.status, one.reason] for one in others]
        lines += ["", "## Not in the table", "", *_table(["entry", "status", "why"], rows)]
    lines += ["", *(f"- {note}" for note in standings.notes)] if standings.notes else []
    return "\n".join(lines).rstrip() + "\n"


def about(standings: Standings) -> str:
    """Return in a sentence what the league is about."""
    known = standings.about
    return (
        f"{known['task']} {known['patients']} held-out patients, {known['cases']} cases. Budget of "
        f"each entry: {known['budget']}."
    )


def long_csv(standings: Standings) -> str:
    """Return every number of every entry as CSV, one a line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ("entry", "status", "endpoint", "label", "units", "value", "low", "high", "patients")
    writer.writerow((*head, "seeds"))
    for one in standings.entries:
        named = dict(zip(COSTS, _cost_values(one.cost), strict=True))
        for label, value in named.items():
            if value is not None:
                writer.writerow(
                    (one.name, one.status, "cost", label, "", f"{value:.6g}", *[""] * 4)
                )
        for key, found in one.scores.items():
            ends = found.interval or ("", "")
            seeds = " ".join(f"{value:.6g}" for value in found.seeds)
            low, high = (end if end == "" else f"{end:.6g}" for end in ends)
            score_row = (one.name, one.status, key, found.label, found.units)
            writer.writerow((*score_row, f"{found.value:.6g}", low, high, found.n, seeds))
    return stream.getvalue()


def _cost_values(cost: Cost | None) -> tuple[float | None, ...]:
    if cost is None:
        return (None,) * len(COSTS)
    slow = None if cost.seconds_per_slice is None else 1000 * cost.seconds_per_slice
    return (
        cost.parameters,
        cost.steps,
        cost.processor_seconds,
        slow,
        cost.training_memory,
        cost.making_memory,
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
