"""Fairness: do scores, coverage and failures differ between groups of patients?

Every column of the table with a few words in it (sex, site, scanner, ...) makes groups; ages make
three of them, by bounds that are the same for every set. Every column of numbers is a score, and
one of yes and no is a rate. For each score the groups are compared by the permutation test of the
largest difference of a group's mean from the rest, in standard errors; p-values are corrected over
all scores and columns by Holm's method. A group that is too small to say anything is named and left
out, and the difference that the groups were large enough to find is stated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from veridical.audit.audited_study import AuditedStudy
from veridical.types import Finding, Result, Study

NAME = "fairness"
SUBJECT = "set"
LEVEL = 0.05
LEAST = 10
"""Patients of a group below which it is too small."""
MOST = 12
"""Different words in a column from which it names patients, not groups."""
PERMUTATIONS = 4999
AGES = (45.0, 65.0)
"""Years that part the groups of age."""
AGE = ("age", "patient_age", "age_years")
CODED = ("sex", "gender", "site", "scanner", "centre", "center", "manufacturer", "field")
"""Columns whose numbers are names of groups."""
PATIENT = ("patient", "patient_id", "participant_id", "subject")
TRUE, FALSE = frozenset({"yes", "true"}), frozenset({"no", "false"})
ABSENT = frozenset({"", "n/a", "na", "nan", "none"})
DETECTED = 2.8
"""Standard errors that a difference must have to be found in 80 % of sets at a level of 0.05."""
SHOWN = 4
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GroupDifference:
    """One score between the groups of one column.

    Args:
        score, column: as in the table.
        means: group -> mean, 95 % interval and number of patients.
        group: that differs most from the rest, by `gap` in units of the score.
        detectable: gap that would have been found in 80 % of such sets, before correction.
        p, adjusted: of the permutation test, and after Holm's correction.
    """

    score: str
    column: str
    means: Mapping[str, tuple[float, float, float, int]]
    group: str
    gap: float
    detectable: float
    p: float
    adjusted: float = 1.0


def fairness(study: Study, result: Result) -> Finding | None:
    """Compare groups; None without a table."""
    if not isinstance(study, AuditedStudy) or not study.table:
        return None
    rows = [dict(row) for row in study.table.values()]
    columns, small = groups(rows)
    values = scores(rows, set(columns))
    if not columns or not values:
        what = "no column with two groups" if not columns else "no column of scores"
        few = f" {_few(small)}" if small else ""
        reason = (
            f"The table has {what} of {LEAST} or more patients.{few} Give one with age, sex, site "
            "or scanner, and scores, coverage or failures (numbers, or yes and no)."
        )
        return Finding(NAME, "not_run", reason, {"small": small})
    patients = _patients(rows, list(study.table))
    found = compared(columns, values, patients)
    differing = [one for one in found if one.adjusted <= LEVEL]
    evidence = {
        "differences": {f"{one.score} by {one.column}": _numbers(one) for one in found},
        "small": small,
    }
    few = f" {_few(small)}" if small else ""
    count = f"{len(found)} comparisons of {len(set(patients))} patients"
    if differing:
        said = "; ".join(map(_said, differing[:SHOWN]))
        reason = (
            f"Groups differ ({count}, Holm's correction): {said}.{few} Say so on the model's card; "
            "look for what the groups differ in, and train or calibrate on more of them."
        )
        return Finding(NAME, "warn", reason, evidence)
    least = max(found, key=lambda one: one.detectable / max(_spread(values[one.score]), 1e-12))
    reason = (
        f"No group differs from the others ({count}, Holm's correction, smallest adjusted p "
        f"{min(one.adjusted for one in found):.2g}). A gap below {least.detectable:.3g} in "
        f"{least.score} by {least.column} would often be missed.{few}"
    )
    return Finding(NAME, "pass", reason, evidence)


def _few(small: Mapping[str, int]) -> str:
    named = ", ".join(f"{group} ({count})" for group, count in small.items())
    return f"Too small to judge: {named}; {LEAST} patients are needed."


def _said(one: GroupDifference) -> str:
    mean, low, high, count = one.means[one.group]
    return (
        f"{one.score} of {one.column} = {one.group} is {mean:.3g} ({low:.3g} to {high:.3g}, n = "
        f"{count}), {abs(one.gap):.3g} {'above' if one.gap > 0 else 'below'} the others, p = "
        f"{one.adjusted:.2g}"
    )


def _numbers(one: GroupDifference) -> dict[str, Any]:
    return {
        "means": {group: list(mean) for group, mean in one.means.items()},
        "largest gap": one.gap,
        "of": one.group,
        "detectable": one.detectable,
        "p": one.p,
        "adjusted": one.adjusted,
    }


def groups(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, NDArray[np.str_]], dict[str, int]]:
    """Return the groups of each column, `(row,)` with an empty string where a row is in none that
    is large enough, and the groups that are too small with their numbers of rows.
    """
    found, small = {}, {}
    for column in _columns(rows):
        if column.lower() in PATIENT:
            continue
        words = np.array([_group(column, row.get(column)) for row in rows])
        names, counts = np.unique(words[words != ""], return_counts=True)
        if not 2 <= len(names) <= MOST or set(names) <= TRUE | FALSE:
            continue
        for name, count in zip(names.tolist(), counts.tolist(), strict=True):
            if count < LEAST:
                small[f"{column} = {name}"] = count
                words[words == name] = ""
        if len(np.unique(words[words != ""])) > 1:
            found[column] = words
    return found, small


def scores(rows: Sequence[Mapping[str, Any]], taken: set[str]) -> dict[str, Floats]:
    """Return the columns that are numbers, or yes and no as 1 and 0; NaN where nothing stands."""
    found = {}
    for column in _columns(rows):
        if column in taken or column.lower() in (*PATIENT, *AGE, *CODED):
            continue
        values = np.array([_number(row.get(column)) for row in rows])
        told = [row for row in rows if str(row.get(column) or "").strip().lower() not in ABSENT]
        known = values[np.isfinite(values)]
        if len(known) == len(told) and len(known) >= 2 * LEAST and np.ptp(known) > 0:
            found[column] = values
    return found


def compared(
    columns: Mapping[str, NDArray[np.str_]],
    values: Mapping[str, Floats],
    patients: Sequence[str],
    seed: int = 0,
) -> list[GroupDifference]:
    """Compare every score between the groups of every column.

    Args:
        columns: name -> group of each row; empty: in none.
        values: name -> score of each row.
        patients: whose row it is: rows of one patient are averaged, so that patients are the unit.
    """
    pairs = ((score, column) for score in values for column in columns)
    each = [_compared(s, c, values[s], columns[c], np.array(patients), seed) for s, c in pairs]
    found = sorted((one for one in each if one is not None), key=lambda one: one.p)
    adjusted = np.maximum.accumulate(
        [min(1.0, one.p * (len(found) - rank)) for rank, one in enumerate(found)] or [1.0]
    )
    return [
        GroupDifference(**{**one.__dict__, "adjusted": float(p)})
        for one, p in zip(found, adjusted, strict=False)
    ]


def _compared(
    score: str,
    column: str,
    values: Floats,
    words: NDArray[np.str_],
    patients: NDArray[np.str_],
    seed: int,
) -> GroupDifference | None:
    kept = np.isfinite(values) & (words != "")
    who, first, owner = np.unique(patients[kept], return_index=True, return_inverse=True)
    mean = np.bincount(owner, values[kept]) / np.bincount(owner)
    group = words[kept][first]
    names, counts = np.unique(group, return_counts=True)
    if len(names) < 2 or counts.min() < LEAST or np.ptp(mean) == 0:
        return None
    member = (group == names[:, None]).astype(np.float64)
    observed = _gaps(member, mean[:, None])[:, 0]
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(mean, (PERMUTATIONS, 1)), axis=1).T
    width = np.sqrt(1 / counts + 1 / np.maximum(len(who) - counts, 1))
    largest = np.abs(_gaps(member, drawn) / width[:, None]).max(0)
    most = int(np.argmax(np.abs(observed) / width))
    p = (1 + np.sum(largest >= np.abs(observed[most]) / width[most] * (1 - 1e-9))) / (
        1 + PERMUTATIONS
    )
    return GroupDifference(
        score, column, {str(name): _mean(mean[group == name]) for name in names},
        str(names[most]), float(observed[most]),
        float(DETECTED * _spread(mean) * width.max()), float(p),
    )  # fmt: skip


def _gaps(member: Floats, values: Floats) -> Floats:
    """Return each group's mean less that of all others, `(group, draw)`."""
    counts = member.sum(1, keepdims=True)
    inside = member @ values
    return np.asarray(inside / counts - (values.sum(0) - inside) / (values.shape[0] - counts))


