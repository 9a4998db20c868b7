"""Known values of the scores of OpenKBP."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import GeometryError
from veridical.metrics.plan_points import dose_score, point_differences, points

SPACING = (4.0, 5.0, 2.5)
"""50 mm3: 0.1 cc is two voxels."""


def test_points_of_a_ramp_are_its_percentiles() -> None:
    dose = np.arange(101.0).reshape(101, 1, 1)
    whole = np.ones(dose.shape, bool)
    found = points(dose, {"PTV70": whole, "Larynx": whole}, SPACING)
    assert found["PTV70", "D1"] == pytest.approx(99)
    assert found["PTV70", "D95"] == pytest.approx(5)
    assert found["PTV70", "D99"] == pytest.approx(1)
    assert found["Larynx", "mean"] == pytest.approx(50)
    assert found["Larynx", "D0.1cc"] == pytest.approx(np.percentile(dose, 100 - 200 / 101))


def test_an_organ_of_less_than_a_tenth_of_a_cc_has_its_least_dose_and_an_empty_one_none() -> None:
    dose = np.arange(8.0).reshape(2, 2, 2)
    small = dose == 3
    assert points(dose, {"Larynx": small, "Brainstem": dose > 9}, SPACING) == {
        ("Larynx", "D0.1cc"): 3.0,
        ("Larynx", "mean"): 3.0,
    }


def test_scores_are_0_of_a_dose_with_itself_and_the_shift_of_a_shifted_one() -> None:
    dose = np.random.default_rng(0).random((5, 6, 7)) * 70
    structures = {"PTV63": dose > 30, "Mandible": dose < 20}
    where = dose > 10
    for shift in (0.0, 2.5):
        assert dose_score(dose + shift, dose, where) == pytest.approx(shift)
        found = point_differences(dose + shift, dose, structures, SPACING)
        assert list(found.values()) == pytest.approx([shift] * 5)


def test_masks_of_another_grid_are_refused() -> None:
    with pytest.raises(GeometryError, match="Larynx"):
        points(np.zeros((2, 2, 2)), {"Larynx": np.ones((2, 2, 3), bool)}, SPACING)
