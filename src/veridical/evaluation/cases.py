"""Cases: which candidate belongs to which reference, whose it is, and what else is known of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from veridical.errors import FormatError, InputError, nearest
from veridical.evaluation.names import base_of, match, patient_of
from veridical.evaluation.sources import Source, find, results
from veridical.io.contrast import stem

LABELS = frozenset({"mask", "labels", "candidate_labels"})
COMPANIONS = ("lower", "upper", "draws")
"""Roles that results of Veridical bring with them."""
NAMES = ("case", "patient")
MISSING = frozenset({"", "na", "n/a", "nan", "none"})


@dataclass(frozen=True, eq=False)
class Case:
    """One case; a side that is missing is None.

    Args:
        name: of the reference where there is one.
        patient: whose it is.
        candidate, reference: its images.
        roles: `mask`, `labels`, `candidate_labels`, `lower`, `upper`, `draws` (several), `retest`, `baseline`, `dose`,
            `candidate_dose`.
        groups: columns of the table, e.g. `site`, `sex`.
    """

    name: str
    patient: str
    candidate: Source | None
    reference: Source | None
    roles: Mapping[str, Source | tuple[Source, ...]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Cases:
    """All cases of an evaluation.

    Args:
        paired: candidate and reference show the same cases; otherwise every case has one side.
        cases: in the order of their names.
        training: the generator's training images, by name.
        second: a second set of real images, by name.
        dropped: names that were left out, and why.
        notes: what was decided on the way, in sentences.
    """

    paired: bool
    cases: tuple[Case, ...]
    training: Mapping[str, Source] = field(default_factory=dict)
    second: Mapping[str, Source] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def collect(
    candidate: Any,
    reference: Any,
    *,
    paired: bool | None = None,
    roles: Mapping[str, Any] | None = None,
    training: Any = None,
    second: Any = None,
    table: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Cases:
    """Find the images of all sides and put them together by case.

    Args:
        candidate, reference: as `sources.find` takes them.
        paired: whether they show the same cases; None: when at least half of the smaller side's names match.
        roles: role -> where its images are.
        training, second: further sets.
        table: CSV with a column `case` or `patient`; all others are groups.
        options: for reading.

    Raises:
        InputError: as `sources.find`; no common name although paired; a table of other cases.
        FormatError: the table cannot be read.
    """
    options = dict(options or {})
    made, real = find(candidate, options), find(reference, options)
    pairs, stripped = match(made, real)
    notes = [f"Names were paired with {stripped} left out."] if stripped else []
    if paired is None:
        paired = 2 * len(pairs) >= min(len(made), len(real))
        notes.append(f"{len(pairs)} of {len(made)} candidates and {len(real)} references have the same name: taken as "
                     f"{'pairs' if paired else 'two sets without pairs'}.")  # fmt: skip
    elif paired and not pairs:
        raise InputError(
            f"No candidate has the name of a reference: {', '.join(sorted(made)[:3])} against {', '.join(sorted(real)[:3])}. "
            "Name them alike, or say that they are no pairs: --paired no."
        )
    if paired:
        back = {theirs: ours for ours, theirs in pairs.items()}
        listed = [Case(name, patient_of(name), made.get(back.get(name, "")), source) for name, source in real.items()]
        listed += [Case(name, patient_of(name), source, None) for name, source in made.items() if name not in pairs]
    else:
        listed = [Case(f"candidate {name}", patient_of(name), source, None) for name, source in made.items()]
        listed += [Case(f"reference {name}", patient_of(name), None, source) for name, source in real.items()]
    given = dict(roles or {})
    if isinstance(candidate, str | Path):
        for role in COMPANIONS:
            given.setdefault(role, results(Path(candidate), role, options) or None)
    for role, where in given.items():
        if where is not None:
            listed, said = _with_role(listed, role, where, options)
            notes += said
    cases = _with_groups(listed, table) if table is not None else listed
    return Cases(
        paired,
        tuple(sorted(cases, key=lambda case: case.name)),
        {} if training is None else find(training, options),
        {} if second is None else find(second, options),
        notes=tuple(notes),
    )


def _with_role(cases: list[Case], role: str, where: Any, options: Mapping[str, Any]) -> tuple[list[Case], list[str]]:
    """Give every case its image of a role, by the same rules as candidates and references are paired by."""
    reading = {key: value for key, value in options.items() if key not in ("contrast", "units")}
    if role in LABELS:
        reading["units"] = "label"
    found = _draws(where, reading) if role == "draws" else _given(where, reading)
    names = [_bare(case) for case in cases]
    pairs, stripped = match(found, names)
    if not pairs:
        by_base = {base_of(name): name for name in names}
        pairs = {ours: by_base[base_of(ours)] for ours in found if base_of(ours) in by_base}
    if not pairs:
        raise InputError(
            f"No {role} has the name of a case: {', '.join(sorted(found)[:3])} against {', '.join(sorted(names)[:3])}. Name "
            "them alike."
        )
    by_name = {theirs: found[ours] for ours, theirs in pairs.items()}
    lacking = sum(name not in by_name for name in names)
    notes = [f"{role}: paired with {stripped} left out."] if stripped else []
    notes += [f"{lacking} of {len(cases)} cases have no {role}."] if lacking else []
    return [
        replace(case, roles={**case.roles, role: by_name[_bare(case)]}) if _bare(case) in by_name else case for case in cases
    ], notes


def _bare(case: Case) -> str:
    """Return a case's name without the side that unpaired cases have before it."""
    return case.name.removeprefix("candidate ").removeprefix("reference ")


