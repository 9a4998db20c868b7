"""Real peers for tests, started in scratch folders on free ports of the loopback address: a PACS
(Orthanc), a database (PostgreSQL), and a node of ours.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PLUGIN = "libOrthancDicomWeb.so"
ORTHANC = shutil.which("Orthanc", path="/usr/sbin:/usr/bin")
POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)

needs_orthanc = pytest.mark.skipif(ORTHANC is None, reason="Orthanc is not installed")
needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="no dcmtk")
needs_postgres = pytest.mark.skipif(POSTGRES is None, reason="PostgreSQL is not installed")


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until(true: Callable[[], Any], seconds: float = 30.0, pause: float = 0.1) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(pause)
    raise AssertionError(f"not within {seconds:g} s")


def listens(port: int) -> bool:
    """Whether somebody answers on a port."""
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Orthanc:
    """A PACS in a folder."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    dicom: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)
    process: Any = None

    def start(self) -> None:
        """Start it, or start it again with what it holds."""
        (self.folder / "db").mkdir(parents=True, exist_ok=True)
        plugins = [str(found) for found in Path("/usr/share/orthanc/plugins").glob(PLUGIN)]
        said = {
            "Name": "PACS",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "Plugins": plugins[:1],
            "HttpPort": self.http,
            "RemoteAccessAllowed": False,
            "DicomPort": self.dicom,
            "DicomAet": "PACS",
            "DicomAlwaysAllowStore": True,
            "DicomCheckCalledAet": False,
            "OverwriteInstances": False,
            "StableAge": 3,
            "DicomWeb": {
                "Enable": True,
                "Root": "/dicom-web/",
                "Host": f"127.0.0.1:{self.http}",
            },
            **self.settings,
        }
        (self.folder / "orthanc.json").write_text(json.dumps(said))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(ORTHANC), str(self.folder / "orthanc.json")], stdout=log, stderr=log
            )
        until(lambda: listens(self.http) and listens(self.dicom), 60)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()

    def rest(self, path: str) -> Any:
        """What its own interface answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/{path}", timeout=30) as answer:
            return json.loads(answer.read())

    @property
    def web(self) -> str:
        """Address of DICOMweb."""
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def peer(self, web: bool = False) -> str:
        """Lines of a node.toml."""
        if web:
            return f'kind = "dicomweb"\nurl = "{self.web}"\ntimeout = 5\n'
        return f'ae_title = "PACS"\nhost = "127.0.0.1"\nport = {self.dicom}\ntimeout = 5\n'


@contextmanager
def orthanc(folder: Path, **settings: Any) -> Iterator[Orthanc]:
    """A running PACS."""
    one = Orthanc(folder, settings)
    one.start()
    try:
        yield one
    finally:
        one.kill()


@dataclass
class Node:
    """A node of ours in a process group of its own."""

    file: Path
    port: int
    process: Any = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        log = (self.file.parent / "node.log").open("ab")
        words = [sys.executable, "-m", "veridical.apps.cli", "node", "serve", str(self.file)]
        self.process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        log.close()
        until(lambda: listens(self.port) or self.process.poll() is not None, 60, 0.05)
        assert self.process.poll() is None, (self.file.parent / "node.log").read_text()

    def kill(self) -> None:
        """Kill it with all its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.terminate()
        return int(self.process.wait(30))

    def store(self) -> Any:
        """Its queue."""
        from veridical.apps.node.job_store import open_store
        from veridical.apps.node.settings import NodeSettings

        said = NodeSettings.read(self.file)
        return open_store(said.node.database, said.folder() / "queue.sqlite")


def write_toml(folder: Path, text: str, /, **node: Any) -> Node:
    """Write a node.toml whose `[node]` table has these values, and return its node."""
    port = int(node.pop("port", 0)) or free_port()
    said = {"series_quiet": 1, "study_quiet": 2, "free": 0.01, "monitor": 0, "port": port, **node}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in said.items())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "node.toml").write_text(f"[node]\n{lines}\n{text}")
    return Node(folder / "node.toml", port)


@contextmanager
def node(folder: Path, text: str, /, **said: Any) -> Iterator[Node]:
    """A running node."""
    one = write_toml(folder, text, **said)
    one.start()
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.kill()


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a running database; started as another user, since it refuses root."""
    root = os.getuid() == 0
    folder, port = Path(tempfile.mkdtemp(prefix="veridical-postgres-")), free_port()
    if root:
        shutil.chown(folder, "postgres", "postgres")

    def run(program: str, *words: str) -> None:
        subprocess.run(
            [f"{POSTGRES}/{program}", "-D", f"{folder}/db", *words],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            user="postgres" if root else None,
            group="postgres" if root else None,
        )

    run("initdb", "-A", "trust", "-U", "veridical", "-N")
    said = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    run("pg_ctl", "-l", f"{folder}/log", "-o", said, "-w", "start")
    try:
        yield f"postgresql://veridical@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def storescu(port: int, *files: Path, called: str = "VERIDICAL") -> int:
    """Send files with dcmtk, and return its exit code (0: all of them were taken)."""
    words = ["storescu", "-aet", "SCANNER", "-aec", called, "127.0.0.1", str(port)]
    done = subprocess.run([*words, *map(str, files)], capture_output=True, timeout=120)
    return done.returncode
