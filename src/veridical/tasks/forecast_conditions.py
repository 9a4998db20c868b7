"""What a forecast is asked under: when, for whom, and under which treatment; from the words of a
command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from veridical.errors import InputError, SettingError
from veridical.models.atrophy_rates import Group, group_of
from veridical.physics.treatment import Treatment, radiotherapy, standard, temozolomide
from veridical.tasks.gene_words import GrowthGenes, growth_genes, read_genes
from veridical.types import Study

YEAR = 365.25
UNITS = {"d": 1.0, "w": 7.0, "m": YEAR / 12, "y": YEAR}
SPAN = re.compile(r"(\d+(?:\.\d+)?)([dwmy])")
DRUG = "natalizumab"
"""Drug against multiple sclerosis whose effect is known here."""


@dataclass(frozen=True)
class Conditions:
    """For whom.

    Args:
        age: years at the last visit; None: not known.
        sex: `female`, `male` or empty.
        group: diagnosis; None: not known.
        genes: of the tumour, as far as its growth is assumed to depend on them.
        treatment: of a tumour, days since the first visit.
        prevented: day since the first visit from which on new lesions are prevented; None: never.
    """

    age: float | None
    sex: str
    group: Group | None
    genes: GrowthGenes
    treatment: Treatment
    prevented: float | None


def horizons(said: str, first: str, last: float) -> dict[str, float]:
    """Return name -> days after the last visit, of `2.5y`, `18m,3y` or `2027-05-01`.

    Args:
        said: times after the last visit, or dates.
        first: date of the first visit, which dates need.
        last: day of the last visit.

    Raises:
        SettingError: it is no time, or lies before the last visit.
    """
    found = {}
    for word in (one.strip() for one in said.split(",")):
        match = SPAN.fullmatch(word)
        days = float(match[1]) * UNITS[match[2]] if match else _until(word, first) - last
        if days < 0:
            raise SettingError(
                f"{word} lies {-days:.0f} days before the last visit; give a later day."
            )
        found[word] = days
    return found


def _until(word: str, first: str) -> float:
    """Return the days from the first visit to a date."""
    try:
        day = date.fromisoformat(word)
    except ValueError as error:
        raise SettingError(
            f"at = {word!r}; expected a time after the last visit (2.5y, 18m, 6w, 90d) or a date "
            "(2027-05-01)."
        ) from error
    if not first:
        raise SettingError(
            f"at = {word} is a date, and visits are known by their days only. Say when the first "
            "one was: --first 2024-11-30."
        )
    try:
        return float((day - date.fromisoformat(first)).days)
    except ValueError as error:
        raise SettingError(f"first = {first!r}; expected a date such as 2024-11-30.") from error


def dated(study: Study, said: str) -> Study:
    """Return the study with its visits on the days that are said, in order: `0,380,700`.

    Raises:
        SettingError: as many days as visits are expected, in order.
        InputError: the visits are numbered and not dated.
    """
    if said:
        try:
            days = [float(one) for one in said.split(",")]
        except ValueError as error:
            raise SettingError(f"days = {said!r}; expected numbers such as 0,380,700.") from error
        if len(days) != len(study.days) or sorted(set(days)) != days:
            raise SettingError(
                f"days = {said}: {len(days)} days for {len(study.days)} visits; expected one for "
                "each, in order."
            )
        visits = {day: study.visits[old] for day, old in zip(days, study.days, strict=True)}
        return replace(study, visits=visits)
    if len(study.days) > 1 and list(study.days) == list(range(len(study.days))):
        raise InputError(
            f"The {len(study.days)} visits are numbered, and their days are not known; a rate "
            "needs them. Call the sessions by their days (ses-d0000, ses-d0380), or say: --days "
            "0,380."
        )
    return study


def conditions(study: Study, said: Mapping[str, Any]) -> Conditions:
    """Return for whom a forecast is: what is said, else what the tables of the study say.

    Args:
        study: covariates `age` at the first visit, `sex`, `diagnosis`, and genes.
        said: settings `age` (at the first visit, 0: not said), `sex`, `diagnosis`, `genes`,
            `treatment`.
    """
    known = {key.lower(): value for key, value in study.covariates.items()}
    age = float(said["age"]) or _number(known.get("age"))
    years = (study.days[-1] - study.days[0]) / YEAR
    sex = str(said["sex"] or known.get("sex", "")).strip().lower()
    sex = {"f": "female", "m": "male"}.get(sex, sex)
    diagnosis = str(said["diagnosis"] or known.get("diagnosis", known.get("group", "")))
    genes = growth_genes(read_genes(str(said["genes"])), study.genes)
    treatment, prevented = treatments(str(said["treatment"]))
    return Conditions(
        age + years if age else None, sex, group_of(diagnosis), genes, treatment, prevented
    )


def treatments(said: str) -> tuple[Treatment, float | None]:
    """Return what is done to a tumour, and the day from which on lesions are prevented.

    Args:
        said: steps with the days since the first visit on which they begin, separated by `;`:
            `surgery@5x0.9` (share taken), `30x2@21` (fractions x Gy, on weekdays),
            `temozolomide@21x6` (cycles), `standard@21` (Stupp), `natalizumab@400`.

    Raises:
        SettingError: a step is not known.
    """
    done, prevented = Treatment(), None
    names: list[str] = []
    for word in filter(None, (one.strip() for one in said.split(";"))):
        what, sign, rest = word.partition("@")
        day, _, amount = rest.partition("x")
        fractions = re.fullmatch(r"(\d+)x(\d+(?:\.\d+)?)", what)
        try:
            start, size = float(day), float(amount) if amount else None
        except ValueError:
            sign, start, size = "", 0.0, None
        if sign and what == "surgery":
            step = Treatment(surgery=start, extent=0.95 if size is None else size)
        elif sign and what == "temozolomide":
            step = temozolomide(start, 6 if size is None else int(size))
        elif sign and what == "standard":
            step = standard(start)
        elif sign and fractions:
            step = radiotherapy(start, int(fractions[1]), float(fractions[2]))
        elif sign and what == DRUG:
            prevented, step = start, Treatment()
        else:
            raise SettingError(
                f"treatment step {word!r}; expected surgery@5x0.9, 30x2@21, temozolomide@21x6, "
                f"standard@21 or {DRUG}@400, separated by ';'."
            )
        done, names = done.then(step), [*names, word]
    return replace(done, name="; ".join(names) or "none"), prevented


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value == value else None


def spoken(days: Sequence[float]) -> str:
    """Return days in words: `0, 380 and 700`."""
    words = [f"{day:g}" for day in days]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
