"""Laws of the dose task: the prescribed dose in the target, its companions, and what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import veridical
from trunks import body, image, mask, patient
from veridical import testing
from veridical.apps.cli import main
from veridical.errors import GeometryError, InputError, SettingError, UnitsError
from veridical.tasks.dose import AGAINST, Dose, spread_of
from veridical.tasks.dose_findings import field_rows
from veridical.types import Finding, Result, Study

ROUGH = {"voxel": 6.0, "angles": (0.0, 120.0, 240.0), "prescription": 50.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second CT 100 HU denser, a mask, and a result with draws of the CT, as files."""
    place = tmp_path_factory.mktemp("dose")
    denser = image(np.where(body() > -500, body() + 100, body()).astype(np.float32))
    veridical.write(denser.channel("CT"), place / "denser.nii.gz")
    veridical.write(patient().channel("GTV"), place / "gtv.nii.gz")
    rng = np.random.default_rng(0)
    shifts = 40 * rng.standard_normal(4)
    draws = np.stack([np.where(body() > -500, body() + s, body())[None] for s in shifts])
    absent = {"interval": "There is none in this test.", "evidence": "There is none in this test."}
    made = Result(patient().channel("CT"), "posterior mean", draws=draws, absent=absent)
    made.save(place / "translated", "case")
    return place


@pytest.fixture(scope="module")
def done(folder: Path) -> Result:
    both = {"against": str(folder / "denser.nii.gz"), "samples": str(folder / "translated")}
    return Dose(**ROUGH, **both)(patient())  # type: ignore[arg-type]


def finding(result: Result, check: str) -> Finding:
    return next(one for one in result.findings if one.check == check)


def test_it_keeps_the_promises_of_a_task() -> None:
    testing.check_task(Dose, Study.of(patient()), voxel=10.0, angles=(0.0,))


def test_the_target_gets_the_prescribed_dose_and_nobody_gets_any_outside_of_the_body(
    done: Result,
) -> None:
    dose = done.image.data[0]
    assert (done.image.units, done.image.channels) == ("Gy", ("dose",))
    assert done.image.geometry == patient().geometry
    assert float(dose[mask()].mean()) == pytest.approx(50, rel=1e-4)
    assert not dose[body() < -500].any()
    assert finding(done, "target coverage").verdict == "pass"
    table = done.image.header["dvh"]["GTV"]
    assert table["D95"]["value"] < table["D50"]["value"] < table["D2"]["value"]
    assert table["Dmean"]["value"] == pytest.approx(50, abs=0.01)


def test_three_fields_of_one_weight_need_plausible_monitor_units(done: Result) -> None:
    rows = done.image.header["fields"]
    assert [row["gantry"] for row in rows] == [0, 120, 240]
    assert len({row["units"] for row in rows}) == 1
    assert 1500 < rows[0]["units"] < 3500, "50 Gy from three fields at 8 to 12 cm of tissue"
    assert field_rows([]) == []


def test_a_denser_body_gets_less_from_the_same_fields(done: Result) -> None:
    """100 HU over 60 to 100 mm, 0.0045 / mm: 2 to 4 % more dose on the lighter CT."""
    said = finding(done, "dose against")
    assert said.verdict == "warn"
    assert 2 < said.evidence["target_mean_change"] < 4
    assert said.evidence["change_gy"]["Dmean"] > 0
    other = done.also[AGAINST].image.data[0]
    assert float(other[mask()].mean()) < 49.5


def test_the_same_ct_changes_nothing(folder: Path, tmp_path: Path) -> None:
    veridical.write(patient().channel("CT"), tmp_path / "same.nii.gz")
    found = Dose(**ROUGH, against=str(tmp_path / "same.nii.gz"))(patient())  # type: ignore[arg-type]
    said = finding(found, "dose against")
    assert (said.verdict, said.evidence["gamma_2_2"]) == ("pass", 100.0)
    assert said.evidence["target_mean_change"] == pytest.approx(0, abs=1e-4)


