"""Laws of the planning task: dose in Gy with its companions, and what it says of patients who are
not like those of the training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import plans
from veridical import testing
from veridical.apps.cli import main
from veridical.errors import InputError, SettingError, UnitsError
from veridical.models import dose_predictor
from veridical.tasks.plan import ALIKE, Plan, drawn
from veridical.types import Finding, Geometry, Image, Result, Study


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield plans.weights(tmp_path_factory.mktemp("plan"))
    dose_predictor._network.cache_clear()


@pytest.fixture(scope="module")
def done(weights: str) -> Result:
    return Plan(weights=weights)(plans.patient(), seed=1)


def finding(result: Result, check: str) -> Finding:
    return next(one for one in result.findings if one.check == check)


def as_structure_set(image: Image, names: dict[str, str]) -> Study:
    """The same patient as DICOM gives him: CT and masks apart, under other names."""
    visit = {names.get(name, name): image.channel(name) for name in image.channels}
    renamed = {name: replace(one, channels=(name,)) for name, one in visit.items()}
    return Study("", {0.0: renamed})


def test_it_keeps_the_promises_of_a_task(weights: str) -> None:
    testing.check_task(Plan, Study.of(plans.patient()), weights=weights, draws=2)


def test_the_result_is_a_dose_in_gray_with_samples_and_an_interval(done: Result) -> None:
    assert (done.image.units, done.image.channels) == ("Gy", ("dose",))
    assert done.image.geometry == plans.patient().geometry
    assert done.draws is not None
    assert done.interval is not None
    assert done.draws.shape == (4, *done.image.data.shape)
    assert done.image.data.min() == done.draws.min() == done.interval.lower.min() == 0
    body = plans.patient()["possible_dose"] > 0
    assert not done.image.data[0][~body].any()
    assert (done.interval.upper[0][~body] == 0).all()
    assert (done.interval.upper > done.interval.lower)[0][body].all()


def test_all_of_it_is_imagined(done: Result) -> None:
    assert done.evidence is not None
    assert not done.evidence.map.any()  # type: ignore[union-attr]


def test_samples_spread_as_they_are_said_to_and_are_alike_nearby() -> None:
    grid = Geometry((40, 40, 40), np.diag([4.0, 4.0, 4.0, 1.0]))
    dose, spread = np.full(grid.shape, 50.0), np.full(grid.shape, 3.0)
    found = drawn(dose, spread, grid, 6, 0)[:, 0]
    assert found.std() == pytest.approx(3.0, rel=0.02)
    off = found - 50
    near = float((off[:, 1:] * off[:, :-1]).mean() / off.var())
    far = float((off[:, 10:] * off[:, :-10]).mean() / off.var())
    assert near > 0.7, f"within {ALIKE} mm"
    assert abs(far) < 0.1


def test_points_of_the_table_lie_between_their_ends(done: Result) -> None:
    table = done.image.header["dvh"]
    assert set(table) == {
        "Brainstem", "SpinalCord", "RightParotid", "LeftParotid", "Esophagus", "Larynx", "Mandible",
        "PTV56", "PTV70",
    }  # fmt: skip
    for points in table.values():
        for point in points.values():
            assert 0 <= point["lower"] <= point["value"] <= point["upper"]
    assert table["PTV70"]["D1"]["value"] > table["PTV70"]["D95"]["value"]


def test_a_structure_set_under_other_names_gives_the_same_dose(weights: str, done: Result) -> None:
    names = {"RightParotid": "Parotid_R", "SpinalCord": "Myelon", "PTV70": "PTV_7000"}
    study = as_structure_set(plans.patient(), names)
    found = Plan(weights=weights, structures="SpinalCord=Myelon")(study, seed=1)
    assert np.array_equal(found.image.data, done.image.data)
    assert found.facts["structures"]["SpinalCord"] == "Myelon"


def test_a_planned_dose_is_compared(weights: str) -> None:
    image = plans.patient()
    made = Plan(weights=weights, draws=0)(image)
    units = {**image.header["units"], "dose": "Gy"}
    both = np.concatenate([image.data, made.image.data + 2 * (image["possible_dose"] > 0)])
    known = Image(both, image.geometry, "mixed", (*image.channels, "dose"), {"units": units})
    said = finding(Plan(weights=weights, draws=0)(known), "planned dose").evidence
    assert said["dose_score_gy"] == pytest.approx(2.0, abs=0.01)
    assert said["dvh_score_gy"] == pytest.approx(2.0, abs=0.01)
    assert said["inside"] == 1.0


def test_a_usual_neck_is_in_scope_and_a_dwarf_is_not(weights: str, done: Result) -> None:
    assert finding(done, "plan scope").verdict == "pass"
    image = plans.patient()
    small = replace(image, geometry=Geometry(image.geometry.shape, np.diag([2.0, 2.0, 1.0, 1.0])))
    found = Plan(weights=weights, draws=0)(small)
    assert finding(found, "plan scope").verdict == "fail"
    assert finding(found, "plan grid").verdict == "warn"
    assert found.image.geometry == small.geometry


def test_organs_that_are_not_outlined_are_named(weights: str, done: Result) -> None:
    assert finding(done, "organs at risk").verdict == "pass"
    for left_out, verdict in ((["Larynx"], "warn"), (list(done.image.header["dvh"])[:7], "fail")):
        study = as_structure_set(plans.patient(), {})
        visit = {k: v for k, v in study.visit().items() if k not in left_out}
        found = finding(Plan(weights=weights, draws=0)(Study("", {0.0: visit})), "organs at risk")
        assert found.verdict == verdict
        assert found.evidence["missing"] == left_out


def test_what_cannot_be_planned_is_refused(weights: str) -> None:
    image, task = plans.patient(), Plan(weights=weights)
    with pytest.raises(InputError, match="no CT"):
        task(image.channel("PTV70"))
    with pytest.raises(InputError, match="No target is outlined"):
        task(image.channel("CT"))
    wrong = replace(image, header={"units": {**image.header["units"], "CT": "a.u."}})
    with pytest.raises(UnitsError, match="expected HU"):
        task(wrong)
    with pytest.raises(InputError, match="expected pairs"):
        Plan(weights=weights, structures="PTV70")(image)
    with pytest.raises(SettingError, match="expected 0 or more"):
        Plan(draws=-1)


def test_without_a_calibration_there_is_no_interval_and_it_is_said(tmp_path: Path) -> None:
    bare = plans.weights(tmp_path, "bare", calibrated=False)
    found = Plan(weights=bare, draws=0)(plans.patient())
    assert found.interval is None
    assert "calibrate" in found.absent["interval"]
    assert "lower" not in found.image.header["dvh"]["Larynx"]["mean"]


def test_the_command_writes_dose_report_and_table_and_can_be_rerun(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = plans.archive(tmp_path / "pt_3.npz", plans.patient()), tmp_path / "out"
    assert main(["plan", str(file), str(out), "--weights", weights, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Dose-volume points" in page
    assert "RightParotid" in page
    assert any("dose" in Path(str(one)).name.lower() for one in out.rglob("*.nii.gz")), written
    assert main(["rerun", str(out / "provenance.json")]) == 0
