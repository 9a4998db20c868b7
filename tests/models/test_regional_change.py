"""Laws of regional deformations, of how change is measured, and of the rates that follow."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

import shrinking
from veridical.errors import InputError, SettingError
from veridical.models.atrophy_rates import (
    NAMES,
    RegionalRates,
    acceleration,
    group_of,
    population,
)
from veridical.models.regional_change import RegionalChange, measured
from veridical.models.regional_flow import regional_flow
from veridical.models.shrunk_rates import DRIFT, RateCourse, shrunk, unshrunk
from veridical.phantoms import volume_change
from veridical.types import Geometry

TRUE = np.array([shrinking.RATES[name] for name in NAMES])
VOLUMES = np.array([8.0, 450.0, 470.0, 60.0, 8.0, 180.0, 30.0])
NOBODY = np.zeros(shrinking.SHAPE, bool)


def test_each_region_changes_by_what_is_asked_and_no_other() -> None:
    flow, change = shrinking.flow(), np.zeros(len(NAMES))
    change[NAMES.index("hippocampus and amygdala")] = -0.1
    grown = np.log(flow.changed(change) / flow.volumes)
    assert grown == pytest.approx(change, abs=0.012)


def test_nothing_is_folded_in_ten_years_of_the_fastest_loss() -> None:
    flow = shrinking.flow()
    rates = population(75.0, "female", "Alzheimer", flow.volumes).mean
    grown = volume_change.jacobian(flow.displacement(10 * rates), flow.spacing)
    assert grown.min() > 0


def test_the_skull_does_not_move() -> None:
    moved = shrinking.flow().displacement(3 * TRUE)
    outside = shrinking.shares()["background"] == 1
    assert np.abs(moved[outside]).max() < 1e-6


def test_two_steps_are_one_longer_step() -> None:
    flow = shrinking.flow()
    course = RateCourse(RegionalRates(TRUE, np.eye(7) * 1e-4), np.zeros(7), np.zeros(7))
    once = flow.displacement(course.change(3.0))
    first = flow.displacement(course.change(1.0))
    second = flow.displacement(course.later(1.0).change(2.0))
    twice = first + volume_change.moved(second, first, flow.spacing)
    assert np.abs(once - twice).max() < 0.05 * np.abs(once).max()


def test_accelerating_courses_compose() -> None:
    course = RateCourse(RegionalRates(TRUE, np.eye(7)), np.full(7, 0.01), np.zeros(7))
    composed = course.change(1.0) + course.later(1.0).change(2.0)
    assert course.change(3.0) == pytest.approx(composed)


def test_a_brain_needs_isotropic_voxels_and_a_head() -> None:
    flat = Geometry((4, 4, 4), np.diag([1.0, 1.0, 3.0, 1.0]))
    with pytest.raises(InputError, match="isotropic"):
        regional_flow({"cortex": np.ones((4, 4, 4))}, flat)
    with pytest.raises(InputError, match="0 ml of brain"):
        regional_flow({"cortex": np.zeros((4, 4, 4))}, Geometry((4, 4, 4), np.eye(4)))


def test_a_known_change_is_measured() -> None:
    before = {"T1w": shrinking.seen(-2.0, noise=0.5)}
    found = measured(shrinking.flow(), {"T1w": shrinking.seen(0.0, noise=0.5)}, before, NOBODY)
    sure = [NAMES.index(n) for n in ("cortex", "lateral ventricle", "hippocampus and amygdala")]
    assert found.change[sure] == pytest.approx(-2 * TRUE[sure], rel=0.3, abs=0.01)
    assert np.abs(found.rigid).max() < 0.1


def test_where_nothing_changed_nothing_is_measured() -> None:
    same = {"T1w": shrinking.seen(0.0)}
    found = measured(shrinking.flow(), same, same, NOBODY)
    assert np.abs(found.change).max() < 1e-6


def test_shading_is_told_from_change() -> None:
    scan = shrinking.seen(0.0, noise=0.3)
    ramp = np.linspace(0.9, 1.1, scan.shape[0], dtype=np.float32)[:, None, None]
    shaded = np.asarray(scan * ramp, np.float32)
    found = measured(shrinking.flow(), {"T1w": scan}, {"T1w": shaded}, NOBODY)
    assert np.abs(found.change[[1, 2, 6]]).max() < 0.01
    inside = shrinking.flow().inside
    assert (found.shading["T1w"] * ramp)[inside] == pytest.approx(1, abs=0.02)


def test_a_small_movement_of_the_head_is_told_from_change() -> None:
    scan = shrinking.seen(0.0, noise=0.3)
    moved = ndimage.shift(scan, (0.25, 0, 0), order=3, mode="nearest")
    found = measured(shrinking.flow(), {"T1w": scan}, {"T1w": moved}, NOBODY)
    assert found.rigid[0] == pytest.approx(0.25 * shrinking.SPACING, rel=0.1)
    assert np.abs(found.change[[1, 2, 6]]).max() < 0.015


def seen_after(years: float, error: float) -> RegionalChange:
    return RegionalChange(TRUE * years, np.eye(7) * error**2, np.zeros(6), {}, {})


def test_without_an_earlier_scan_a_patient_is_the_population() -> None:
    prior = population(70.0, "male", "healthy", VOLUMES)
    assert shrunk(prior, np.zeros(7), [], []) is prior


def test_a_scan_that_says_nothing_changes_nothing() -> None:
    prior = population(70.0, "male", "healthy", VOLUMES)
    found = shrunk(prior, np.zeros(7), [-1.0], [seen_after(-1.0, 100.0)])
    assert found.mean == pytest.approx(prior.mean, abs=1e-5)


def test_every_visit_makes_rates_surer_and_brings_them_to_the_patient() -> None:
    prior = population(70.0, "male", "Alzheimer", VOLUMES)
    years = [-1.0, -2.0, -3.0, -4.0]
    every = [
        shrunk(prior, np.zeros(7), years[:n], [seen_after(y, 0.003) for y in years[:n]])
        for n in range(5)
    ]
    traces = [float(np.trace(one.covariance)) for one in every]
    errors = [float(np.abs(one.mean - TRUE).sum()) for one in every]
    assert all(after < before for before, after in pairwise(traces))
    assert all(after < before for before, after in pairwise(errors))


def test_the_unshrunk_rate_is_the_slope() -> None:
    years = [-1.0, -2.0]
    found = unshrunk(np.zeros(7), years, [seen_after(year, 0.01) for year in years])
    assert found.mean == pytest.approx(TRUE)


def test_spread_grows_with_time_and_with_widening() -> None:
    rates = population(70.0, "", None, VOLUMES)
    course = RateCourse(rates, np.zeros(7), DRIFT * np.abs(rates.mean))
    near, far = (np.diag(course.covariance(years)) for years in (1.0, 4.0))
    assert (far > 16 * near * 0.99).all()
    assert (np.diag(course.covariance(0.0)) == 0).all()


def test_published_rates_are_those_of_the_old() -> None:
    rates = population(70.0, "", "Alzheimer", VOLUMES).mean
    assert rates[0] == pytest.approx(-0.0466)
    young, old = (population(age, "", "healthy", VOLUMES).mean[1] for age in (30.0, 70.0))
    assert young / old == pytest.approx(0.4)
    women, men = (population(70.0, sex, "healthy", VOLUMES).mean[1] for sex in ("female", "male"))
    assert women < men < 0


def test_ventricles_take_up_a_share_of_what_is_lost() -> None:
    rates = population(70.0, "", "healthy", VOLUMES).mean
    lost = -float(rates[:-1] @ VOLUMES[:-1])
    assert rates[-1] * VOLUMES[-1] == pytest.approx(0.3 * lost)
    assert acceleration("Alzheimer", VOLUMES)[-1] * VOLUMES[-1] == pytest.approx(0.88)


def test_an_unknown_diagnosis_is_a_mixture_and_less_sure() -> None:
    known = population(70.0, "", "healthy", VOLUMES)
    unknown = population(70.0, "", None, VOLUMES)
    assert (np.diag(unknown.covariance) > np.diag(known.covariance))[:4].all()
    assert unknown.mean[0] < known.mean[0]


def test_diagnoses_have_usual_names_and_others_are_refused() -> None:
    assert group_of("AD") == group_of("Alzheimer's disease") == "Alzheimer"
    assert group_of("") is None
    with pytest.raises(SettingError, match="No diagnosis is called 'flu'"):
        group_of("flu")
    with pytest.raises(InputError, match="expected 0 to 120"):
        population(300.0, "", None, VOLUMES)
