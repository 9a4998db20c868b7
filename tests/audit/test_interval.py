from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from veridical.audit.interval import (
    Calibration,
    CalibrationCase,
    calibrate,
    calibrate_regions,
    interval,
    interval_around,
    outside,
)
from veridical.errors import CalibrationError, InputError, SettingError

VOXELS = 400


def patients(count: int, seed: int) -> list[CalibrationCase]:
    """Exchangeable patients: each has its own difficulty; spreads vary by voxel and are a little
    wrong.
    """
    rng = np.random.default_rng(seed)
    cases = []
    for index in range(count):
        spread = rng.uniform(0.2, 1.0, VOXELS)
        error = np.abs(rng.standard_normal(VOXELS)) * spread * np.exp(0.3 * rng.standard_normal())
        cases.append(CalibrationCase(error, spread, np.ones(VOXELS, bool), f"p{index}"))
    return cases


def miss(case: CalibrationCase, calibration: Calibration) -> float:
    half = calibration.multiplier * np.maximum(case.spread, calibration.floor)
    return float((case.error > half)[case.foreground].mean())


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_new_patients_are_covered_as_promised_on_average(level: float) -> None:
    rates = [
        np.mean(
            [
                miss(c, calibrate(patients(40, s), level, 1e-3, "toys"))
                for c in patients(5, 9000 + s)
            ]
        )
        for s in range(60)
    ]
    error = float(np.std(rates) / np.sqrt(len(rates)))
    assert np.mean(rates) <= 1 - level + 2.5 * error
    assert np.mean(rates) >= 1 - level - 1 / 41 - 2.5 * error, "and not by bands without end"


def test_the_multiplier_is_the_smallest_that_keeps_the_rule() -> None:
    cases, level = patients(30, 1), 0.9
    found = calibrate(cases, level, 1e-3, "toys")

    def risk(multiplier: float) -> float:
        rates = [float((c.error > multiplier * np.maximum(c.spread, 1e-3)).mean()) for c in cases]
        return 30 / 31 * float(np.mean(rates)) + 1 / 31

    assert risk(found.multiplier) <= 0.1
    assert risk(found.multiplier * (1 - 1e-9)) > 0.1


def test_a_higher_level_never_gives_a_narrower_band() -> None:
    widths = [
        calibrate(patients(60, 2), level, 1e-3, "toys").multiplier
        for level in (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
    ]
    assert widths == sorted(widths)


@pytest.mark.parametrize(("count", "level"), [(5, 0.9), (8, 0.9), (18, 0.95), (0, 0.5)])
def test_too_few_patients_for_the_level_are_refused(count: int, level: float) -> None:
    with pytest.raises(CalibrationError, match="needs at least"):
        calibrate(patients(count, 0), level, 1e-3, "toys")


@pytest.mark.parametrize(("count", "level"), [(9, 0.9), (19, 0.95), (1, 0.5)])
def test_just_enough_patients_give_the_band_that_holds_every_voxel(
    count: int, level: float
) -> None:
    cases = patients(count, 3)
    found = calibrate(cases, level, 1e-3, "toys")
    assert found.multiplier == max(float((case.error / case.spread).max()) for case in cases)
    assert found.reached == (1.0, 1.0, 1.0)


def test_background_does_not_pay_for_errors_in_the_foreground() -> None:
    cases = patients(50, 4)
    padded = [
        CalibrationCase(
            *(
                np.concatenate([a, np.zeros(3 * VOXELS, a.dtype)])
                for a in (c.error, c.spread, c.foreground)
            ),
            c.patient,
        )  # type: ignore[arg-type]
        for c in cases
    ]
    assert (
        calibrate(padded, 0.9, 1e-3, "toys").multiplier
        == calibrate(cases, 0.9, 1e-3, "toys").multiplier
    )


def test_patients_weigh_alike_whatever_their_size() -> None:
    cases = patients(40, 5)
    doubled = [
        CalibrationCase(
            np.tile(c.error, 4), np.tile(c.spread, 4), np.tile(c.foreground, 4), c.patient
        )
        if i < 5
        else c
        for i, c in enumerate(cases)
    ]
    assert (
        calibrate(doubled, 0.9, 1e-3, "toys").multiplier
        == calibrate(cases, 0.9, 1e-3, "toys").multiplier
    )


def test_voxels_on_which_all_draws_agree_are_held_by_the_floor() -> None:
    cases = [
        CalibrationCase(np.full(10, 0.5), np.zeros(10), np.ones(10, bool), str(i))
        for i in range(20)
    ]
    found = calibrate(cases, 0.9, 0.1, "toys")
    assert found.multiplier == pytest.approx(5.0)
    band = interval(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)), found)
    assert np.allclose(band.upper, 0.5)
    assert np.allclose(
        interval(np.zeros((1, 2)), np.zeros((1, 2)), found, scale=100.0).lower, -50.0
    )


