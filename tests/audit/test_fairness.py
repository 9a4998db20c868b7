"""A group that is worse is named with its interval, groups that are alike are not, and small ones
are said to be too small.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from veridical.audit.audited_study import known
from veridical.audit.fairness import compared, fairness
from veridical.testing import check_audit
from veridical.testing.subjects import image
from veridical.types import Finding, Result, Study


def table(
    count: int, worse: float = 0.0, seed: int = 0, sites: tuple[str, ...] = ("a", "b")
) -> dict[str, dict[str, str]]:
    """Rows of as many patients; the Dice of women is lower by `worse`."""
    rng = np.random.default_rng(seed)
    rows = {}
    for n in range(count):
        sex = "female" if n % 2 else "male"
        rows[f"p{n}"] = {
            "image": f"p{n}",
            "sex": sex,
            "site": sites[n % len(sites)] if n < count - 3 else "rare",
            "age": str(int(rng.integers(20, 90))),
            "dice": f"{0.8 - worse * (sex == 'female') + rng.normal(0, 0.05):.4f}",
            "failed": "yes" if rng.random() < 0.1 else "no",
        }
    return rows


def judged(rows: dict[str, Any]) -> Finding:
    found = fairness(known(Study("", {0.0: {}}), table=rows), Result(image(), "image"))
    assert found is not None
    return found


def test_the_group_that_is_worse_is_named_with_its_interval() -> None:
    found = judged(table(80, worse=0.08))
    assert found.verdict == "warn"
    assert "dice of sex = " in found.reason
    one = found.evidence["differences"]["dice by sex"]
    assert abs(one["largest gap"]) == pytest.approx(0.08, abs=0.03)
    mean, low, high, count = one["means"]["female"]
    assert low < mean < high
    assert count == 40


def test_a_group_of_three_is_said_to_be_too_small() -> None:
    found = judged(table(60))
    assert found.evidence["small"]["site = rare"] == 3
    assert "rare (3)" in found.reason


def test_what_differs_by_chance_is_rarely_reported_over_all_comparisons() -> None:
    warned = [judged(table(48, seed=seed)).verdict == "warn" for seed in range(30)]
    assert np.mean(warned) <= 0.15


def test_visits_of_one_patient_count_once() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=24)
    values, patients = np.repeat(base, 10), [str(n) for n in np.repeat(np.arange(24), 10)]
    words = np.repeat(np.array(["f", "m"])[np.arange(24) % 2], 10)
    (one,) = compared({"sex": words}, {"dice": values}, patients)
    assert one.means["f"][3] == 12
    assert one.p > 0.01


def test_a_table_without_groups_or_scores_is_not_judged() -> None:
    few = {name: {"image": name, "dice": row["dice"]} for name, row in table(40).items()}
    assert judged(few).verdict == "not_run"
    bare = {name: {"image": name, "sex": row["sex"]} for name, row in table(40).items()}
    assert judged(bare).verdict == "not_run"
    assert check_audit(fairness) is None
