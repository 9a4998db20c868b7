"""What the page asks for, and what it is told."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from veridical import registry
from veridical.apps.web import handing, uploads
from veridical.apps.web.guard import REPORT_POLICY
from veridical.governance.ledger import Ledger
from web_site import SCRIPT, Site, small_image

POLICY = """name = "strict"
[[rule]]
name = "none may leave"
check = "consistency"
verdict = "pass"
then = "block"
"""


def test_the_page_and_what_it_loads_are_its_own(site: Callable[..., Site]) -> None:
    """No address of another host is in any file of ours; nothing else of the package is served."""
    found = site()
    page = found.ask("GET", "/").text
    for name in ("app.css", "app.js", "niivue.umd.js", "icon.svg"):
        assert f"/static/{name}" in page
        assert found.ask("GET", f"/static/{name}").status_code == 200
    folder = Path(handing.__file__).parent / "static"
    ours = [one for one in folder.iterdir() if one.suffix in (".html", ".js", ".css")]
    for file in ours:
        if not file.name.startswith("niivue"):
            assert "://" not in file.read_text(encoding="utf-8").replace(
                "http://www.w3.org/2000/svg", ""
            )
    icon = found.ask("GET", "/static/icon.svg").content
    assert found.ask("GET", "/favicon.ico").content == icon, "asked for by pages that name none"
    for name in ("..%2fserver.py", "nothing.js", "demo_scan.npz"):
        assert found.ask("GET", f"/static/{name}").status_code == 404


def test_the_viewer_is_vendored_with_its_licence_and_is_what_it_says() -> None:
    import hashlib

    folder = Path(handing.__file__).parent / "static"
    said = (folder / "niivue.VERSION.txt").read_text()
    assert hashlib.sha256((folder / "niivue.umd.js").read_bytes()).hexdigest() in said
    assert "BSD 2-Clause" in (folder / "niivue.LICENSE.txt").read_text()


def test_all_tasks_of_the_registry_are_offered_with_their_forms(site: Callable[..., Site]) -> None:
    found = site()
    about = found.get("/api/about")
    assert [one["name"] for one in about["tasks"]] == list(registry.entries("task"))
    for name in [*registry.entries("task"), "audit", "evaluate", "reading"]:
        assert found.get(f"/api/forms/{name}")["properties"]
    said = found.ask("GET", "/api/forms/enhanse")
    assert (said.status_code, "Did you mean 'enhance'" in said.json()["error"]) == (422, True)


def test_files_are_taken_in_one_by_one_and_stay_in_their_folder(
    site: Callable[..., Site], tmp_path: Path
) -> None:
    found = site()
    case = found.post("/api/cases", {"name": "../../case"})["id"]
    for name in ("a/b.dcm", "a/c.dcm"):
        said = found.ask("PUT", f"/api/cases/{case}/file", params={"name": name}, content=b"12345")
    assert said.json() == {"files": 2, "bytes": 10}
    for name in ("../x", "/etc/x", "a\\x", SCRIPT, "a/b.dcm/c", "a/b.dcm"):
        said = found.ask("PUT", f"/api/cases/{case}/file", params={"name": name}, content=b"1")
        assert said.status_code == 422, name
        assert "<" not in said.json()["error"]
    stored = sorted(one.name for one in tmp_path.rglob("*") if one.is_file())
    assert stored == ["b.dcm", "c.dcm"]
    opened = found.post(f"/api/cases/{case}/open", {"contrast": "T1w"})
    assert (opened["state"], opened["options"]) == ("waiting", {"contrast": "T1w"})
    assert str(tmp_path) not in json.dumps(opened)
    assert found.bench.get(case).order["paths"] == [str(found.bench.folder(case) / "files" / "a")]


def test_more_than_is_agreed_is_refused_and_nothing_of_it_is_left(
    site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(handing, "MOST_BYTES", 1000)
    monkeypatch.setattr(handing, "MOST_FILES", 3)
    found = site()
    case = found.post("/api/cases")["id"]
    said = found.ask("PUT", f"/api/cases/{case}/file?name=a", content=bytes(2000))
    assert said.json()["kind"] == "BudgetError"
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]
    case = found.post("/api/cases")["id"]
    for count in range(4):
        said = found.ask("PUT", f"/api/cases/{case}/file?name=f{count}", content=b"")
    assert "More than 3 files" in said.json()["error"]
    assert uploads.MOST_BYTES < 2**40


def test_a_case_without_files_is_not_opened(site: Callable[..., Site]) -> None:
    found = site()
    case = found.post("/api/cases")["id"]
    said = found.ask("POST", f"/api/cases/{case}/open", json={})
    assert (said.status_code, "No file has arrived" in said.json()["error"]) == (422, True)


def test_a_layer_is_a_volume_and_a_voxel_a_sentence(site: Callable[..., Site]) -> None:
    found = site()
    made = found.result(found.case())
    scene = found.get(f"/api/scenes/{made.id}/view")
    roles = {one["role"]: one["id"] for one in scene["layers"]}
    assert {"image", "half-width", "evidence", "samples", "input"} <= set(roles)
    content = found.ask("GET", f"/api/scenes/{made.id}/view/layers/{roles['input']}").content
    drawn = nibabel.Nifti1Image.from_bytes(content)
    np.testing.assert_allclose(drawn.get_fdata(), small_image()["T1w"], atol=0.01)
    said = found.get(f"/api/scenes/{made.id}/view/voxel", params={"x": 10, "y": 12, "z": 12})
    assert said["voxel"] == [5, 6, 4]
    (sentence,) = said["sentences"]
    assert "90% interval" in sentence
    assert "50% measured" in sentence
    assert sentence.endswith("Input: 102.2 a.u.")


@pytest.mark.parametrize(
    "place", ["x=nan&y=0&z=0", "x=inf&y=0&z=0", "x=1e300&y=0&z=0", "x=1&y=2", "x=a&y=0&z=0"]
)
def test_places_that_are_none_are_refused(site: Callable[..., Site], place: str) -> None:
    found = site()
    made = found.case()
    assert found.ask("GET", f"/api/scenes/{made.id}/view-0-0-T1w/voxel?{place}").status_code == 422


@pytest.mark.parametrize("view", ["view/../../files", "..", "view.", "files"])
def test_views_and_layers_name_nothing_outside(site: Callable[..., Site], view: str) -> None:
    found = site()
    made = found.result(found.case())
    assert found.ask("GET", f"/api/scenes/{made.id}/{view}").status_code in (404, 422)
    assert found.ask("GET", f"/api/scenes/{made.id}/view/layers/..%2f..%2frecord").status_code in (
        404,
        422,
    )


def test_a_result_goes_home_as_nifti_and_report_whose_scripts_would_not_run(
    site: Callable[..., Site],
) -> None:
    found = site()
    made = found.result(found.case())
    packed = found.ask("GET", f"/api/works/{made.id}/nifti").content
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = archive.namelist()
    assert {"provenance.json", "report.html"} <= set(names)
    assert [name for name in names if name.endswith("desc-estimate_T1w.nii.gz")]
    assert not list(found.bench.folder(made.id).glob("*.part"))
    report = found.ask("GET", f"/api/works/{made.id}/report")
    assert report.headers["content-security-policy"] == REPORT_POLICY
    assert "script" not in REPORT_POLICY
    assert "sandbox" in REPORT_POLICY
    saved = found.ask("GET", f"/api/works/{made.id}/report?save=true")
    assert "attachment" in saved.headers["content-disposition"]


def test_the_policy_of_today_decides_what_goes_home(
    site: Callable[..., Site], tmp_path: Path
) -> None:
    made = (found := site()).result(found.case())
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    strict = site(policy=policy)
    assert made.id in strict.bench.works
    for path in ("nifti", "report"):
        said = strict.ask("GET", f"/api/works/{made.id}/{path}")
        assert (said.status_code, said.json()["kind"]) == (403, "PolicyError")
        assert "rule 'none may leave' on consistency" in said.json()["error"]


def test_a_job_is_ordered_with_its_settings_and_what_it_is_compared_with(
    site: Callable[..., Site],
) -> None:
    found = site()
    case = found.case()
    order = {"task": "enhance", "settings": {"noise": 2}, "case": case.id, "seed": 7}
    said = found.post("/api/jobs", order)
    assert (said["state"], said["task"], said["settings"], said["seed"]) == (
        "waiting", "enhance", {"noise": 2}, 7,
    )  # fmt: skip
    kept = found.bench.get(said["id"]).order
    assert kept["before"] == [], "images are compared as they are read"
    assert kept["patient"]["parts"][0]["name"] == "T1w"


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"task": "enhanse"}, "Did you mean 'enhance'"),
        ({"task": "enhance", "settings": {"nois": 1}}, "Did you mean 'noise'"),
        ({"task": "enhance", "settings": {"job": "polish"}}, "expected denoise"),
        ({"task": "enhance", "case": None}, "Open a file first"),
        ({"task": "enhance", "case": "0" * 12}, "Reload the page"),
        ({"task": "enhance", "case": "../../etc"}, "case"),
        ({"task": "enhance", "patient": 3}, "no such patient"),
        ({"settings": {}}, "task: Field required"),
    ],
)
def test_a_job_that_cannot_be_is_refused_in_a_sentence(
    site: Callable[..., Site], order: dict[str, object], said: str
) -> None:
    found = site()
    asked = found.ask("POST", "/api/jobs", json={"case": found.case().id} | order)
    assert asked.status_code == 422
    assert said in asked.json()["error"]


def test_audit_evaluation_and_dicom_are_ordered_for_what_is_open_and_for_no_path(
    site: Callable[..., Site],
) -> None:
    found = site()
    case = found.case()
    made = found.result(case)
    audit = found.post("/api/audits", {"subject": made.id, "settings": {"against": case.id}})
    order = found.bench.get(audit["id"]).order
    assert order["subject"] == made.found["folder"]
    assert order["settings"]["against"].endswith("sub-1_T1w.nii.gz")
    judged = found.post("/api/evaluations", {"subject": made.id, "reference": case.id})
    order = found.bench.get(judged["id"]).order
    assert Path(order["candidate"]).name.endswith("desc-estimate_T1w.nii.gz")
    assert found.post(f"/api/dicom/{made.id}")["state"] == "waiting"
    for body in ({"subject": made.id, "settings": {"against": "/etc/passwd"}}, {"subject": "../x"}):
        assert found.ask("POST", "/api/audits", json=body).status_code == 422
    said = found.ask("POST", "/api/evaluations", json={"subject": made.id})
    assert "needs the true image" in said.json()["error"]


def test_no_path_of_this_machine_and_no_markup_is_told_to_the_page(
    site: Callable[..., Site], tmp_path: Path
) -> None:
    found = site()
    case = found.case()
    shown = json.dumps([case.shown(), found.result(case).shown()])
    assert str(tmp_path) not in shown
    assert case.shown()["title"] == SCRIPT, "text is told as it is; the page shows text as text"
    folder = Path(handing.__file__).parent / "static"
    for file in folder.glob("*.js"):
        if not file.name.startswith("niivue"):
            words = file.read_text(encoding="utf-8")
            for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
                assert way not in words, file.name


def test_a_case_is_closed_with_its_jobs(site: Callable[..., Site]) -> None:
    found = site()
    case = found.case()
    made = found.result(case)
    assert found.ask("DELETE", f"/api/works/{case.id}").status_code == 200
    assert not found.bench.works
    assert not found.bench.folder(made.id).exists()


def test_the_catalog_is_searched(site: Callable[..., Site]) -> None:
    found = site()
    every = found.get("/api/datasets")["datasets"]
    some = found.get("/api/datasets", params={"words": "knee k-space"})["datasets"]
    assert len(every) > len(some) > 0
    assert "fastMRI" in some[0]["name"]


def test_the_ledger_is_shown_and_a_broken_chain_is_named(
    site: Callable[..., Site], tmp_path: Path
) -> None:
    assert "No ledger is kept" in site().get("/api/ledger")["said"]
    path = tmp_path / "ledger.db"
    Ledger(path).append("release", {"by": "somebody", "reason": "review of 3 March"})
    said = site(ledger=path).get("/api/ledger")
    assert said["said"] == "1 lines; the chain is whole"
    assert said["lines"][0]["says"]["reason"] == "review of 3 March"


@pytest.mark.parametrize(
    "path",
    [
        "/api/works/zzz",
        "/api/nothing",
        "/api/scenes/000000000000/view",
        "/api/works/000000000000/report",
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(site: Callable[..., Site], path: str) -> None:
    said = site().ask("GET", path)
    assert said.status_code in (404, 405, 422)
    assert said.json()["error"].endswith(".")
