"""Age effect: the same slope passes, a lost one fails, an invented one warns, and nothing is said
of what was never there.
"""

from __future__ import annotations

import numpy as np
import pytest

from veridical.audit.age_effect import age_effect, effect
from veridical.errors import InputError
from veridical.types import Array

AGES = np.linspace(20, 80, 24)


def shares(slope: float, noise: float = 0.003, seed: int = 0) -> Array:
    """Fluid that grows by `slope` of the body a decade at the cost of grey matter; white stays as
    it is.
    """
    rng = np.random.default_rng(seed)
    fluid = 0.1 + slope * (AGES - 50) / 10 + noise * rng.standard_normal(AGES.size)
    white = 0.4 + noise * rng.standard_normal(AGES.size)
    return np.stack([fluid, 1 - fluid - white, white], 1)


def test_the_slopes_are_those_the_shares_were_made_with() -> None:
    found = effect(AGES, 0.02 * AGES / 10, 0.03 * AGES / 10)
    assert (found.before, found.after, found.change) == pytest.approx((0.02, 0.03, 0.01))
    assert found.kept == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [(1.0, "pass"), (0.9, "pass"), (0.65, "warn"), (0.1, "fail"), (2.0, "fail")],
)
def test_an_effect_is_judged_by_how_much_of_it_is_left(kept: float, verdict: str) -> None:
    before = shares(0.01)
    after = before + shares(0.01 * (kept - 1), 0.0) - shares(0.0, 0.0)
    finding = age_effect(AGES, before, after)
    assert finding.verdict == verdict
    assert finding.evidence["dark"]["after"] / finding.evidence["dark"]["before"] == pytest.approx(
        kept, abs=0.06
    )


def test_the_paired_change_is_known_better_than_either_slope() -> None:
    before = shares(0.01)
    found = effect(AGES, before[:, 0], 0.7 * before[:, 0])
    width = {name: np.ptp(getattr(found, f"{name}_interval")) for name in ("before", "change")}
    assert width["change"] < 0.5 * width["before"]
    assert found.change_interval[1] < 0


def test_an_effect_that_was_not_there_cannot_be_lost_but_one_that_appears_warns() -> None:
    flat = shares(0.0, seed=1)
    assert age_effect(AGES, flat, flat).verdict == "not_run"
    found = age_effect(AGES, flat, shares(0.01))
    assert found.verdict == "warn"
    assert "appeared" in found.reason


def test_a_change_that_may_be_chance_does_not_fail() -> None:
    ages = np.array([30.0, 40, 50, 60, 70])
    before = np.stack([0.1 + 0.01 * ages / 10] * 3, 1)
    after = before * np.array([1, 1.5, 0.4, 1.7, 0.3])[:, None]
    assert age_effect(ages, before, after).verdict == "warn"


def test_few_patients_or_one_age_say_nothing() -> None:
    few = shares(0.01)[:4]
    assert age_effect(AGES[:4], few, few).verdict == "not_run"
    assert age_effect(np.full(24, 50.0), shares(0.01), shares(0.01)).verdict == "not_run"


def test_amounts_that_do_not_fit_the_ages_are_refused() -> None:
    with pytest.raises(InputError, match="a row for each age"):
        age_effect(AGES[:-1], shares(0.01), shares(0.01))
