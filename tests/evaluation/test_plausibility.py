from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import euler_number

from veridical.errors import GeometryError, InputError, SettingError
from veridical.evaluation.plausibility import Outside, outside, plausibility
from veridical.types import Array

NAMES = {1: "brain", 2: "lesion"}


def solid() -> Array:
    """A cube of 12 voxels in the middle of 21."""
    labels = np.zeros((21, 20, 19), dtype=np.int16)
    labels[4:16, 4:16, 4:16] = 1
    return labels


def topology(labels: Array) -> tuple[float, ...]:
    found = plausibility(labels, (1, 1, 1), NAMES)
    return tuple(found[f"brain/{measure}"] for measure in ("components", "tunnels", "cavities"))


def test_volumes_are_in_millilitres_of_the_given_spacing() -> None:
    assert plausibility(solid(), (1.0, 2.0, 0.5), NAMES)["brain/volume"] == pytest.approx(
        12**3 / 1000
    )
    assert plausibility(solid(), (2.0, 2.0, 2.0), NAMES)["brain/volume"] == pytest.approx(
        8 * 12**3 / 1000
    )


def test_components_tunnels_and_cavities_are_counted() -> None:
    labels = solid()
    assert topology(labels) == (1, 0, 0)
    labels[8, 8, 8] = 0
    assert topology(labels) == (1, 0, 1)
    labels[12, 12, :] = 0
    assert topology(labels) == (1, 1, 1)
    labels[0, 0, 0] = 1
    assert topology(labels) == (2, 1, 1)


def test_voxels_that_touch_by_a_corner_are_one_component() -> None:
    labels = solid()
    labels[3, 3, 3] = 1
    assert topology(labels) == (1, 0, 0)


def test_the_alternating_sum_is_the_euler_number() -> None:
    labels = (np.random.default_rng(0).random((14, 15, 16)) < 0.4).astype(int)
    components, tunnels, cavities = topology(labels)
    assert tunnels > 10
    assert components - tunnels + cavities == euler_number(labels, 3)


def test_a_structure_that_is_not_there_has_no_volume_and_no_asymmetry() -> None:
    found = plausibility(solid(), (1, 1, 1), NAMES)
    assert found["lesion/volume"] == found["lesion/components"] == 0
    assert "lesion/asymmetry" not in found
    assert set(plausibility(0 * solid(), (1, 1, 1), NAMES).values()) == {0.0}


def test_asymmetry_is_0_by_the_mid_plane_wherever_it_lies_and_2_on_the_left_alone() -> None:
    labels = solid()
    labels[5:7, 8:12, 8:12] = 2
    found = plausibility(labels, (1, 1, 1), NAMES)
    assert found["lesion/asymmetry"] == 2
    labels[13:15, 8:12, 8:12] = 2
    for moved in (labels, np.roll(labels, 3, axis=0), labels[1:]):
        found = plausibility(moved, (1, 1, 1), NAMES)
        assert found["lesion/asymmetry"] == pytest.approx(0)
        assert found["brain/asymmetry"] == pytest.approx(0)


def test_mirroring_turns_the_sign_of_asymmetry_and_a_stray_voxel_does_not_move_the_mid_plane() -> (
    None
):
    labels = solid()
    labels[5:9, 8:12, 8:12] = 2
    labels[12:14, 8:12, 8:12] = 2
    value = plausibility(labels, (1, 1, 1), NAMES)["lesion/asymmetry"]
    assert value == pytest.approx((4 - 2) / 3)
    assert plausibility(labels[::-1], (1, 1, 1), NAMES)["lesion/asymmetry"] == pytest.approx(-value)
    labels[20, 0, 0] = 1
    assert plausibility(labels, (1, 1, 1), NAMES)["lesion/asymmetry"] == value


def test_label_maps_that_cannot_be_judged_are_refused() -> None:
    with pytest.raises(GeometryError, match="labels\\[0\\]"):
        plausibility(solid()[None], (1, 1, 1), NAMES)
    with pytest.raises(InputError, match="whole numbers"):
        plausibility(solid().astype(float), (1, 1, 1), NAMES)


@pytest.mark.parametrize(("n", "factor"), [(10, 3.379), (20, 2.752), (50, 2.379), (100, 2.233)])
def test_the_tolerance_interval_has_the_published_factors(n: int, factor: float) -> None:
    """Two-sided factors for content and confidence 0.95, Hahn and Meeker 1991, table A.10; Howe's
    formula is within 0.5 %.
    """
    real = np.random.default_rng(0).normal(5, 1, n)
    found = outside({"far": {"v": 99.0}}, [{"v": value} for value in real], content=0.95)[0]
    assert found.high == pytest.approx(real.mean() + factor * real.std(ddof=1), rel=2e-3)


def test_of_normal_cases_a_share_of_the_content_is_inside_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(200):
        real = [{"v": value} for value in rng.normal(size=8)]
        found = outside(
            {str(i): {"v": value} for i, value in enumerate(rng.normal(size=400))},
            real,
            content=0.9,
            confidence=0.9,
        )
        kept += len(found) <= 40
    assert kept / 200 > 0.85


def test_a_count_that_all_real_cases_share_may_be_passed_by_little_when_they_are_few() -> None:
    def highest(n: int) -> float:
        real = [{"brain/components": 1.0}] * n
        return outside({"a": {"brain/components": 99.0}}, real)[0].high

    assert [highest(n) for n in (3, 10, 1000)] == [5, 3, 1]


def test_what_lies_outside_is_named_with_its_range_and_what_lies_inside_is_not() -> None:
    rng = np.random.default_rng(0)
    real = [
        {"brain/volume": 1000 + value, "brain/components": 1.0} for value in rng.normal(0, 50, 30)
    ]
    usual = {"brain/volume": 1010.0, "brain/components": 1.0}
    found = outside({"good": usual, "bad": {**usual, "brain/volume": 400.0, "unknown": 3.0}}, real)
    assert [(one.case, one.measure, one.value) for one in found] == [("bad", "brain/volume", 400.0)]
    assert isinstance(found[0], Outside)
    assert 700 < found[0].low < 900 < 1100 < found[0].high < 1300
    assert not outside({str(i): values for i, values in enumerate(real)}, real)


def test_too_few_real_cases_and_impossible_shares_are_refused() -> None:
    with pytest.raises(InputError, match="at least 3"):
        outside({}, [{"v": 1.0}] * 2)
    with pytest.raises(SettingError, match="between 0 and 1"):
        outside({}, [{"v": 1.0}] * 3, content=1.0)