def test_a_band_states_level_number_of_patients_and_what_it_does_not_promise() -> None:
    found = calibrate(patients(30, 6), 0.9, 1e-3, "30 toys")
    band = interval(np.ones((1, 2, 2, 1)), np.ones((1, 2, 2, 1)), found)
    assert (band.level, band.patients) == (0.9, 30)
    assert "30 toys" in band.promises
    assert "does not promise" in band.promises
    assert band.upper - band.lower == pytest.approx(2 * found.multiplier)


def test_a_calibration_survives_json() -> None:
    found = calibrate(patients(30, 7), 0.9, 1e-3, "toys")
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(SettingError, match="Did you mean 'level'"):
        Calibration.from_dict(found.to_dict() | {"levle": 0.9})
    with pytest.raises(SettingError, match="lacks floor"):
        Calibration.from_dict({k: v for k, v in found.to_dict().items() if k != "floor"})


def test_what_cannot_be_calibrated_is_refused() -> None:
    cases = patients(12, 8)
    twice = [*cases, cases[0]]
    with pytest.raises(CalibrationError, match="comes twice"):
        calibrate(twice, 0.9, 1e-3, "toys")
    empty = CalibrationCase(np.ones(3), np.ones(3), np.zeros(3, bool), "empty")
    with pytest.raises(CalibrationError, match="no voxel is foreground"):
        calibrate([*cases, empty], 0.9, 1e-3, "toys")
    broken = CalibrationCase(np.array([1.0, np.nan]), np.ones(2), np.ones(2, bool), "broken")
    with pytest.raises(CalibrationError, match="NaN"):
        calibrate([*cases, broken], 0.9, 1e-3, "toys")
    with pytest.raises(InputError, match="one shape"):
        calibrate(
            [*cases, CalibrationCase(np.ones(3), np.ones(2), np.ones(3, bool), "odd")],
            0.9,
            1e-3,
            "toys",
        )
    for level, floor in ((0.0, 1.0), (1.0, 1.0), (0.9, 0.0)):
        with pytest.raises(SettingError, match="expected a level"):
            calibrate(cases, level, floor, "toys")
    with pytest.raises(InputError, match="complex"):
        interval(np.ones((1, 2), complex), np.ones((1, 2)), calibrate(cases, 0.9, 1e-3, "toys"))


def test_a_band_says_what_share_of_a_region_it_holds_and_which_it_does_not() -> None:
    rng = np.random.default_rng(3)
    cases = []
    for number in range(12):
        error, bone = np.abs(rng.standard_normal(4000)), np.zeros(4000, bool)
        bone[:100] = True
        error[bone] *= 20
        lesions = np.zeros(4000, bool)
        lesions[200 : 200 + 10 * number] = True
        cases.append(
            CalibrationCase(
                error, np.ones(4000), np.ones(4000, bool), str(number),
                {"bone": bone, "lesions": lesions},
            )
        )  # fmt: skip
    found = calibrate(cases, 0.9, 0.01, "toys")
    assert found.regions["bone"] < 0.2
    assert found.regions["lesions"] > 0.9
    assert "of the voxels of bone" in found.unheld
    assert "bone" in found.promises
    assert Calibration.from_dict(found.to_dict()) == found
    held = [replace(case, regions={"lesions": case.regions["lesions"]}) for case in cases]
    assert calibrate(held, 0.9, 0.01, "toys").unheld == ""
    wider = calibrate(cases, 0.9, 0.01, "toys", hold=0.55)
    assert wider.regions["bone"] == pytest.approx(0.55, abs=0.01)
    assert wider.unheld == ""
    assert wider.multiplier > found.multiplier
    assert calibrate(held, 0.9, 0.01, "toys", hold=0.55).multiplier == pytest.approx(
        calibrate(held, 0.9, 0.01, "toys").multiplier
    )