def _mean(values: Floats) -> tuple[float, float, float, int]:
    """Return the mean, its 95 % interval and the number: Wilson's interval of a rate, Student's of
    other scores.
    """
    count, mean = len(values), float(values.mean())
    if np.isin(values, (0.0, 1.0)).all():
        low, high = stats.binomtest(int(values.sum()), count).proportion_ci(0.95, method="wilson")
        return mean, float(low), float(high), count
    half = float(stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half, count


def _spread(values: Floats) -> float:
    return float(np.nanstd(values, ddof=1))


def _patients(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Return whose each row is: what a column says, else the row's own name."""
    column = next((name for name in _columns(rows) if name.lower() in PATIENT), None)
    if column is None:
        return list(names)
    return [str(row.get(column) or name) for row, name in zip(rows, names, strict=True)]


def _columns(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the columns after the first, which names the image."""
    yield from [*rows[0]][1:]


def _group(column: str, value: Any) -> str:
    """Return the group that a value puts a row into; empty where it is a number or nothing."""
    text = str(value or "").strip()
    if text.lower() in ABSENT:
        return ""
    number = _number(text)
    if column.lower() in AGE and np.isfinite(number):
        young, old = AGES
        names = (f"under {young:g}", f"{young:g} to {old:g}", f"over {old:g}")
        return names[int(number >= young) + int(number > old)]
    return text if column.lower() in CODED or not np.isfinite(number) else ""


def _number(value: Any) -> float:
    text = str(value if value is not None else "").strip()
    if text.lower() in TRUE | FALSE:
        return float(text.lower() in TRUE)
    try:
        return float(text)
    except ValueError:
        return float("nan")
