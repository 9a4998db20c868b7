"""The standings of a league: what every entry scored and cost, who is ahead of whom, and how sure
that is.

Scores of single cases are averaged over seeds, then compared over the same patients. Sets of
features have one value a set: there, two entries differ where their intervals lie apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
from scipy import stats

from veridical.evaluation import catalogue
from veridical.evaluation.aggregate import worst_value
from veridical.evaluation.ranking import Ranking, rank
from veridical.evaluation.results import CaseRow, Endpoint
from veridical.evaluation.statistics import bca, bootstrap
from veridical.evaluation.verdicts import FEWEST
from veridical.types import Array

RESAMPLES, SEED = 2000, 0
SETS = "feature"
"""Level whose endpoints have one value a set."""


@dataclass(frozen=True)
class Judged:
    """What the evaluation said of an entry with one seed."""

    endpoints: tuple[Endpoint, ...] = ()
    cases: tuple[CaseRow, ...] = ()
    refused: str = ""
    """Why there is no score; empty where there is one."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Judged:
        """Return what `asdict` of one gave."""
        ends = ("interval", "score_interval")
        listed: list[dict[str, Any]] = [
            {k: tuple(v) if k in ends and v else v for k, v in one.items()}
            for one in stored["endpoints"]
        ]
        endpoints = (Endpoint(**one) for one in listed)
        cases = (CaseRow(**one) for one in stored["cases"])
        return cls(tuple(endpoints), tuple(cases), stored["refused"])


@dataclass(frozen=True)
class LeagueScore:
    """One number of an entry.

    Args:
        label, units, level, region, better: of the endpoint.
        value: mean over seeds.
        interval: 95 %, over patients, or None.
        n: patients.
        seeds: the value with each seed.
        note: why there is no interval, or what to bear in mind.
    """

    label: str
    units: str
    level: str
    region: str
    better: Literal["higher", "lower"]
    value: float
    interval: tuple[float, float] | None
    n: int
    seeds: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Cost:
    """What an entry took: means over folds and seeds.

    Args:
        parameters: of the network.
        steps: optimizer steps.
        seconds, processor_seconds: of training.
        seconds_per_slice: of making one slice once; None where nothing was made.
        training_memory, making_memory: MiB beyond what was held before; None where not known.
    """

    parameters: int
    steps: int
    seconds: float
    processor_seconds: float
    seconds_per_slice: float | None = None
    training_memory: float | None = None
    making_memory: float | None = None


