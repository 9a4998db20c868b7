"""Laws of the forecasting task: companions, stable patients, visits that add up, lesions, and what
it says of patients that it cannot forecast.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import segmenters
import shrinking
import veridical
from veridical import testing
from veridical.apps.cli import main
from veridical.errors import InputError, SettingError
from veridical.models.atrophy_rates import NAMES
from veridical.phantoms.head_labels import LABELS
from veridical.tasks import forecast_visits
from veridical.tasks.forecast import Forecast
from veridical.testing import subjects
from veridical.types import Finding, Image, Result, Study

TRUE = np.array([shrinking.RATES[name] for name in NAMES])


@pytest.fixture(scope="module", autouse=True)
def one_flow() -> Iterator[None]:
    """All patients here have the anatomy of one head, whose velocities are found once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecast_visits, "regional_flow", lambda shares, grid: shrinking.flow())
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return segmenters.weights(tmp_path_factory.mktemp("forecast"))


@pytest.fixture(scope="module")
def done(weights: str) -> Result:
    return Forecast(at="2y,0d", draws=4, weights=weights)(shrinking.study(), seed=1)


def last_image() -> np.ndarray:
    one = shrinking.study().visit()["T1w"]
    return np.asarray(one.data[0])


def finding(result: Result, check: str) -> Finding:
    return next(one for one in result.findings if one.check == check)


def test_it_keeps_the_promises_of_a_task(weights: str) -> None:
    testing.check_task(Forecast, shrinking.study((-1.0, 0.0)), draws=2, weights=weights)


def test_the_result_has_all_companions(done: Result) -> None:
    assert done.image.channels == ("T1w",)
    assert done.image.units == "a.u."
    assert done.draws is not None
    assert done.draws.shape == (4, 1, *shrinking.SHAPE)
    assert done.interval is not None
    assert done.interval.level == 0.9
    assert done.evidence is not None
    assert done.evidence.map is not None
    assert "carried" in done.evidence.about
    assert "forecast" in done.image.header


def test_the_future_is_closer_than_the_last_image(done: Result) -> None:
    truth, inside = shrinking.seen(2.0, noise=0.0), shrinking.flow().inside
    last = last_image()
    errors = [np.abs(one - truth)[inside].mean() for one in (done.image.data[0], last)]
    assert errors[0] < 0.8 * errors[1]


def test_volumes_come_with_intervals_that_hold_the_truth(done: Result) -> None:
    table = done.facts["forecast"]["volumes"]
    then = shrinking.flow().volumes * np.exp(2 * TRUE)
    for name in ("cortex", "hippocampus and amygdala"):
        row, true = table[name], then[NAMES.index(name)]
        assert row["lower_ml"] <= row["then_ml"] <= row["upper_ml"]
        assert row["then_ml"] == pytest.approx(true, rel=0.06)
    assert table["brain"]["percent_a_year"] < 0


def test_no_step_changes_nothing(done: Result, weights: str) -> None:
    one = shrinking.study((0.0,))
    still = Forecast(at="0d", draws=2, weights=weights)(one, seed=1)
    assert np.array_equal(still.image.data, last_image()[None])
    assert still.draws is not None
    assert (still.draws == still.image.data).all()
    several = done.also["in-0d"]
    last = last_image()
    assert np.abs(several.image.data[0] - last)[shrinking.flow().inside].mean() < 1.5


def test_what_lies_outside_of_the_skull_stays() -> None:
    one = shrinking.study((0.0,))
    made = Forecast(at="5y", draws=0)(one, seed=1)
    outside = shrinking.shares()["background"] == 1
    assert made.image.data[0][outside] == pytest.approx(last_image()[outside], abs=1e-2)


def test_a_stable_patient_is_forecast_to_be_more_stable_than_others() -> None:
    same = Image(shrinking.seen(0.0)[None], shrinking.GRID, "a.u.", ("T1w",))
    every = {365.25 * year: {"T1w": same} for year in range(4)}
    every[3 * 365.25] = {**every[3 * 365.25], "structures": shrinking.study().visit()["structures"]}
    stable = replace(shrinking.study(), visits=every)
    rates = [
        Forecast(at="1y", draws=0, method=method)(stable).facts["forecast"]["volumes"]["cortex"]
        for method in ("personal", "population")
    ]
    own, usual = (abs(row["percent_a_year"]) for row in rates)
    assert own < 0.35 * usual


def test_the_last_image_is_a_method_of_its_own() -> None:
    study = shrinking.study()
    last = Forecast(at="3y", method="last", draws=0)(study)
    assert np.array_equal(last.image.data[0], last_image())
    assert "interval" in last.absent
    assert last.facts["forecast"]["volumes"]["cortex"]["percent_a_year"] == 0


