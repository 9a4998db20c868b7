"""The orders of jobs, done in this process: what comes of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical.apps.show import plain
from veridical.apps.web import demo, work
from veridical.errors import InputError, PolicyError
from veridical.governance.ledger import Ledger
from veridical.io.bids import load_provenance
from veridical.io.files import write
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.simulated_scan import examine
from veridical.task import silent
from veridical.types import Geometry, Image
from veridical.workflow.demo import COHORT_SEED, PATIENT
from veridical.workflow.intake import take_in
from web_site import small_image

STRICT = """name = "strict"
[[rule]]
name = "none may leave"
check = "*"
verdict = ["pass", "warn", "fail", "not_run"]
then = "block"
may_override = ["somebody"]
"""


def patient(folder: Path) -> dict[str, Any]:
    (found,) = take_in([write(small_image(), folder / "sub-1_T1w.nii.gz")])
    return asdict(found)


def run(patient: dict[str, Any], out: Path, **more: Any) -> dict[str, Any]:
    order: dict[str, Any] = {
        "task": "jitter", "settings": {"spread": 1.0}, "patient": patient, "chosen": [], "seed": 0,
        "out": str(out), "before": [], "terms": {}, "progress": silent,
    }  # fmt: skip
    return work.task(**(order | more))


def test_a_dropped_file_is_taken_in_and_drawn(tmp_path: Path) -> None:
    path = write(small_image(), tmp_path / "sub-1_T1w.nii.gz")
    found = work.inspect([str(path)], {}, str(tmp_path / "case"), silent)
    assert [part["name"] for part in found["patients"][0]["parts"]] == ["T1w"]
    assert (tmp_path / "case" / "view-0-0-T1w" / "scene.json").is_file()


def test_what_cannot_be_shown_is_taken_in_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise InputError("No model inverts it. Choose one.")

    monkeypatch.setattr(work, "view", refused)
    path = write(small_image(), tmp_path / "sub-1_T1w.nii.gz")
    found = work.inspect([str(path)], {}, str(tmp_path / "case"), silent)
    assert found["views"] == {}
    assert (
        found["patients"][0]["notes"][-1] == "It cannot be shown: No model inverts it. Choose one."
    )


@pytest.mark.usefixtures("jitter")
def test_a_job_writes_the_result_of_the_command_line_and_draws_it_beside_its_input(
    tmp_path: Path,
) -> None:
    given = patient(tmp_path)
    work.view(given, 0.0, "T1w", str(tmp_path / "view"), silent)
    found = run(given, tmp_path / "job", before=[str(tmp_path / "view"), str(tmp_path / "none")])
    record = load_provenance(tmp_path / "job" / "result")
    assert record.steps[-1].settings["spread"] == 1.0
    assert record.steps[-1].source["path"].endswith("sub-1_T1w.nii.gz"), "it can be rerun"
    assert {one["role"] for one in found["scene"]["layers"]} >= {"image", "input", "evidence"}
    assert found["summary"]["headline"]["verdict"] == "pass"
    assert found["summary"]["interval"].startswith("90%")
    again = work.open_result(found["folder"], str(tmp_path / "again"), silent)
    assert plain(again["summary"]["findings"]) == plain(found["summary"]["findings"])


@pytest.mark.usefixtures("jitter")
def test_the_policy_blocks_here_as_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.toml").write_text(STRICT)
    terms = {"policy": str(tmp_path / "policy.toml"), "ledger": str(tmp_path / "ledger.db")}
    with pytest.raises(PolicyError, match="none may leave"):
        run(patient(tmp_path), tmp_path / "job", terms=terms)
    assert not (tmp_path / "job" / "result").exists()
    assert [line.kind for line in Ledger(tmp_path / "ledger.db").lines()] == ["blocked"]
    monkeypatch.setenv("VERIDICAL_USER", "somebody")
    found = run(patient(tmp_path), tmp_path / "job", terms=terms | {"override": "a test"})
    assert found["summary"]["policy"]["verdict"] == "overridden"


def test_the_demo_scan_is_that_of_the_digital_patient_of_the_demo(tmp_path: Path) -> None:
    """Bytes are the same but for rounding of other machines."""
    exam = examine(
        Cohort(COHORT_SEED), PATIENT, "FLAIR", 4, "uniform", plane="axial", pathology="ms"
    )
    given = demo.scan(tmp_path)
    scan = np.load(given["paths"][0])
    truth = exam.measurement.data[0]
    assert np.abs(scan - truth).max() < 1e-4 * np.abs(truth).max()
    np.testing.assert_array_equal(scan != 0, truth != 0)
    (found,) = take_in(given["paths"], given["options"])
    assert [(part.name, part.kind) for part in found.parts] == [
        (part["name"], part["kind"]) for part in given["parts"]
    ]


def test_an_audit_and_an_evaluation_write_their_reports(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 3, small_image().data.shape).astype(np.float32)
    noisy = replace(small_image(), data=small_image().data + noise)
    one = write(noisy, tmp_path / "a" / "sub-1_T1w.nii.gz")
    other = write(small_image(), tmp_path / "b" / "sub-1_T1w.nii.gz")
    settings = {"checks": ["face"], "reference": str(other)}
    found = work.audit(str(one), settings, str(tmp_path / "audit"), {}, silent)
    assert [finding["check"] for finding in found["findings"]] == ["face"]
    assert Path(found["report"]).is_file()
    judged = work.evaluate(
        str(one), str(other), {"levels": ["pixel"]}, str(tmp_path / "judged"), silent
    )
    assert judged["levels"][0]["level"] == "pixel"
    assert judged["levels"][0]["verdict"] in ("pass", "fail", "inconclusive")
    assert Path(judged["report"]).is_file()
    grid = Geometry((10, 5, 8), small_image().geometry.affine)
    part = Image(small_image().data[:, :, :5], grid, "a.u.", ("T1w",))
    cut = write(part, tmp_path / "c" / "sub-1_T1w.nii.gz")
    with pytest.raises(InputError, match="cannot be compared"):
        work.evaluate(str(one), str(cut), {"levels": ["pixel"]}, str(tmp_path / "no"), silent)
