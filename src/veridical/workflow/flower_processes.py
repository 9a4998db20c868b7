"""A federation as processes of Flower: one SuperLink for the server, one SuperNode a site.

Nothing is installed or looked up while they run: telemetry, the check for updates and the
installation of apps' dependencies are off. The app that Flower sends to the sites is a few lines
that name this package, which each site has installed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import IO

from veridical.errors import InputError, MissingExtra, SettingError
from veridical.io.guards import write_text
from veridical.task import Progress, silent
from veridical.training.checkpoints import log_lines

OUTCOME = "outcome.json"
"""What the server's app says at its end: the weights, or an error."""
LOOK = 0.5
"""Seconds between two looks at the processes."""
PATIENCE = 120.0
"""Seconds in which a SuperLink must be there."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "NO_PROXY": "127.0.0.1,localhost,::1",
}
APP = '''"""The app of a federation."""

from veridical.workflow.flower_apps import client_app, server_app

server = server_app()
client = client_app({secure})
'''
PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "veridical-federation"
version = "1.0.0"
description = "A federation of veridical."
license = "Apache-2.0"
dependencies = []

[tool.hatch.build.targets.wheel]
packages = ["."]

[tool.flwr.app]
publisher = "local"

[tool.flwr.app.components]
serverapp = "veridical_federation.apps:server"
clientapp = "veridical_federation.apps:client"

[tool.flwr.app.config]
federation = ""
out = ""
resume = false
wait = 600.0
"""


@dataclass(frozen=True)
class Safety:
    """How connections are protected.

    Args:
        certificate, key: of the server, PEM.
        authority: whose certificates are trusted, PEM.
    """

    certificate: str = ""
    key: str = ""
    authority: str = ""

    def of_link(self, address: str) -> list[str]:
        """Return the flags of a SuperLink.

        Raises:
            SettingError: it is reached over a network and has no certificate.
        """
        if self.certificate and self.key and self.authority:
            return [
                *("--ssl-certfile", self.certificate),
                *("--ssl-keyfile", self.key),
                *("--ssl-ca-certfile", self.authority),
            ]
        return self._open(address, "--certificate, --key and --authority")

    def of_node(self, address: str) -> list[str]:
        """Return the flags of a SuperNode."""
        if self.authority:
            return ["--root-certificates", self.authority]
        return self._open(address, "--authority")

    def _open(self, address: str, flags: str) -> list[str]:
        if address.rsplit(":", 1)[0].strip("[]") not in LOOPBACK:
            raise SettingError(
                f"{address} is reached over a network; updates would travel in the open. Give "
                f"{flags} for TLS, or a loopback address."
            )
        return ["--insecure"]


@dataclass
class Processes:
    """Processes of Flower with their logs; all of them are ended with the block.

    Args:
        folder: for logs and what Flower keeps.
        address: host:port of the SuperLink.
        safety: of connections to it.
        running: name -> process.
    """

    folder: Path
    address: str = ""
    safety: Safety = Safety()
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _logs: list[IO[bytes]] = field(default_factory=list)

    def __enter__(self) -> Processes:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.running.values():
            end(process)
        for log in self._logs:
            log.close()

    def start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own."""
        log = (self.folder / f"{name}.log").open("ab")
        self._logs.append(log)
        self.running[name] = subprocess.Popen(
            command, stdout=log, stderr=log, env=self.environment(), start_new_session=True
        )
        return self.running[name]

    def environment(self) -> dict[str, str]:
        """Return the environment of all processes: nothing is told to anyone else."""
        found = {**os.environ, **QUIET, "FLWR_HOME": str(self.folder.resolve())}
        found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), found.get("PATH", "")])
        return found

    def link(self) -> None:
        """Start the SuperLink and wait until it answers.

        Raises:
            InputError: it ended, or does not answer.
        """
        host, port = self.address.rsplit(":", 1)
        command = [program("flower-superlink"), *self.safety.of_link(self.address)]
        command += ["--host", host.strip("[]"), "--port", port]
        command += ["--disable-runtime-dependency-installation"]
        log, until = self.folder / "superlink.log", time.monotonic() + PATIENCE
        before = log.stat().st_size if log.is_file() else 0  # what an earlier run wrote
        process = self.start("superlink", command)
        while b"startup complete" not in log.read_bytes()[before:]:
            if process.poll() is not None or time.monotonic() > until:
                raise InputError(
                    f"The SuperLink at {self.address} did not start; {log} says why. Is the port "
                    "taken?"
                )
            time.sleep(LOOK)

    def node(self, site: str, port: int, told: Mapping[str, str]) -> None:
        """Start the SuperNode of a site.

        Args:
            site: its name.
            port: on loopback, by which the node talks to its own processes.
            told: its configuration.
        """
        said = " ".join(f"{key}={json.dumps(value)}" for key, value in told.items())
        command = [program("flower-supernode"), *self.safety.of_node(self.address)]
        command += ["--superlink", self.address, "--port", str(port), "--node-config", said]
        self.start(f"node-{site}", command)

    def submit(self, secure: bool, told: Mapping[str, str]) -> None:
        """Hand the run to the SuperLink.

        Args:
            secure: whether sites mask their updates.
            told: its configuration, values as TOML has them.

        Raises:
            InputError: it was not taken.
        """
        app = self.folder / "app"
        write_text(app / "pyproject.toml", PROJECT)
        package = app / "veridical_federation"
        write_text(package / "__init__.py", '"""A federation of veridical."""\n')
        write_text(package / "apps.py", APP.format(secure=secure))
        trusted = f"root-certificates = {json.dumps(self.safety.authority)}"
        lines = [
            "[superlink]",
            'default = "here"',
            "[superlink.here]",
            f"address = {json.dumps(self.address)}",
            trusted if self.safety.authority else "insecure = true",
        ]
        write_text(self.folder / "config.toml", "\n".join(lines) + "\n")
        said = " ".join(f"{key}={value}" for key, value in told.items())
        done = subprocess.run(
            [program("flwr"), "run", str(app), "here", "--run-config", said, "--format", "json"],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or '"success": true' not in done.stdout:
            raise InputError(f"Flower did not take the run: {(done.stdout + done.stderr).strip()}")

    def wait(self, out: Path, rounds: int, progress: Progress = silent) -> Path:
        """Wait for the end of the run and return the weights.

        Raises:
            InputError: the run ended with an error, or the SuperLink is gone.
        """
        path = out / OUTCOME
        while not path.is_file():
            if self.running["superlink"].poll() is not None:
                raise InputError(
                    f"The SuperLink is gone; {self.folder / 'superlink.log'} says why. Go on with "
                    "--resume."
                )
            lines = log_lines(out)
            done = lines[-1]["round"] if lines else 0
            progress(f"round {done} of {rounds}", done, rounds)
            time.sleep(LOOK)
        outcome = json.loads(path.read_text(encoding="utf-8"))
        if outcome["error"]:
            raise InputError(outcome["error"])
        return Path(outcome["weights"])


def program(name: str) -> str:
    """Return the path of a program of Flower.

    Raises:
        MissingExtra: it is not installed.
    """
    found = which(name, path=str(Path(sys.executable).parent)) or which(name)
    if found is None:
        raise MissingExtra(
            f"{name} is not installed. Flower brings it: pip install 'veridical[federated]'."
        )
    return found


def end(process: subprocess.Popen[bytes], seconds: float = 5.0) -> None:
    """End a process and all that it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