def test_a_region_that_lies_above_is_held_by_a_lopsided_band_that_is_narrower() -> None:
    """Bright lesions, 3 % of the voxels, as no symmetric band of the same width holds them; and the
    band holds both shares in new patients too.
    """
    rng = np.random.default_rng(5)

    def drawn(count: int) -> list[tuple[np.ndarray, CalibrationCase]]:
        found = []
        for number in range(count):
            error, lesions = rng.standard_normal(2000), np.zeros(2000, bool)
            lesions[:60] = True
            error[lesions] += 6
            case = CalibrationCase(
                np.abs(error), np.ones(2000), np.ones(2000, bool), f"p{number}",
                {"lesions": lesions}, error > 0,
            )  # fmt: skip
            found.append((error, case))
        return found

    learned, new = [case for _, case in drawn(40)], drawn(40)
    found = calibrate(learned, 0.9, 0.01, "toys", hold=0.85)
    even = calibrate([replace(c, above=None) for c in learned], 0.9, 0.01, "toys", hold=0.85)
    assert found.skew > 1 == even.skew
    assert (1 + found.skew) * found.multiplier < 0.8 * 2 * even.multiplier
    assert found.regions["lesions"] >= 0.85
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert f"{found.multiplier:.3g} spreads down" in found.reach
    inside, held = [], []
    for error, case in new:
        band = interval(np.zeros(2000), case.spread, found)
        within = (error >= band.lower) & (error <= band.upper)
        inside.append(within.mean())
        held.append(within[case.regions["lesions"]].mean())
    assert float(np.mean(inside)) == pytest.approx(0.93, abs=0.03)
    assert float(np.mean(held)) > 0.82
    assert found.spread_factor == pytest.approx(1.0, abs=0.25), "lesions do not count as spread"
    assert calibrate(learned, 0.9, 0.01, "toys").skew == 1, "nothing is to be held"


def test_a_single_new_patient_has_the_share_inside_with_the_probability_of_the_level() -> None:
    kept = [
        1 - miss(c, calibrate(patients(29, s), 0.8, 1e-3, "toys", share=0.9)) >= 0.9
        for s in range(80)
        for c in patients(5, 7000 + s)
    ]
    error = np.sqrt(0.8 * 0.2 / 80)
    assert abs(float(np.mean(kept)) - 0.8) < 2.5 * error
    found = calibrate(patients(29, 0), 0.8, 1e-3, "toys", share=0.9)
    assert "80%, 90% of foreground voxels" in found.promises
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(SettingError, match="share"):
        calibrate(patients(29, 0), 0.8, 1e-3, "toys", share=1.2)


def test_a_band_around_quantiles_holds_its_level_and_is_narrower_for_lopsided_errors() -> None:
    rng = np.random.default_rng(3)

    def drawn(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            (rng.exponential(size=(100, VOXELS)), rng.exponential(size=VOXELS))
            for _ in range(count)
        ]

    def case(index: int, draws: np.ndarray, truth: np.ndarray, quantiles: bool) -> CalibrationCase:
        low, high = np.quantile(draws, (0.01, 0.91), 0) if quantiles else (draws.mean(0),) * 2
        return CalibrationCase(
            outside(truth, low, high), np.full(VOXELS, 0.5), np.ones(VOXELS, bool), f"p{index}"
        )

    learned, new = drawn(40), drawn(60)
    widths = {}
    for quantiles in (True, False):
        found = calibrate(
            [case(n, *one, quantiles) for n, one in enumerate(learned)], 0.9, 1e-3, "toys"
        )
        inside, wide = [], []
        for draws, truth in new:
            low, high = np.quantile(draws, (0.01, 0.91), 0) if quantiles else (draws.mean(0),) * 2
            band = interval_around(low, high, np.full(VOXELS, 0.5), found)
            inside.append(((truth >= band.lower) & (truth <= band.upper)).mean())
            wide.append((band.upper - band.lower).mean())
        assert 0.885 < float(np.mean(inside)) < 0.95
        widths[quantiles] = float(np.mean(wide))
    assert widths[True] < 0.95 * widths[False]


def test_a_region_that_enough_patients_have_gets_a_band_of_its_own() -> None:
    cases = [
        replace(
            case,
            error=np.where(np.arange(VOXELS) < 40, 5 * case.error, case.error),
            regions={"lesions": np.arange(VOXELS) < 40, "rare": np.arange(VOXELS) < (n < 5)},
        )
        for n, case in enumerate(patients(40, 8))
    ]
    found = calibrate_regions(cases, 0.9, 1e-3, "toys")
    assert set(found) == {"lesions"}
    whole = calibrate(cases, 0.9, 1e-3, "toys")
    assert whole.regions["lesions"] < 0.7
    assert found["lesions"].multiplier > 3 * whole.multiplier / 2
    assert "lesions" in found["lesions"].promises