@dataclass(frozen=True)
class Standing:
    """One entry of the table.

    Args:
        name, family, backbone, classical, net: of the protocol.
        status: `done`; `no score` where the evaluation refused the images; `failed`; `not run`.
        reason: why it is not done; empty where it is.
        cost: None where nothing was trained yet.
        scores: endpoint -> score.
        rank: mean rank over the levels, and its 95 % interval over patients; None where there are
            not two entries to compare.
    """

    name: str
    family: str
    backbone: str
    classical: str
    net: Mapping[str, Any]
    status: Literal["done", "no score", "failed", "not run"]
    reason: str = ""
    cost: Cost | None = None
    scores: Mapping[str, LeagueScore] = field(default_factory=dict)
    rank: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Standings:
    """The whole league.

    Args:
        title: of the protocol.
        about: job, data and budget in words and numbers.
        entries: those that are done in the order of their rank, then the others.
        headline: endpoints that rank, as far as all entries have them.
        rankings: one for every endpoint of single cases among them.
        notes: what to bear in mind.
    """

    title: str
    about: Mapping[str, Any]
    entries: tuple[Standing, ...]
    headline: tuple[str, ...]
    rankings: tuple[Ranking, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def ranking(self, key: str) -> Ranking | None:
        """Return the ranking on an endpoint; None of endpoints of sets."""
        return next((one for one in self.rankings if one.key == key), None)

    def alike(self, key: str, name: str) -> tuple[str, ...] | None:
        """Return the entries that cannot be told apart from one on an endpoint; None where nothing
        can be said.
        """
        ranking = self.ranking(key)
        if ranking is not None:
            return tuple(ranking.alike(name)) if name in ranking.order else None
        known = {one.name: one.scores[key] for one in self.entries if key in one.scores}
        mine = known.get(name)
        if mine is None or mine.interval is None:
            return None
        low, high = mine.interval
        return tuple(
            other
            for other, score in known.items()
            if other != name
            and score.interval is not None
            and score.interval[0] <= high
            and low <= score.interval[1]
        )


def scores(judged: Sequence[Judged]) -> dict[str, LeagueScore]:
    """Return every number of an entry, over all its seeds.

    Args:
        judged: one a seed, on the same cases.
    """
    found: dict[str, LeagueScore] = {}
    keys = [e.key for e in judged[0].endpoints if e.value is not None] if judged else []
    for key in keys:
        every = [e for one in judged for e in one.endpoints if e.key == key and e.value is not None]
        if len(every) < len(judged):
            continue
        first, values = every[0], tuple(float(e.value or 0.0) for e in every)
        interval, note = first.interval, first.note
        if len(every) > 1:
            interval, note = _over_seeds(key, judged, every)
        found[key] = LeagueScore(
            first.label,
            first.units,
            first.level,
            first.region,
            first.better,
            float(np.mean(values)),
            interval,
            first.n,
            values,
            note,
        )
    return found


def _over_seeds(
    key: str, judged: Sequence[Judged], every: Sequence[Endpoint]
) -> tuple[tuple[float, float] | None, str]:
    """Return the interval over patients of a mean over seeds."""
    row = by_case(key, judged)
    if row is not None:
        values, patients = row
        if len(set(patients.values())) < FEWEST:
            return None, every[0].note
        order = sorted(values)
        numbers = np.array([values[case] for case in order])
        who = [patients[case] for case in order]
        return bca(bootstrap(numbers, who, resamples=RESAMPLES, seed=SEED)), every[0].note
    ends = [e.interval for e in every if e.interval is not None]
    if len(ends) < len(every):
        return None, every[0].note
    low, high = np.mean(ends, 0)
    return (
        float(low),
        float(high),
    ), f"Mean of the intervals of {len(every)} seeds. {every[0].note}"


def by_case(key: str, judged: Sequence[Judged]) -> tuple[dict[str, float], dict[str, str]] | None:
    """Return the value and the patient of every case, means over seeds; None where cases have none.

    A case that failed counts as the worst value.
    """
    if not any(key in row.values for one in judged for row in one.cases):
        return None
    about = catalogue.about(key.split("/")[1])
    seen = [
        part[key]
        for one in judged
        for r in one.cases
        for part in (r.values, r.baseline)
        if key in part
    ]
    worst = worst_value(about, seen)
    values: dict[str, list[float]] = {}
    patients: dict[str, str] = {}
    for one in judged:
        for row in one.cases:
            if row.failed or key in row.values:
                values.setdefault(row.case, []).append(worst if row.failed else row.values[key])
                patients[row.case] = row.patient
    return {case: float(np.mean(each)) for case, each in values.items()}, patients


def headline(
    patterns: Sequence[str], entries: Mapping[str, Mapping[str, LeagueScore]]
) -> list[str]:
    """Return the endpoints of the patterns that any entry has, in their order."""
    known = sorted({key for one in entries.values() for key in one})
    listed = (key for pattern in patterns for key in known if fnmatchcase(key, pattern))
    return list(dict.fromkeys(listed))


def rankings(keys: Sequence[str], judged: Mapping[str, Sequence[Judged]]) -> list[Ranking]:
    """Return a ranking, of the entries that have it, for each endpoint that cases have values of.

    Args:
        keys: endpoints.
        judged: entry -> one a seed.
    """
    found = []
    for key in keys:
        table = _table(key, judged)
        if table is not None and len(table[0]) > 1:
            values, patients, better = table
            found.append(rank(key, values, patients, better, resamples=RESAMPLES, seed=SEED))
    return found


def ranks(
    keys: Sequence[str],
    judged: Mapping[str, Sequence[Judged]],
    known: Mapping[str, Mapping[str, LeagueScore]],
) -> dict[str, tuple[float, float, float]]:
    """Return the mean rank of each entry and its 95 % interval over resamples of patients; empty
    for fewer than two entries.

    Endpoints of a level are averaged first, so that every level counts alike. An entry without a
    value is the last.

    Args:
        keys: endpoints that any entry has.
        judged: entry -> one a seed.
        known: entry -> its scores.
    """
    names = sorted(judged)
    if len(names) < 2 or not keys:
        return {}
    levels: dict[str, list[Array]] = {}
    for key in keys:
        levels.setdefault(key.split("/")[0], []).append(_ranked(key, names, judged, known))
    found = np.mean([np.mean(each, 0) for each in levels.values()], 0)
    low, high = np.quantile(found[:, 1:], (0.025, 0.975), axis=1)
    return {
        name: (float(found[i, 0]), float(low[i]), float(high[i])) for i, name in enumerate(names)
    }


def _ranked(
    key: str,
    names: Sequence[str],
    judged: Mapping[str, Sequence[Judged]],
    known: Mapping[str, Mapping[str, LeagueScore]],
) -> Array:
    """Return the ranks on an endpoint `(entry, 1 + resample)`: as observed, and in every resample
    of patients; a set has one value, whatever is drawn.
    """
    columns = np.full((len(names), 1 + RESAMPLES), np.inf)
    table = _table(key, judged)
    if table is None:
        for i, name in enumerate(names):
            one = known[name].get(key)
            if one is not None:
                columns[i] = -one.value if one.better == "higher" else one.value
        return np.asarray(stats.rankdata(columns, axis=0))
    values, patients, better = table
    for i, name in enumerate(names):
        if name in values:
            drawn = bootstrap(values[name], patients, resamples=RESAMPLES, seed=SEED)
            columns[i] = np.concatenate([[drawn.observed], drawn.values])
            columns[i] *= -1.0 if better == "higher" else 1.0
    return np.asarray(stats.rankdata(columns, axis=0))


def _table(
    key: str, judged: Mapping[str, Sequence[Judged]]
) -> tuple[dict[str, Array], list[str], Literal["higher", "lower"]] | None:
    """Return entry -> `(case,)` on the cases that all of them have, their patients, and which way
    is better; where a value is ideal, distances from it. None where cases have no value.
    """
    rows = {name: by_case(key, each) for name, each in judged.items()}
    listed = {name: row for name, row in rows.items() if row is not None}
    shared = (
        sorted(set.intersection(*(set(values) for values, _ in listed.values()))) if listed else []
    )
    if not shared:
        return None
    about = catalogue.about(key.split("/")[1])
    patients = next(iter(listed.values()))[1]
    values = {name: np.array([row[case] for case in shared]) for name, (row, _) in listed.items()}
    if about.ideal is not None:
        values = {name: np.abs(each - about.ideal) for name, each in values.items()}
    better: Literal["higher", "lower"] = "lower" if about.ideal is not None else about.better
    return values, [patients[case] for case in shared], better
