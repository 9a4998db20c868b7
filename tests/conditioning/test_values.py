"""What each condition says of a slice: numbers in their units, neighbours in their places, and
whether they are known.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from priors import request
from veridical.conditioning.attributes import Attributes
from veridical.conditioning.available import Available
from veridical.conditioning.contrast import Contrast
from veridical.conditioning.degradation_kind import DegradationKind
from veridical.conditioning.images import AROUND, Images
from veridical.conditioning.initial_estimate import MOST, NEAR, InitialEstimate, positions
from veridical.conditioning.mask import Mask
from veridical.conditioning.request import LEAST_LEVEL


def test_attributes_are_in_their_units_beside_whether_they_are_known() -> None:
    said = Attributes().value(request(attributes={"field": 1.5, "height": -0.5, "site": 3}))
    assert said is not None
    assert said.tolist() == [0.5, 1, -0.5, 1]
    part = Attributes().value(request(attributes={"height": 0.25}))
    assert part is not None
    assert part.tolist() == [0, 0, 0.25, 1]
    aged = Attributes({"age": 100.0}).value(request(attributes={"age": 63, "field": 3.0}))
    assert aged is not None
    assert aged.tolist() == [0.63, 1]


@pytest.mark.parametrize("value", [None, "3 T", True, math.nan, math.inf])
def test_an_attribute_that_is_no_number_is_not_known(value: object) -> None:
    assert Attributes().value(request(attributes={"field": value})) is None


def test_the_contrast_asked_for_and_those_measured_are_marked_in_the_order_of_the_names() -> None:
    asked = request("PD", ("FLAIR", "T1w"))
    names = ("T1w", "PD", "FLAIR")
    said = [kind(contrasts=names).value(asked) for kind in (Contrast, Available)]
    assert [value.tolist() for value in said if value is not None] == [[0, 1, 0], [1, 0, 1]]


def test_images_stand_in_the_order_of_the_names_each_with_its_neighbours() -> None:
    asked = request(given=("FLAIR", "T1w"))
    condition = Images(("T1w", "T2w", "FLAIR"))
    found = condition.value(asked)
    assert found is not None
    assert condition.size == len(found) == 3 * AROUND
    np.testing.assert_array_equal(found[:3], asked.images["T1w"])
    assert not found[3:6].any()
    np.testing.assert_array_equal(found[6:], asked.images["FLAIR"])
    assert condition.value(request(given=())) is None
    assert condition.value(request(given=("CT",))) is None, (
        "an image that it has no place for is none"
    )


def test_the_detail_of_an_estimate_is_in_units_of_its_expected_error_and_clipped() -> None:
    asked = request(level=0.2)
    found = InitialEstimate().value(asked)
    assert found is not None
    np.testing.assert_array_equal(found[0], asked.initial)
    np.testing.assert_array_equal(found[2], asked.support)
    row, column = 8, 10
    near = asked.initial[
        row - NEAR // 2 : row + NEAR // 2 + 1, column - NEAR // 2 : column + NEAR // 2 + 1
    ]
    assert found[1, row, column] == pytest.approx(
        (asked.initial[row, column] - near.mean()) / 0.2, abs=1e-4
    )
    sure = InitialEstimate().value(request(level=0.0))
    assert sure is not None
    assert np.abs(sure[1]).max() == MOST
    assert InitialEstimate().value(request(given=(), level=0.1)) is not None


def test_positions_are_those_in_the_object_wherever_it_lies_and_however_large_it_is() -> None:
    y, x = np.mgrid[:64, :80]
    small = (np.hypot(y - 20, x - 30) < 10).astype(np.float32)
    large = (np.hypot(y - 36, x - 40) < 20).astype(np.float32)
    one, other = positions(small), positions(large)
    np.testing.assert_allclose(one[:, 20, 30], 0, atol=1e-2)
    np.testing.assert_allclose(one[:, 30, 20], other[:, 56, 20], atol=0.05)
    assert positions(np.zeros((8, 8), np.float32)).shape == (2, 8, 8)


def test_the_kind_of_degradation_is_marked_beside_the_log_of_the_expected_error() -> None:
    condition = DegradationKind(("motion-ghosts", "sparse-view-streaks"))
    found = condition.value(request(degradation="sparse-view-streaks", level=0.3))
    assert found is not None
    np.testing.assert_allclose(found, [0, 1, math.log(0.3)], rtol=1e-6)
    missing = condition.value(request(level=0.0))
    assert missing is not None
    np.testing.assert_allclose(missing, [0, 0, math.log(LEAST_LEVEL)], rtol=1e-6)


def test_a_mask_that_was_not_drawn_is_empty_beside_one_that_was_and_alone_it_is_not_known() -> None:
    lesion = np.zeros((16, 20), bool)
    lesion[4:6, 5:9] = True
    found = Mask(("lesions", "bone")).value(request(masks={"lesions": lesion}))
    assert found is not None
    np.testing.assert_array_equal(found[0], lesion)
    assert not found[1].any()
    assert Mask().value(request(masks={"liver": lesion})) is None