def test_a_contrast_that_was_not_made_again_is_carried() -> None:
    study = shrinking.study((-1.0, 0.0))
    first = {**study.visits[0.0], "FLAIR": replace(study.visits[0.0]["T1w"], channels=("FLAIR",))}
    made = Forecast(at="1y", draws=0)(replace(study, visits={**study.visits, 0.0: first}))
    assert made.image.channels == ("T1w", "FLAIR")
    assert "FLAIR was not made at the last visit" in finding(made, "visits").reason


def test_new_lesions_are_counted() -> None:
    study = shrinking.study((-1.0, 0.0))
    visits = {day: dict(visit) for day, visit in study.visits.items()}
    for number, day in enumerate(study.days):
        marked = shrinking.labels().copy()
        for place in range(2 + 3 * number):
            marked[30 + 4 * place : 33 + 4 * place, 46:49, 36:39] = LABELS.index("lesion")
        visits[day]["structures"] = Image(marked[None], shrinking.fine(), "label", ("structures",))
    sick = replace(study, visits=visits, covariates={"age": 35, "sex": "male", "diagnosis": "MS"})
    made = Forecast(at="2y", draws=2)(sick, seed=3)
    rows = made.facts["forecast"]["lesions"]["new lesions"]
    assert rows["lower"] <= rows["then"] <= rows["upper"]
    treated = Forecast(at="2y", draws=0, treatment="natalizumab@365.25")(sick, seed=3)
    assert treated.facts["forecast"]["lesions"]["new lesions"]["then"] < 0.4 * rows["then"]
    assert finding(made, "forecast lesions").evidence["seen"] == 3


def test_unknown_patients_are_told_so() -> None:
    made = Forecast(at="8y", draws=0)(replace(shrinking.study((0.0,)), covariates={}))
    assert finding(made, "forecast conditions").verdict == "warn"
    assert finding(made, "forecast horizon").verdict == "warn"
    assert "rates are those of the population" in finding(made, "visits").reason


def test_a_time_to_a_threshold_is_told() -> None:
    made = Forecast(at="1y", draws=0, threshold="cortex=-4%")(shrinking.study(), seed=1)
    row = made.facts["forecast"]["threshold"]["cortex=-4%"]
    assert row["lower_years"] <= row["median_years"] <= row["upper_years"]
    assert row["median_years"] == pytest.approx(2.0, abs=0.6)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"threshold": "cortex"}, "expected a region and a change"),
        ({"threshold": "knee=-4%"}, "No region is called 'knee'"),
        ({"method": "magic"}, "method = 'magic'"),
        ({"draws": -1}, "expected 0 or more"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, str], why: str) -> None:
    with pytest.raises(SettingError, match=why):
        Forecast(**settings)(shrinking.study((0.0,)))  # type: ignore[arg-type]


def test_what_is_no_head_is_carried_and_said_to_be_none() -> None:
    made = Forecast(at="1y", draws=0)(subjects.study("study"))
    assert finding(made, "visits").verdict == "fail"
    assert "no head was found" in finding(made, "visits").reason
    assert finding(made, "forecast volumes").verdict == "not_run"
    assert "interval" in made.absent


def test_a_line_needs_two_visits_and_a_forecast_one() -> None:
    with pytest.raises(InputError, match="needs two visits"):
        Forecast(method="linear")(shrinking.study((0.0,)))
    with pytest.raises(InputError, match="has no visit"):
        Forecast()(Study("nobody", {}))


def test_the_command_forecasts_a_patient_of_a_bids_folder(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    study = shrinking.study((-1.0, 0.0))
    for day, session in zip(study.days, ("ses-d0000", "ses-d0365"), strict=True):
        folder = root / "sub-01" / session / "anat"
        folder.mkdir(parents=True)
        for name, one in study.visits[day].items():
            suffix = "T1w" if name == "T1w" else "desc-structures_dseg"
            veridical.write(one, folder / f"sub-01_{session}_{suffix}.nii.gz")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / "participants.tsv").write_text(
        "participant_id\tage\tsex\tdiagnosis\nsub-01\t70\tF\tAD\n"
    )
    out = tmp_path / "out"
    words = ["forecast", str(root), str(out), "--at", "2y", "--draws", "2", "--weights", weights]
    assert main([*words, "--quiet"]) == 0
    record = json.loads((out / "sub-01" / "anat" / "provenance.json").read_text())
    assert record["steps"][0]["settings"]["at"] == "2y"
    reasons = " ".join(one["reason"] for one in record["findings"])
    assert "2 visits, on day 0 and 365; anatomy from the label map" in reasons
    assert "72" in reasons or "71 years" in reasons
