"""The web app: how long the demo result takes from the command to the screen, and its pictures.

    python benchmarks/web.py [--starts 3] [--pictures docs/img]

Every start has empty caches of Python and numba, as after a fresh install, and a folder of its own.
The time is that from starting the command until the browser shows the result of the demo case.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import veridical

ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
SIZE = {"width": 1440, "height": 900}


@contextmanager
def served(folder: Path, *words: str) -> Iterator[str]:
    """Run the command in a folder and give its address."""
    fresh = {"NUMBA_CACHE_DIR": str(folder / "numba"), "PYTHONPYCACHEPREFIX": str(folder / "pyc")}
    command = [sys.executable, "-m", "veridical.apps.cli", "web", "--no-browser", *words]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=folder, env=os.environ | fresh
    )
    assert server.stdout
    try:
        yield re.search(r"http://\S+", server.stdout.readline())[0]  # type: ignore[index]
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
        server.stdout.close()


def opened(play: Any) -> Any:
    """Return a page of a new browser."""
    browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
    page = browser.new_page(viewport=SIZE)
    page.set_default_timeout(600_000)
    return page


def seen(page: Any) -> None:
    """Wait until a result is on the screen."""
    page.wait_for_selector(".headline")
    page.wait_for_selector("#veil", state="hidden")
    page.wait_for_selector("#probe:not(:empty)")


def start(play: Any) -> float:
    """Return the seconds from the command to the demo result."""
    with tempfile.TemporaryDirectory() as name:
        page = opened(play)
        begun = time.perf_counter()
        with served(Path(name)) as address:
            page.goto(address)
            seen(page)
            took = time.perf_counter() - begun
            page.context.browser.close()
    return took


def pictures(play: Any, out: Path) -> None:
    """Walk through the demo and a made head, and keep what is on the screen."""
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as address:
        page = opened(play)
        page.goto(address)
        seen(page)
        page.get_by_role("button", name="Before / after").click()
        page.mouse.click(620, 250)
        shot(page, out / "web-compare.jpg")
        page.get_by_role("button", name="Before / after").click()
        page.get_by_role("button", name="Interval").click()
        shot(page, out / "web-interval.jpg")
        page.get_by_role("button", name="Make a digital patient").click()
        page.wait_for_selector(".cards")
        for field, value in {"contrasts": "T1w,T2w", "spacing": "2", "age": "60"}.items():
            page.fill(f"#field-{field}", value)
        page.get_by_role("button", name="Synthesize", exact=True).click()
        seen(page)
        page.get_by_role("tab", name="Next").click()
        page.get_by_role("button", name="Use as input").click()
        page.wait_for_selector(".cards")
        page.wait_for_selector("#veil", state="hidden")
        page.get_by_role("radio", name=re.compile("^Complete")).check()
        page.wait_for_selector("#field-to")
        shot(page, out / "web-job.jpg")
        page.get_by_text("More settings").click()
        page.fill("#field-draws", "4")
        page.fill("#field-steps", "1")
        page.get_by_role("button", name="Complete", exact=True).click()
        seen(page)
        page.get_by_role("button", name="Evidence").click()
        shot(page, out / "web-volume.jpg")
        page.get_by_role("button", name="Data sets").click()
        page.fill("#words", "brain MR tumour")
        page.wait_for_selector(".entry")
        shot(page, out / "web-datasets.jpg")
        page.context.browser.close()


def kinds(folder: Path) -> dict[str, tuple[str, str]]:
    """Write something of every kind that can be dropped: input of the page and path of each."""
    import numpy as np

    from veridical.apps.node.phantom_series import phantom_series
    from veridical.apps.web import demo

    phantom_series(folder / "series", shape=(96, 112, 12))
    demo.scan(folder / "raw")
    nii = folder / "sub-1_T1w.nii.gz"
    noise = np.random.default_rng(0).uniform(1, 2, size=(1, 64, 64, 8)).astype(np.float32)
    grid = veridical.Geometry((64, 64, 8), np.eye(4))
    veridical.write(veridical.Image(noise, grid, "a.u.", ("T1w",)), nii)
    return {
        "NIfTI": ("#files", str(nii)),
        "DICOM, folder": ("#folder", str(folder / "series")),
        "DICOM, zip": ("#files", shutil.make_archive(f"{folder}/zip", "zip", folder / "series")),
        "raw data": ("#files", str(folder / "raw" / "scan.npy")),
    }


def walk(play: Any, out: Path | None) -> None:
    """Drop each kind, run a job on it, and take home all that it gives."""
    with tempfile.TemporaryDirectory() as name, served(Path(name), "--no-demo") as address:
        page = opened(play)
        page.goto(address)
        for kind, (place, path) in kinds(Path(name) / "given").items():
            begun = time.perf_counter()
            page.set_input_files(place, path)
            if kind == "raw data":
                for key, value in {"axes": "coil,y,x", "contrast": "FLAIR"}.items():
                    page.fill(f"#read-{key}", value)
                page.get_by_role("button", name="Read again").click()
            page.wait_for_selector(".cards")
            job = "Reconstruct" if kind == "raw data" else "Enhance"
            page.get_by_role("radio", name=re.compile(f"^{job}")).check()
            page.get_by_text("More settings").click()
            if job == "Enhance":
                page.select_option("#field-job", "denoise")
            page.fill("#field-model", "classical" if job == "Enhance" else "cg-sense")
            page.get_by_role("button", name=job, exact=True).click()
            seen(page)
            page.get_by_role("tab", name="Next").click()
            sizes = {what: taken(page, what) for what in ("NIfTI", "Report")}
            if kind.startswith("DICOM"):
                page.get_by_role("button", name="DICOM", exact=True).click()
                sizes["DICOM"] = taken(page, "Download DICOM")
                if out:
                    shot(page, out / "web-dicom.jpg")
            took = time.perf_counter() - begun
            said = ", ".join(f"{what} {size / 1e3:.0f} kB" for what, size in sizes.items())
            print(f"{kind}: {job}, taken home: {said}; {took:.1f} s", flush=True)
        page.context.browser.close()


def taken(page: Any, name: str) -> int:
    """Download by a link, and return how many bytes came."""
    with page.expect_download() as waiting:
        page.get_by_role("link", name=name, exact=True).click()
    return int(Path(waiting.value.path()).stat().st_size)


def shot(page: Any, file: Path) -> None:
    """Keep what is on the screen."""
    page.wait_for_timeout(3000)
    page.screenshot(path=file, type="jpeg", quality=82)
    print(file)


def main() -> None:
    """Measure, and draw where asked."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--walk", action="store_true", help="every kind of file, there and back")
    given = parser.parse_args()
    with sync_playwright() as play:
        times = sorted(start(play) for _ in range(given.starts))
        if times:
            print(f"demo result after {', '.join(f'{one:.1f}' for one in times)} s")
        if given.walk:
            walk(play, given.pictures)
        elif given.pictures:
            pictures(play, given.pictures)


if __name__ == "__main__":
    main()
