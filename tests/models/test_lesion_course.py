"""Laws of counts of new lesions."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.models.lesion_course import EFFECT, NEW, SHAPE, LesionCourse, added, course, worth


def mask(*places: tuple[int, int, int]) -> np.ndarray:
    found = np.zeros((20, 20, 20), bool)
    for x, y, z in places:
        found[x : x + 2, y : y + 2, z : z + 2] = True
    return found


def test_without_visits_the_rate_is_that_of_the_population() -> None:
    one = LesionCourse(3, 1.0, 0, 0.0, 0.3)
    assert one.rate[0] == pytest.approx(NEW)
    assert one.rate[1] == pytest.approx(NEW / np.sqrt(SHAPE))


def test_many_years_of_visits_overrule_the_population() -> None:
    mean, spread = LesionCourse(3, 1.0, 200, 100.0, 0.3).rate
    assert mean == pytest.approx(2.0, rel=0.02)
    assert spread < 0.2


def test_draws_are_negative_binomial() -> None:
    one = LesionCourse(3, 1.0, 4, 2.0, 0.3)
    drawn = one.drawn(2.0, np.random.default_rng(0), 40_000)
    mean, spread = one.rate
    assert drawn.mean() == pytest.approx(2 * mean, rel=0.02)
    assert drawn.var() == pytest.approx(2 * mean + (2 * spread) ** 2, rel=0.05)


def test_a_lesion_is_new_where_none_was_near() -> None:
    before, after = mask((2, 2, 2)), mask((2, 2, 3), (12, 12, 12), (4, 15, 4))
    assert added(before, after, 8.0) == 2
    assert added(after, after, 8.0) == 0
    assert added(before, after, 0.5) == 0  # specks of 4 mm3 are not counted


def test_years_under_treatment_count_as_few() -> None:
    assert worth(0, 365.25, None) == pytest.approx(1)
    assert worth(0, 365.25, 0.0) == pytest.approx(1 - EFFECT)
    assert worth(0, 730.5, 365.25) == pytest.approx(2 - EFFECT)


def test_visits_are_counted_in_order() -> None:
    visits = [(0.0, mask((2, 2, 2))), (365.25, mask((2, 2, 2), (12, 12, 12)))]
    found = course(visits, (2.0, 2.0, 2.0), None)
    assert (found.now, found.seen) == (2, 1)
    assert found.years == pytest.approx(1)
    assert found.volume == pytest.approx(0.128)
    assert found.each == pytest.approx(0.064)
