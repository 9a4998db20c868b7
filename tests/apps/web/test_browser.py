"""The web app in a real browser, as a person uses it: from a dropped file to a result, its words,
its pictures and its files. The server is the command, in a process of its own.
"""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib import resources
from typing import Any

import numpy as np
import pydicom
import pytest

from veridical.apps.node.phantom_series import phantom_series
from veridical.apps.web import demo
from veridical.io.files import write
from veridical.types import Geometry, Image

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
WRONG: list[str] = []
"""Errors that the page logged, and addresses elsewhere that it asked for."""
PATIENCE = 120_000
"""Milliseconds that a busy machine may take for a step."""


def head() -> Image:
    """A small head with noise, brighter on the patient's right."""
    grid = Geometry(
        (24, 28, 20), np.array([[-4.0, 0, 0, 46], [0, 4, 0, -54], [0, 0, 4, -38], [0, 0, 0, 1]])
    )
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.shape], indexing="ij")
    data = (x**2 + y**2 + z**2 < 0.8) * (200.0 - 100 * (x > 0))
    data = data + np.random.default_rng(0).normal(0, 4, data.shape)
    return Image(data[None].astype(np.float32), grid, "a.u.", ("T1w",))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address that the command prints, without the demo case."""
    folder = tmp_path_factory.mktemp("web")
    words = [sys.executable, "-m", "veridical.apps.cli", "web", "--no-browser", "--no-demo"]
    words += ["--folder", str(folder / "bench"), "--ledger", str(folder / "ledger.db")]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=folder)
    assert server.stdout
    try:
        yield re.search(r"http://\S+", server.stdout.readline())[0]  # type: ignore[index]
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) in (0, 130)
        server.stdout.close()


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """A page that may load from nowhere else, and that fails the test when it logs an error."""
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE)
        WRONG.clear()
        page.on("pageerror", lambda error: WRONG.append(str(error)))
        page.on("response", lambda said: said.status >= 400 and WRONG.append(said.url))
        page.on(
            "console",
            lambda said: (
                said.type == "error" and WRONG.append(f"{said.text} {said.location['url']}")
            ),
        )
        home = address.partition("/?")[0]
        page.on("request", lambda asked: WRONG.append(asked.url)
                if not asked.url.startswith((home, "data:", "blob:")) else None)  # fmt: skip
        page.goto(address)
        page.wait_for_url(f"{home}/")
        page.wait_for_load_state()
        yield page
        browser.close()


def lit(page: Any, left: float, right: float) -> float:
    """Mean brightness of the viewer between two shares of its width, as it is on the screen."""
    from PIL import Image as Drawing

    shot = page.locator("#stage").screenshot()
    grey = np.asarray(Drawing.open(io.BytesIO(shot)).convert("L"), float)
    width = grey.shape[1]
    return float(grey[:, int(left * width) : int(right * width)].mean())


def test_a_dropped_file_is_said_and_shown_with_the_patients_left_on_the_right(
    page: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = write(head(), tmp_path_factory.mktemp("given") / "sub-1_T1w.nii.gz")
    assert "token" not in page.url
    page.set_input_files("#files", file)
    page.wait_for_selector(".parts")
    assert "24 x 28 x 20 voxels of 4 x 4 x 4 mm" in page.inner_text(".parts")
    page.wait_for_selector("#veil", state="hidden")
    page.wait_for_selector(".mark")
    page.get_by_role("button", name="Axial", exact=True).click()
    page.wait_for_timeout(300)
    assert page.locator(".mark.left").inner_text() == "R"
    assert lit(page, 0, 0.5) > 1.2 * lit(page, 0.5, 1), "the bright side is the patient's right"


def test_a_job_of_the_registry_runs_from_its_form_and_its_result_opens(page: Any) -> None:
    page.get_by_role("radio", name=re.compile("^Enhance")).check()
    page.select_option("#field-job", "deblur")
    page.get_by_text("More settings").click()
    page.select_option("#field-job", "denoise")
    page.fill("#field-model", "classical")
    page.get_by_role("button", name="Enhance", exact=True).click()
    page.wait_for_selector(".headline")
    page.wait_for_selector("#veil", state="hidden")
    assert "Enhance" in page.inner_text("#where")
    for tab, said in {"Findings": "consistency", "Provenance": "classical"}.items():
        page.get_by_role("tab", name=tab).click()
        assert said in page.inner_text("[role=tabpanel]")


def test_the_voxel_under_the_cross_is_said_and_the_keyboard_moves_it(page: Any) -> None:
    page.focus("#stage")
    page.keyboard.press("0")
    page.wait_for_selector("#probe:has-text('T1w')")
    first = page.inner_text("#probe")
    assert re.search(r"T1w [-\d.]+ a\.u\.", first)
    assert "Input:" in first
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    ends = time.monotonic() + 20
    while page.inner_text("#probe") == first and time.monotonic() < ends:
        page.wait_for_timeout(100)
    assert page.inner_text("#probe") != first
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.get_by_role("button", name="Close", exact=True).click()


def test_before_and_after_stand_side_by_side_in_each_plane(page: Any) -> None:
    page.focus("#stage")
    page.keyboard.press("1")
    page.keyboard.press("b")
    page.wait_for_selector(".split >> nth=2")
    assert page.locator(".side.left").inner_text() == "input"
    before = page.locator("#before").evaluate("node => node.style.clipPath")
    page.locator("#split").fill("80")
    after = page.locator("#before").evaluate("node => node.style.clipPath")
    assert before != after
    page.keyboard.press("b")


def test_data_sets_and_the_ledger_with_this_very_job_are_there(page: Any) -> None:
    page.get_by_role("button", name="Data sets").click()
    page.fill("#words", "knee")
    page.wait_for_selector(".entry >> text=fastMRI")
    page.get_by_role("button", name="Ledger").click()
    page.wait_for_selector("table")
    assert "enhance with classical" in page.inner_text("table")
    assert "the chain is whole" in page.inner_text(".reading")
    page.get_by_role("button", name="Back to the images").click()


def test_the_result_goes_home_and_its_report_opens(page: Any) -> None:
    page.get_by_role("tab", name="Next").click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="NIfTI").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert "provenance.json" in archive.namelist()
    page.get_by_role("button", name="Open the report").click()
    frame = page.frame_locator("iframe")
    frame.locator("h1").wait_for()
    assert "Enhance" in frame.locator("h1").inner_text()
    page.get_by_role("button", name="Back to the images").click()


def test_what_cannot_be_read_says_why_and_what_would_help(
    page: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("wrong")
    demo.scan(folder)
    page.set_input_files("#files", folder / "scan.npy")
    page.wait_for_selector(".headline.fail")
    assert "axes" in page.inner_text(".headline.fail")
    page.fill("#read-axes", "coil,y,x")
    page.fill("#read-contrast", "T1w")
    page.get_by_role("button", name="Read again").click()
    page.wait_for_selector(".parts")
    assert "raw data" in page.inner_text(".parts")


def test_a_dropped_series_goes_home_as_dicom_with_its_report(
    page: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("series")
    sources = phantom_series(folder / "mr", shape=(24, 28, 6))
    page.set_input_files("#files", shutil.make_archive(str(folder / "ward"), "zip", folder / "mr"))
    page.wait_for_selector("#where:has-text('ward.zip')")
    page.get_by_role("radio", name=re.compile("^Enhance")).check()
    page.get_by_text("More settings").click()
    page.select_option("#field-job", "denoise")
    page.fill("#field-model", "classical")
    page.get_by_role("button", name="Enhance", exact=True).click()
    page.get_by_role("tab", name="Next").click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Report", exact=True).click()
    assert b"not for diagnosis" in waiting.value.path().read_bytes()
    page.get_by_role("button", name="DICOM", exact=True).click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download DICOM").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        files = [one for one in archive.namelist() if one.endswith(".dcm")]
        made = [pydicom.dcmread(io.BytesIO(archive.read(one))) for one in files]
    images = [one for one in made if one.Modality == "MR"]
    assert len(images) == len(sources)
    study = pydicom.dcmread(sources[0]).StudyInstanceUID
    assert {one.StudyInstanceUID for one in made} == {study}
    assert all(one.ImageType[0] == "DERIVED" for one in images)


def test_a_patient_called_script_is_shown_as_text(
    page: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The name of a DICOM series, and that of a folder, as a page would be tricked by it."""
    name = "<img src=x onerror=alert(1)>"
    page.evaluate("() => { window.alert = () => { document.title = 'tricked' } }")
    page.evaluate(OPENING, name)
    page.get_by_role("button", name=re.compile(re.escape(name))).first.click()
    page.wait_for_selector(".headline.fail")
    assert name in page.inner_text("#where")
    assert page.locator("img").count() == 0
    assert page.title() == "Veridical"


