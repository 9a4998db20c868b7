"""What may be said of time, patient and treatment, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

import shrinking
from veridical.errors import InputError, SettingError
from veridical.physics.treatment import standard
from veridical.tasks.forecast_conditions import conditions, dated, horizons, treatments
from veridical.types import Study

NOTHING: dict[str, Any] = {"age": 0, "sex": "", "diagnosis": "", "genes": "", "treatment": ""}


def test_times_are_counted_from_the_last_visit() -> None:
    assert horizons("2y, 90d,6w", "", 500.0) == {"2y": 730.5, "90d": 90.0, "6w": 42.0}
    assert horizons("18m", "", 0.0)["18m"] == pytest.approx(547.875)


def test_a_date_is_counted_from_the_first_visit() -> None:
    assert horizons("2026-01-01", "2025-01-01", 100.0) == {"2026-01-01": 265.0}


@pytest.mark.parametrize(
    ("at", "first", "why"),
    [
        ("soon", "", "expected a time after the last visit"),
        ("2026-01-01", "", "Say when the first one was"),
        ("2026-01-01", "January", "expected a date"),
        ("2025-01-02", "2025-01-01", "before the last visit"),
    ],
)
def test_other_times_are_refused(at: str, first: str, why: str) -> None:
    with pytest.raises(SettingError, match=why):
        horizons(at, first, 100.0)


def visits(*days: float) -> Study:
    return Study("one", {day: {} for day in days})


def test_numbered_visits_need_their_days() -> None:
    with pytest.raises(InputError, match="--days 0,380"):
        dated(visits(0, 1, 2), "")
    assert dated(visits(0, 1, 2), "0,380,700").days == (0, 380, 700)
    assert dated(visits(0, 380), "").days == (0, 380)


@pytest.mark.parametrize("days", ["0", "0,5,3", "0,a,b"])
def test_days_must_be_one_a_visit_and_rise(days: str) -> None:
    with pytest.raises(SettingError, match="days = "):
        dated(visits(0, 1, 2), days)


def test_settings_go_before_tables() -> None:
    study = shrinking.study()
    who = conditions(study, NOTHING)
    assert (who.sex, who.group) == ("female", "Alzheimer")
    assert who.age == pytest.approx(72)  # 70 at the first visit, two years ago
    said = conditions(
        study, NOTHING | {"age": 40, "sex": "m", "diagnosis": "ms", "genes": "IDH=mutant"}
    )
    assert (said.age, said.sex, said.group) == (pytest.approx(42), "male", "multiple sclerosis")
    assert said.genes.known == {"IDH": "mutant"}


def test_what_is_not_said_is_not_known() -> None:
    who = conditions(visits(0), NOTHING)
    assert (who.age, who.sex, who.group) == (None, "", None)


def test_treatments_are_read() -> None:
    done, prevented = treatments("surgery@5x0.9; 30x2@21; natalizumab@400")
    assert (done.surgery, done.extent, done.total, prevented) == (5.0, 0.9, 60.0, 400.0)
    whole, _ = treatments("standard@21")
    assert whole.fractions == standard(21).fractions
    assert len(treatments("temozolomide@21x3")[0].drug) == 3


@pytest.mark.parametrize("said", ["prayer@3", "30x2", "surgery@soon", "30xtwo@5"])
def test_other_treatments_are_refused(said: str) -> None:
    with pytest.raises(SettingError, match="treatment step"):
        treatments(said)


def test_genes_are_pairs() -> None:
    with pytest.raises(SettingError, match="expected MGMT=methylated"):
        conditions(visits(0), NOTHING | {"genes": "MGMT"})
