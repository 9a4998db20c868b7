"""Laws of styles that are drawn: the nearest patients first, a style that is stated stays."""

from __future__ import annotations

import numpy as np

from veridical.conditioning.request import Request
from veridical.models.styles import likely, styled

STORED = [
    {"T1w": [0.1] * 6, "FLAIR": [0.7] * 6},
    {"T1w": [0.5] * 6, "FLAIR": [0.2] * 6},
    {"T1w": [0.4] * 6},
    {"FLAIR": [0.9] * 6},
]


def request(**styles: list[float]) -> Request:
    given = {name: np.array(style) for name, style in styles.items()}
    empty = np.zeros((4, 4), np.float32)
    return Request("FLAIR", empty, 0.1, empty, styles=given)


def test_the_style_of_the_patient_who_looks_most_alike_comes_first() -> None:
    near = likely({"T1w": np.full(6, 0.45)}, "FLAIR", 2, STORED)
    assert [float(style[0]) for style in near] == [0.2, 0.7]


def test_more_draws_than_patients_take_them_again_in_turn() -> None:
    every = likely({"T1w": np.full(6, 0.45)}, "FLAIR", 5, STORED)
    assert [float(style[0]) for style in every] == [0.2, 0.7, 0.9, 0.2, 0.7]


def test_a_contrast_that_no_patient_had_gets_no_style() -> None:
    made = styled([request(T1w=[0.1] * 6)], 2, [{"T1w": [0.1] * 6}])
    assert [list(one.styles) for one in made] == [["T1w"], ["T1w"]]


def test_each_request_is_repeated_with_a_style_of_its_own() -> None:
    made = styled([request(T1w=[0.1] * 6), request(T1w=[0.5] * 6)], 2, STORED)
    assert [float(one.styles["FLAIR"][0]) for one in made] == [0.7, 0.2, 0.2, 0.7]


def test_a_style_that_is_stated_is_that_of_every_draw() -> None:
    made = styled([request(FLAIR=[0.3] * 6)], 3, STORED)
    assert [float(one.styles["FLAIR"][0]) for one in made] == [0.3] * 3
