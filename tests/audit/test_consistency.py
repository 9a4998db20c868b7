"""Consistency as a finding: the worst slice decides, and nothing that was not tested passes."""

from __future__ import annotations

import dataclasses

import pytest
from studies import image, picture, result, study

from veridical.audit.consistency import consistency
from veridical.audit.residual import Misfit
from veridical.types import Study

GOOD = Misfit(1.0, (1.0,), (1000,), 0.1, 3.0, 1000, 2, 0.0, False)
BAD = dataclasses.replace(GOOD, chi_square=9.0, bands=(9.0,))
GIVEN = study({"T1w": image(picture())})


def test_the_worst_slice_decides_and_its_share_is_said() -> None:
    found = consistency(GIVEN, result(picture(), misfit=(GOOD, BAD, GOOD)))
    assert found is not None
    assert (found.check, found.verdict) == ("consistency", "fail")
    assert found.reason.startswith("1 of 3 slices: In variance the residual is 9.00 times")
    assert found.evidence["chi_square"] == 9.0


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, "pass"), (2.0, "warn"), (4.0, "fail")])
def test_what_was_changed_is_held_against_what_was_expected_to_be_wrong(
    ratio: float, verdict: str
) -> None:
    found = consistency(GIVEN, result(picture(), changed={"T1w": ratio}))
    assert found is not None
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("given", "made", "said"),
    [
        (Study("p", {}), "T1w", "Nothing was measured"),
        (Study("p", {0.0: {}}), "T1w", "Nothing was measured"),
        (study({"labels": image(picture(), "labels", "label")}), "T1w", "Nothing was measured"),
        (GIVEN, "FLAIR", "FLAIR was not measured"),
        (GIVEN, "T1w", "notes no residual"),
    ],
)
def test_what_was_not_tested_is_not_run_and_says_why(given: Study, made: str, said: str) -> None:
    found = consistency(given, result(picture(), made))
    assert found is not None
    assert found.verdict == "not_run"
    assert said in found.reason


def test_a_draw_that_used_none_of_the_images_of_the_study_was_made_from_nothing() -> None:
    found = consistency(GIVEN, result(picture(), "T1w", measured=()))
    assert found is not None
    assert "Nothing was measured" in found.reason
