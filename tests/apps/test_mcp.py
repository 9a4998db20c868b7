"""The MCP server through real clients: in memory, and as a process over standard streams."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import nibabel
import numpy as np
import pydicom
import pytest
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters

from dicom_sources import source_series
from veridical.apps.cli import main
from veridical.apps.fence import Fence
from veridical.apps.mcp_server import server
from veridical.io.files import read_image
from veridical.types import Evidence, Finding, Geometry, Image, Interval, Result, Step

PNG = b"\x89PNG\r\n\x1a\n"
BLOCKING = """
name = "ward"
[[rule]]
name = "always"
check = "*"
verdict = ["pass", "warn", "fail", "not_run"]
then = "block"
"""

SCAN = {
    "task": "reconstruct",
    "input": "data/scan.npy",
    "output": "data/out",
    "settings": {"model": "zero-filled"},
    "reading": {"axes": "coil,y,x", "contrast": "T1w"},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A named folder `data` with an image and a stored result."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    voxels = rng.uniform(1, 2, (24, 24, 4)).astype(np.float32)
    nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(folder / "sub-1_T1w.nii.gz")
    spectrum = np.fft.fftshift(np.fft.fft2(voxels[..., 0]))[None] * np.ones((4, 1, 1))
    np.save(folder / "scan.npy", spectrum.astype(np.complex64))
    image = Image(voxels[None], Geometry((24, 24, 4), np.eye(4)), "a.u.", ("T1w",))
    Result(
        image,
        "posterior mean",
        interval=Interval(image.data - 1, image.data + 1, 0.9, 12, "method", "promise"),
        evidence=Evidence(np.ones_like(image.data)),
        findings=(Finding("consistency", "warn", "Off by 2."),),
        steps=(Step("enhance", {}, {"T1w": "a"}, "m", "f" * 64, {}, 3),),
    ).save(folder / "made", "sub-1")
    return folder


def asked(data: Path, use: Callable[[Client], Awaitable[Any]], **more: Any) -> Any:
    """What a client in memory gets of the server of a folder."""

    async def run() -> Any:
        async with Client(server(Fence([data])), **more) as client:
            return await use(client)

    return anyio.run(run)


def tool(data: Path, called: str, /, **given: Any) -> Any:
    return asked(data, lambda client: client.call_tool(called, given))


def told(answer: Any) -> Any:
    assert not answer.is_error, answer.content[0].text
    return answer.structured_content


def refusal(answer: Any) -> str:
    assert answer.is_error
    text: str = answer.content[0].text
    return text


def test_the_tools_are_listed_with_what_they_do(data: Path) -> None:
    listed = asked(data, lambda client: client.list_tools()).tools
    assert {one.name for one in listed} == {
        *("list_installed", "describe", "files", "findings", "picture"),
        *("run", "audit", "evaluate", "export"),
    }
    assert all(len(one.description) > 40 for one in listed)
    reads = {one.name for one in listed if one.annotations.read_only_hint}
    assert reads == {"list_installed", "describe", "files", "findings", "picture"}
    assert not any("override" in json.dumps(one.input_schema) for one in listed)


def test_tasks_are_listed_and_described_with_their_settings(data: Path) -> None:
    assert "enhance" in told(tool(data, "list_installed"))
    found = told(tool(data, "describe", name="enhance"))
    assert found["settings"]["properties"]["draws"]["type"] == "integer"
    assert "contrast" in found["reading"]
    assert "against" in told(tool(data, "describe", name="audit"))["settings"]
    assert set(told(tool(data, "describe", name="synthesize"))["reading"]) == {"n", "mask"}


def test_files_and_results_of_named_folders_are_listed(data: Path) -> None:
    assert told(tool(data, "files"))["folders"] == ["data"]
    entries = told(tool(data, "files", folder="data"))["entries"]
    assert {one["name"]: one["kind"] for one in entries} == {
        "made": "result",
        "scan.npy": "file",
        "sub-1_T1w.nii.gz": "file",
    }


def test_findings_are_read_with_interval_and_mark(data: Path) -> None:
    found = told(tool(data, "findings", result="data/made"))
    assert found["worst"] == "warn"
    assert found["findings"][0]["reason"] == "Off by 2."
    assert found["interval"]["patients"] == 12
    assert found["mark"] == "Research only, not for diagnosis."


def test_a_picture_is_a_png_as_a_tool_and_as_a_resource(data: Path) -> None:
    shown = tool(data, "picture", result="data/made").content[0]
    assert shown.mime_type == "image/png"
    assert base64.b64decode(shown.data).startswith(PNG)
    read = asked(data, lambda c: c.read_resource("veridical://picture/data/made")).contents[0]
    assert base64.b64decode(read.blob).startswith(PNG)


def test_findings_and_provenance_are_resources(data: Path) -> None:
    templates = asked(data, lambda c: c.list_resource_templates()).resource_templates
    assert {one.name for one in templates} == {"findings", "provenance", "picture"}
    for name, wanted in (("findings", "worst"), ("provenance", "steps")):
        address = f"veridical://{name}/data/made"
        text = asked(data, lambda c, a=address: c.read_resource(a)).contents[0].text
        assert wanted in json.loads(text)


def test_a_job_runs_reports_progress_and_writes_a_result(data: Path) -> None:
    steps: list[tuple[float, float | None, str | None]] = []

    async def heard(done: float, total: float | None, message: str | None) -> None:
        steps.append((done, total, message))

    found = told(asked(data, lambda c: c.call_tool("run", SCAN, progress_callback=heard)))
    assert found["estimate"] == "data/out/sub-scan_desc-estimate_T1w.nii.gz"
    assert found["mark"] == "Research only, not for diagnosis."
    assert (data / "out" / "provenance.json").is_file()
    assert steps
    assert all(done <= (total or done) for done, total, _ in steps)
    assert told(tool(data, "findings", result="data/out"))["steps"][0]["task"] == "reconstruct"


def test_a_result_is_written_as_files_for_a_hospital_and_not_where_the_policy_blocks(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_series(data / "series", "MR")
    image = read_image(source)
    step = Step("enhance", {}, {"T1w": "a"}, "m", "f" * 64, {}, 3)
    warned = (Finding("consistency", "warn", "Off by 2."),)
    Result(image, "posterior mean", findings=warned, steps=(step,)).save(data / "mr", "sub-1")
    given = {"result": "data/mr", "source": "data/series", "output": "data/sent"}
    found = told(tool(data, "export", **given))
    assert found["written"][0].startswith("data/sent/")
    objects = [pydicom.dcmread(file) for file in (data / "sent").rglob("*.dcm")]
    assert len(objects) == len(found["written"])
    assert {one.StudyInstanceUID for one in objects} == {
        pydicom.dcmread(next(source.iterdir())).StudyInstanceUID
    }
    (bundle,) = told(tool(data, "export", **given | {"output": "data/told", "form": "fhir"}))[
        "written"
    ]
    assert json.loads((data / bundle.removeprefix("data/")).read_text())["type"] == "transaction"
    policy = tmp_path / "policy.toml"
    policy.write_text(BLOCKING, encoding="utf-8")
    monkeypatch.setenv("VERIDICAL_POLICY", str(policy))
    blocked = tool(data, "export", **given | {"output": "data/blocked"})
    assert "The policy 'ward' blocks it" in refusal(blocked)
    assert not (data / "blocked").exists()


OUTSIDE = ["/etc", "..", "data/..", "data/../..", "data/link", "data/linked", "../data2"]


@pytest.fixture
def fenced(data: Path) -> Path:
    """The folder with links that lead outside of it."""
    (data.parent / "secret").mkdir()
    (data.parent / "secret" / "a.nii").write_bytes(b"secret")
    (data / "link").symlink_to(data.parent / "secret")
    (data / "linked").symlink_to(data.parent / "secret" / "a.nii")
    return data


@pytest.mark.parametrize("place", OUTSIDE)
def test_paths_that_lead_outside_are_refused_wherever_they_stand(fenced: Path, place: str) -> None:
    inside = "data/sub-1_T1w.nii.gz"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("files", {"folder": place}),
        ("findings", {"result": place}),
        ("picture", {"result": place}),
        ("run", {"task": "enhance", "input": place, "output": "data/out"}),
        ("run", {"task": "enhance", "input": inside, "output": f"{place}/out"}),
        (
            "run",
            {
                "task": "enhance",
                "input": inside,
                "output": "data/out",
                "reading": {"lesions": f"{place}/a.nii"},
            },
        ),
        (
            "run",
            {
                "task": "enhance",
                "input": inside,
                "output": "data/out",
                "settings": {"model": f"{place}/w.safetensors"},
            },
        ),
        ("audit", {"subject": place, "output": "data/out"}),
        ("export", {"result": "data/made", "source": place, "output": "data/out"}),
        ("export", {"result": "data/made", "source": inside, "output": f"{place}/out"}),
        ("evaluate", {"candidate": inside, "reference": place, "output": "data/out"}),
    ]

    async def every(client: Client) -> list[Any]:
        return [await client.call_tool(name, given) for name, given in calls]

    for answer in asked(fenced, every):
        said = refusal(answer)
        assert "leads outside" in said or "does not exist" in said, said
        assert "secret" not in said.replace(place, "")
    assert not (fenced / "out").exists()


def test_a_folder_with_a_link_to_outside_is_no_input(fenced: Path) -> None:
    given = {"task": "enhance", "input": "data", "output": "data/out"}
    assert "link that leads outside" in refusal(tool(fenced, "run", **given))


@pytest.mark.parametrize("place", ["/etc/passwd", "../secret", "data/link", "data%2F..%2F.."])
@pytest.mark.parametrize("name", ["findings", "provenance", "picture"])
def test_resources_stay_inside_too(fenced: Path, name: str, place: str) -> None:
    async def read(client: Client) -> str:
        try:
            await client.read_resource(f"veridical://{name}/{place}")
        except MCPError as error:
            return str(error)
        return ""

    said = asked(fenced, read)
    assert "leads outside" in said or "Unknown resource" in said or "does not exist" in said


def test_an_audit_does_not_follow_a_provenance_to_the_outside(fenced: Path) -> None:
    record = fenced / "made" / "provenance.json"
    said = json.loads(record.read_text())
    said["steps"][0]["source"] = {"path": str(fenced.parent / "secret" / "a.nii")}
    record.write_text(json.dumps(said))
    answer = tool(fenced, "audit", subject="data/made", output="data/report")
    assert "leads outside" in refusal(answer)


def test_an_audit_writes_its_report_and_returns_findings(data: Path) -> None:
    given = {
        "subject": "data/made",
        "output": "data/report",
        "settings": {"checks": ["consistency"]},
    }
    found = told(tool(data, "audit", **given))
    assert found["report"] == "data/report/report.json"
    assert isinstance(found["findings"], list)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        (
            "describe",
            {"name": "enhanse"},
            "SettingError: No task is called 'enhanse'. Did you",
        ),
        ("list_installed", {"kind": "tasks"}, "SettingError: Nothing of kind"),
        ("findings", {"result": "data"}, "ProvenanceError: "),
        (
            "run",
            {"task": "enhance", "input": "data/nothing.nii", "output": "data/o"},
            "does not exist",
        ),
        (
            "run",
            {
                "task": "enhance",
                "input": "data/sub-1_T1w.nii.gz",
                "output": "data/o",
                "settings": {"drawz": 1},
            },
            "SettingError: enhance has no setting 'drawz'. Did you mean 'draws'",
        ),
        (
            "run",
            {
                "task": "enhance",
                "input": "data/sub-1_T1w.nii.gz",
                "output": "data/o",
                "settings": {"draws": {"a": 1}},
            },
            "expected text or numbers",
        ),
        (
            "evaluate",
            {
                "candidate": "data/made",
                "reference": "data/made",
                "output": "data/o",
                "settings": {"tasks": ["os:system"]},
            },
            "SettingError: evaluate has no setting 'tasks'",
        ),
        (
            "run",
            {
                "task": "enhance",
                "input": "data/sub-1_T1w.nii.gz",
                "output": "data/o",
                "settings": {"override": "I may"},
            },
            "SettingError: enhance has no setting 'override'",
        ),
    ],
)
def test_what_is_refused_is_an_error_in_our_own_words(
    data: Path, name: str, given: dict[str, Any], said: str
) -> None:
    assert said in refusal(tool(data, name, **given))


def test_a_refusal_of_the_command_is_the_error(data: Path) -> None:
    given = {"task": "enhance", "input": "data/sub-1_T1w.nii.gz", "output": "data/made"}
    said = refusal(tool(data, "run", **given))
    assert "InputError: data/made already holds a result" in said


def test_over_standard_streams_the_same_is_served_and_what_the_policy_blocks_is_not_written(
    data: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(BLOCKING, encoding="utf-8")
    words = ["-m", "veridical.apps.cli", "mcp", "--folder", str(data), "--policy", str(policy)]
    process = StdioServerParameters(command=sys.executable, args=words)

    async def run() -> Any:
        async with Client(process) as client:
            tools = await client.list_tools()
            found = await client.call_tool("findings", {"result": "data/made"})
            text = await client.read_resource("veridical://provenance/data/made")
            return tools, found, text, await client.call_tool("run", SCAN)

    tools, found, text, blocked = anyio.run(run)
    assert len(tools.tools) == 9
    assert told(found)["worst"] == "warn"
    assert json.loads(text.contents[0].text)["format"] == "veridical-provenance-1"
    assert "PolicyError: The policy 'ward' blocks it" in refusal(blocked)
    assert not (data / "out").exists()


@pytest.mark.parametrize("folders", [[], ["nowhere"], ["a", "b/a"]])
def test_folders_that_cannot_be_named_are_refused(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b/a"):
        (tmp_path / name).mkdir(parents=True)
    words = [word for name in folders for word in ("--folder", str(tmp_path / name))]
    assert main(["mcp", *words]) == 2
    assert "folder" in capsys.readouterr().err