OPENING = """async name => {
  const ask = async (method, path, body) => (await fetch(path,
    {method, body, headers: {'content-type': 'application/json'}})).json();
  const {id} = await ask('POST', '/api/cases', JSON.stringify({name}));
  await ask('PUT', `/api/cases/${id}/file?name=x.nii`, name);
  await ask('POST', `/api/cases/${id}/open`, '{}');
}"""


def test_nothing_went_wrong_on_the_page_and_nothing_was_asked_of_another_host(page: Any) -> None:
    assert not WRONG


def test_axe_finds_no_serious_fault(page: Any) -> None:
    """On a result, on a case with its form, and on the data sets."""
    assert axe_faults(page) == []
    page.get_by_role("button", name="sub-1_T1w.nii.gz").first.click()
    page.wait_for_selector(".cards")
    assert axe_faults(page) == []
    page.get_by_role("button", name="Data sets").click()
    page.wait_for_selector(".entry")
    assert axe_faults(page) == []


def axe_faults(page: Any) -> list[str]:
    """What axe finds that is serious or critical; it runs in a world of its own, so that the
    content policy of the page stays as it is."""
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    session = page.context.new_cdp_session(page)
    frame = session.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
    world = session.send("Page.createIsolatedWorld", {"frameId": frame, "worldName": "axe"})
    asked = {"contextId": world["executionContextId"], "returnByValue": True, "awaitPromise": True}
    session.send("Runtime.evaluate", {**asked, "expression": f"{axe}; 0"})
    words = "axe.run(document).then(r => r.violations.map(v => [v.impact, v.id, v.nodes[0].html]))"
    found = session.send("Runtime.evaluate", {**asked, "expression": words})
    return [" ".join(one)[:400] for one in found["result"]["value"] if one[0] in SERIOUS]


SERIOUS = ("serious", "critical")