def _given(where: Any, options: Mapping[str, Any]) -> dict[str, Source]:
    if isinstance(where, Mapping) and all(isinstance(value, Source) for value in where.values()):
        return dict(where)
    return find(where, options)


def _draws(where: Any, options: Mapping[str, Any]) -> dict[str, tuple[Source, ...]]:
    """Return the draws of every case: one file with all along its fourth axis, or several files in its folder or by its name."""
    if isinstance(where, Mapping) and all(isinstance(value, Source) for value in where.values()):
        return {name: (source,) for name, source in where.items()}
    root = Path(where)
    found: dict[str, list[Source]] = {}
    folders = [entry for entry in sorted(root.iterdir()) if entry.is_dir()] if root.is_dir() else []
    if folders:
        for folder in folders:
            found[folder.name] = [source for _, source in sorted(find(folder, options).items())]
    else:
        for name, source in sorted(find(root, options).items()):
            found.setdefault(_before_draw(name), []).append(replace(source, draws=True))
    return {name: tuple(sources) for name, sources in found.items()}


def _before_draw(name: str) -> str:
    """Return `case` of `case_draw-3`."""
    head, mark, tail = name.rpartition("_draw-")
    return head if mark and tail.isdigit() else name


def _with_groups(cases: list[Case], table: Path) -> list[Case]:
    """Read the table and give every case its groups and its patient."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            sample = file.readline()
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=max(",;\t", key=sample.count)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{table} cannot be read as a table ({error}). Give a CSV file with a header line.") from error
    columns = list(rows[0]) if rows else []
    key = next((name for name in columns if name and name.lower() in NAMES), None)
    if key is None:
        raise InputError(
            f"{table} has the columns {', '.join(map(str, columns)) or 'none'}; expected one called case or patient."
        )
    patient = next((name for name in columns if name and name.lower() == "patient"), None)
    by_case = key.lower() == "case"
    known = {(_bare(case) if by_case else case.patient) for case in cases}
    listed = {stem(Path(str(row[key]).strip())): row for row in rows}
    pairs, _ = match(listed, sorted(known))
    if not pairs:
        raise InputError(
            f"No {key} of {table} is a {key} of the images: {next(iter(listed), '')!r}. {nearest(next(iter(listed), ''), known)}"
        )
    by_name = {theirs: listed[ours] for ours, theirs in pairs.items()}
    found = []
    for case in cases:
        row = by_name.get(_bare(case) if by_case else case.patient)
        if row is None:
            found.append(case)
            continue
        groups = {
            c: str(v).strip() for c, v in row.items() if c and c not in (key, patient) and str(v).strip().lower() not in MISSING
        }
        whose = str(row[patient]).strip() if patient and by_case else case.patient
        found.append(replace(case, groups=groups, patient=whose or case.patient))
    return found
