"""Pathology: contrast of marked lesions that were measured, imagined regions of channels that were
not.
"""

from __future__ import annotations

import numpy as np
import pytest
from studies import GRID, SHAPE, blob, image, picture, result, study

from veridical.audit.pathology import pathology
from veridical.types import Geometry, Measurement, Noise, Study

LESION = picture() + 40 * blob()
MARKED = study(
    {"T1w": image(LESION), "lesions": image(blob().astype(np.float32), "lesions", "label")}
)


@pytest.mark.parametrize(
    ("kept", "verdict"), [(1.0, "pass"), (0.7, "warn"), (0.2, "fail"), (1.9, "fail")]
)
def test_contrast_of_a_marked_lesion_is_held_against_the_measured_image(
    kept: float, verdict: str
) -> None:
    found = pathology(MARKED, result(picture() + 40 * kept * blob()))
    assert found is not None
    assert found.verdict == verdict
    assert found.evidence["worst_change"] == pytest.approx(kept - 1, abs=0.05)


def test_a_result_on_a_finer_grid_is_compared_on_that_grid() -> None:
    fine = Geometry((64, 56, 6), np.diag([2.0, 2.0, 5.0, 1.0]))
    wide = np.repeat(np.repeat(LESION, 2, 0), 2, 1)
    coarse = result(LESION)
    found = pathology(MARKED, type(coarse)(image(wide, grid=fine), "posterior mean"))
    assert found is not None
    assert found.verdict == "pass"


def test_a_harmonized_lesion_is_compared_under_the_style_it_had() -> None:
    darker = (LESION / 140) ** 3 * 500
    plain, styled = (
        pathology(MARKED, result(darker, **facts)) for facts in ({}, {"harmonized": "T1w"})
    )
    assert plain is not None
    assert styled is not None
    assert (plain.verdict, styled.verdict) == ("fail", "pass")
    assert "under the intensity style it had" in styled.reason


@pytest.mark.parametrize(("known", "verdict"), [(0.9, "pass"), (0.1, "warn")])
def test_a_made_channel_warns_where_large_regions_are_imagined(known: float, verdict: str) -> None:
    card = {"lesion_tests": {"FLAIR": {"T1w": 0.9}}}
    found = pathology(
        study({"T1w": image(picture())}),
        result(picture(), "FLAIR", np.full(SHAPE, known), card=card),
    )
    assert found is not None
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("tests", "verdict", "words"),
    [
        ({}, "warn", "no test on lesions of patients is stated for images made from T1w"),
        ({"FLAIR": {"T1w+T2w": 0.95}}, "warn", "no test on lesions"),
        ({"T2w": {"T1w": 0.95}}, "warn", "no test on lesions"),
        ({"FLAIR": {"T1w": 0.7}}, "warn", "with an AUC of 0.70"),
        ({"FLAIR": {"T1w": 0.9}}, "pass", "No region"),
    ],
)
def test_a_made_channel_passes_only_by_a_test_on_lesions_from_the_same_inputs(
    tests: dict[str, dict[str, float]], verdict: str, words: str
) -> None:
    sure = result(picture(), "FLAIR", np.full(SHAPE, 0.95), card={"lesion_tests": tests})
    found = pathology(study({"T1w": image(picture())}), sure)
    assert found is not None
    assert found.verdict == verdict
    assert words in found.reason


def test_a_made_channel_without_samples_and_a_draw_from_nothing_are_not_run() -> None:
    made = pathology(study({"T1w": image(picture())}), result(picture(), "FLAIR"))
    drawn = pathology(Study("p", {0.0: {}}), result(picture(), "T1w", np.ones(SHAPE)))
    assert made is not None
    assert drawn is not None
    assert (made.verdict, drawn.verdict) == ("not_run", "not_run")
    assert "Without posterior samples" in made.reason
    assert "Nothing of a patient was measured" in drawn.reason


def test_it_does_not_apply_to_raw_data_and_to_measured_channels_without_marks() -> None:
    class Any:
        name = "identity"

        def describe(self) -> dict[str, object]:
            return {}

    raw = Study.of(Measurement(picture(), Any(), Noise(), GRID))
    assert pathology(raw, result(picture())) is None
    assert pathology(study({"T1w": image(picture())}), result(picture())) is None


def test_the_worst_channel_decides() -> None:
    both = result(picture() + 40 * blob())
    two = type(both)(
        type(both.image)(np.stack([LESION, picture()]), GRID, "a.u.", ("T1w", "T2w")),
        "posterior mean",
    )
    given = study(
        {
            "T1w": image(LESION),
            "T2w": image(LESION, "T2w"),
            "lesions": image(blob() * 1.0, "lesions", "label"),
        }
    )
    found = pathology(given, two)
    assert found is not None
    assert (found.verdict, found.evidence["channel"]) == ("fail", "T2w")
