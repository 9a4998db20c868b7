"""Starting and stopping the web app: the command, as a process."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from veridical.apps.cli import main
from veridical.apps.web.serve import HOST, listening
from veridical.errors import InputError


def test_it_listens_on_this_machine_alone() -> None:
    listener = listening(0)
    try:
        assert listener.getsockname()[0] == HOST == "127.0.0.1"
        with socket.create_connection(listener.getsockname(), 5):
            pass  # who has the address may connect before the app is ready
    finally:
        listener.close()


def test_a_port_that_is_taken_is_refused_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(InputError, match="Leave --port out"):
            listening(taken.getsockname()[1])
    with pytest.raises(InputError):
        listening(70_000)


def test_a_path_that_is_not_there_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["web", str(tmp_path / "nothing.nii"), "--no-browser"]) == 2
    assert "does not exist" in capsys.readouterr().err
    file = tmp_path / "file"
    file.write_text("")
    assert main(["web", "--folder", str(file), "--no-browser"]) == 2


def test_the_command_serves_what_was_named_and_ends_with_all_its_processes(tmp_path: Path) -> None:
    """A folder of patients is open; after Ctrl-C nothing of it runs."""
    given = tmp_path / "nothing-known"
    given.mkdir()
    (given / "notes.txt").write_text("no image")
    words = [sys.executable, "-m", "veridical.apps.cli", "web", str(given), "--no-browser"]
    server = subprocess.Popen(
        [*words, "--folder", str(tmp_path / "bench")],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_minds_ctrl_c,
    )
    assert server.stdout
    found = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", server.stdout.readline())
    assert found
    ask = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
    try:
        for _ in range(100):
            try:
                ask.request("GET", "/api/about", headers={"Authorization": f"Bearer {found[2]}"})
                break
            except ConnectionError:
                ask.close()
                time.sleep(0.1)
        assert json.loads(ask.getresponse().read())["tasks"]
        record = next((tmp_path / "bench").glob("*/record.json"))
        ends = time.monotonic() + 120
        while json.loads(record.read_text())["state"] != "refused" and time.monotonic() < ends:
            time.sleep(0.2)
        said = json.loads(record.read_text())
        assert said["state"] == "refused"
        assert "layout" in said["error"]
    finally:
        ask.close()
        server.send_signal(signal.SIGINT)
        server.stdout.close()
    assert server.wait(60) == 130
    left = [one for one in Path("/proc").glob("[0-9]*/cmdline") if _runs(one, str(tmp_path))]
    assert not left


def _minds_ctrl_c() -> None:
    """Undo what a shell does to processes in its background, which ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _runs(cmdline: Path, word: str) -> bool:
    try:
        return word.encode() in cmdline.read_bytes()
    except OSError:
        return False