def test_draws_of_the_ct_become_an_interval_of_the_dose(done: Result) -> None:
    assert done.draws is not None
    assert done.interval is not None
    assert done.draws.shape == (4, *done.image.data.shape)
    inside = (done.interval.lower <= done.image.data) & (done.image.data <= done.interval.upper)
    assert inside.all()
    point = done.image.header["dvh"]["GTV"]["Dmean"]
    assert point["lower"] < 49.7 < 50.3 < point["upper"]
    assert "not calibrated" in done.interval.promises


def test_the_band_of_few_draws_is_that_of_student() -> None:
    """A new normal value stays within it in 90 % of cases."""
    rng = np.random.default_rng(1)
    values = rng.standard_normal((4, 40000))
    deviation, factor = spread_of(values)
    new = rng.standard_normal(40000)
    held = np.abs(new - values.mean(0)) < factor * deviation
    assert held.mean() == pytest.approx(0.9, abs=0.01)


def test_a_mask_in_a_file_is_the_same_target(folder: Path, done: Result) -> None:
    alone = patient().channel("CT")
    found = Dose(**ROUGH, target=str(folder / "gtv.nii.gz"))(alone)  # type: ignore[arg-type]
    assert np.allclose(found.image.data, done.image.data, atol=1e-4)


def test_a_second_ct_outside_of_the_draws_is_told(folder: Path) -> None:
    shifted = np.where(body() > -500, body() + 400, body()).astype(np.float32)
    veridical.write(image(shifted).channel("CT"), folder / "far.nii.gz")
    both = {"against": str(folder / "far.nii.gz"), "samples": str(folder / "translated")}
    found = Dose(**{**ROUGH, "voxel": 10.0}, **both)(patient())  # type: ignore[arg-type]
    said = finding(found, "CT in its interval")
    assert said.verdict == "warn"
    assert said.evidence["inside"] < 0.2


def test_what_the_scan_does_not_show_is_told() -> None:
    rough = {"voxel": 10.0, "angles": (0.0, 90.0)}
    short = Dose(**rough)(image(body(), mask(middle=0.0)))  # type: ignore[arg-type]
    assert finding(short, "fields in the scan").verdict == "warn"
    cut = Dose(**rough)(image(body(wide=130.0)))  # type: ignore[arg-type]
    said = finding(cut, "whole body")
    assert said.verdict == "fail"
    assert said.evidence["angles"] == [90.0]
    gold = body()
    gold[18:21, 22:25, 10:13] = 5000
    assert finding(Dose(**rough)(image(gold)), "metal in the fields").verdict == "warn"  # type: ignore[arg-type]


def test_what_cannot_be_irradiated_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="no CT"):
        Dose()(patient().channel("GTV"))
    with pytest.raises(InputError, match="Which structure"):
        Dose()(patient().channel("CT"))
    with pytest.raises(InputError, match="no structure 'GVT'"):
        Dose(target="GVT")(patient())
    with pytest.raises(InputError, match="lies in the body"):
        Dose()(image(body(), body() < -2000))
    arbitrary = replace(patient().channel("CT"), units="a.u.")
    with pytest.raises(UnitsError, match="expected HU"):
        Dose()(arbitrary)
    with pytest.raises(InputError, match="needs a field of"):
        Dose(margin=250.0)(patient())
    with pytest.raises(SettingError, match="at least one"):
        Dose(angles=())
    with pytest.raises(SettingError, match="more than 0 Gy"):
        Dose(prescription=-1.0)
    smaller = image(body(shape=(40, 34, 12)), mask((40, 34, 12)))
    with pytest.raises(GeometryError, match="expected one grid"):
        Dose(samples=str(folder / "translated"))(smaller)


def test_the_command_writes_dose_page_and_comparison(folder: Path, tmp_path: Path) -> None:
    veridical.write(patient().channel("CT"), tmp_path / "CT.nii.gz")
    arguments = ["dose", str(tmp_path / "CT.nii.gz"), str(tmp_path / "out")]
    arguments += [
        "--target",
        str(folder / "gtv.nii.gz"),
        "--against",
        str(folder / "denser.nii.gz"),
    ]
    arguments += ["--contrast", "CT", "--units", "HU", "--voxel", "10", "--angles", "0", "--quiet"]
    main(arguments)
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "D95" in page
    assert (tmp_path / "out/against/report.html").exists()
