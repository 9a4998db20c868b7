"""Schedules: days, doses, and what schedules have in common."""

from __future__ import annotations

import pytest

from veridical.errors import SettingError
from veridical.physics.treatment import (
    Treatment,
    equal_doses,
    radiotherapy,
    standard,
    temozolomide,
    weekdays,
)


def test_fractions_leave_the_weekend_out() -> None:
    assert weekdays(10.0, 6) == (10.0, 11.0, 12.0, 13.0, 14.0, 17.0)
    assert weekdays(0.0, 3, a_week=1) == (0.0, 7.0, 14.0)


def test_the_standard_is_that_of_stupp() -> None:
    done = standard(21.0)
    assert len(done.fractions) == 30
    assert done.total == 60.0
    assert done.late_effect == pytest.approx(100.0)
    assert done.concentration(30.0) == 0.5
    assert done.concentration(21.0 + 42.0 + 28.0) == 1.0
    assert done.concentration(21.0 + 42.0) == 0.0
    assert sum(end - begin for begin, end, _ in done.drug) == 42.0 + 30.0


def test_schedules_to_choose_among_have_equal_dose_and_no_more_late_effect() -> None:
    options = equal_doses(14.0)
    assert options[0].name == "standard"
    assert len({one.name for one in options}) == len(options)
    for one in options:
        assert one.total == pytest.approx(60.0)
        assert one.late_effect <= 100.0 + 1e-9
        assert one.drug == options[0].drug


def test_a_treatment_is_cut_and_put_together_again() -> None:
    done = standard(0.0)
    before = done.until(20.0)
    assert max(day for day, _ in before.fractions) < 20.0
    assert before.drug[-1][1] == 20.0
    both = radiotherapy(0.0, 2, 2.0).then(Treatment(surgery=5.0, extent=0.5))
    assert (both.surgery, both.extent, both.total) == (5.0, 0.5, 4.0)
    assert radiotherapy(0.0, 30, 2.0).scaled(0.5).total == 30.0


def test_wrong_treatments_are_refused() -> None:
    with pytest.raises(SettingError, match="negative dose"):
        Treatment(fractions=((0.0, -1.0),))
    with pytest.raises(SettingError, match="span"):
        Treatment(drug=((3.0, 3.0, 1.0),))
    with pytest.raises(SettingError, match="extent"):
        Treatment(extent=1.5)
    assert temozolomide(0.0, cycles=1).drug == ((0.0, 5.0, 1.0),)
