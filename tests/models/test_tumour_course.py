"""Laws of tumours in a forecast: what label maps show of them, and what the twin makes of it."""

from __future__ import annotations

import numpy as np
import pytest

import shrinking
from veridical.errors import InputError
from veridical.models.tumour_course import TumourCourse, course, extent_of
from veridical.models.world import WorldModel
from veridical.phantoms.head_labels import LABELS
from veridical.physics.treatment import Treatment, radiotherapy
from veridical.physics.tumour_extent import Extent
from veridical.types import Geometry

SCANS = {0.0: Extent(6.0, 16.0, (0.0 + 66.0, 86.0, 66.0))}


@pytest.fixture(scope="module")
def told() -> TumourCourse:
    return course(
        SCANS, shrinking.flow(), shrinking.GRID, Treatment(), None, WorldModel(16, seed=1)
    )


def test_an_extent_is_read_from_labels() -> None:
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[2:8, 2:8, 2:8] = LABELS.index("oedema")
    labels[3:6, 3:6, 3:6] = LABELS.index("enhancing tumour")
    labels[4, 4, 4] = LABELS.index("necrosis")
    found = extent_of(labels, LABELS, Geometry((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0])))
    assert found.visible == pytest.approx(216 * 0.008)
    assert found.enhancing == pytest.approx(27 * 0.008)
    assert found.centre == pytest.approx((9.0, 9.0, 9.0))
    nothing = extent_of(np.zeros_like(labels), LABELS, Geometry((10, 10, 10), np.eye(4)))
    assert (nothing.visible, nothing.enhancing) == (0, 0)


def test_a_tumour_must_be_seen() -> None:
    unseen = {0.0: Extent(0.0, 3.0, (66.0, 86.0, 66.0))}
    with pytest.raises(InputError, match="Outline it"):
        course(unseen, shrinking.flow(), shrinking.GRID, Treatment(), None, WorldModel(16))


def test_today_the_forecast_is_about_what_was_seen_and_then_it_grows(told: TumourCourse) -> None:
    today = told.fan([0.0]).median()[0]
    assert today == pytest.approx(SCANS[0.0].visible, rel=0.35)
    medians = told.fan([0.0, 60.0, 120.0]).median()
    assert medians[0] < medians[1] < medians[2]


def test_members_show_tumour_in_the_cube_alone(told: TumourCourse) -> None:
    found = told.classes(60.0, shrinking.SHAPE, 4)
    assert found.shape == (4, *shrinking.SHAPE)
    inside = np.zeros(shrinking.SHAPE, bool)
    inside[told.spans] = True
    assert found.any()
    assert not found[:, ~inside].any()
    assert (told.classes(60.0, shrinking.SHAPE, 4) > 0).sum() > (
        told.classes(0.0, shrinking.SHAPE, 4) > 0
    ).sum()


def test_more_dose_leaves_less_tumour(told: TumourCourse) -> None:
    left = [
        TumourCourse(told.twin, 0.0, radiotherapy(5.0, count, 2.0), told.spans).fan([90.0])
        for count in (0, 15, 30)
    ]
    medians = [float(one.median()[0]) for one in left]
    assert medians[0] > medians[1] > medians[2]
