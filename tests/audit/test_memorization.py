"""Memorization warns where a head is nearer to a training head than real heads are to one
another.
"""

from __future__ import annotations

import pytest

from veridical.audit.memorization import memorization
from veridical.testing import check_audit
from veridical.testing.subjects import image
from veridical.types import Result, Study

KNOWN = {"name": "head03", "least": 0.3, "nearest_mean": 0.35, "nearest_least": 0.3, "usual": 0.45}


@pytest.mark.parametrize(("distance", "verdict"), [(0.0, "warn"), (0.29, "warn"), (0.31, "pass")])
def test_it_warns_below_the_least_distance_between_real_heads(
    distance: float, verdict: str
) -> None:
    absent = dict.fromkeys(("draws", "interval", "evidence"), "nothing was measured")
    facts = {"nearest_head": {**KNOWN, "distance": distance}, "measured": ()}
    result = Result(image(), "one draw", absent=absent, facts=facts)
    finding = check_audit(memorization, Study("", {}), result)
    assert finding is not None
    assert finding.verdict == verdict
    assert "head03" in finding.reason
    assert finding.evidence["distance"] == distance


def test_it_says_nothing_of_results_that_imagine_no_head() -> None:
    assert check_audit(memorization) is None
