"""Run a federation over Flower: as its server, as a site, or as all of them on loopback."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

from veridical.errors import InputError
from veridical.task import Progress, silent
from veridical.training.federation import Federation
from veridical.training.site import SiteTrainer
from veridical.workflow.federate import SITES
from veridical.workflow.flower_processes import OUTCOME, Processes, Safety

KEPT = "flower"
"""Folder of logs and of what Flower keeps, below that of the run."""
SOON = 120.0
"""Seconds in which the sites of one machine must come."""


def on_loopback(
    file: Path,
    out: Path,
    ports: Sequence[int],
    resume: bool = False,
    progress: Progress = silent,
) -> Path:
    """Run server and sites as processes of their own on this machine; return the weights.

    Args:
        file: of the federation.
        out: folder of the run.
        ports: free ones of loopback: of the server, and of each site.
        resume: go on after the last whole round.
        progress: called as rounds end.
    """
    federation = Federation.read(file)
    with Processes(out / KEPT, f"127.0.0.1:{ports[0]}") as flower:
        flower.link()
        for name, port in zip(federation.sites, ports[1:], strict=True):
            flower.node(name, port, _told(file, name, out / SITES / name))
        _submit(flower, federation, file, out, SOON, resume)
        return flower.wait(out, federation.settings.rounds, progress)


def serve(
    file: Path,
    out: Path,
    address: str,
    safety: Safety,
    wait: float,
    resume: bool = False,
    progress: Progress = silent,
) -> Path:
    """Run the server; return the weights.

    Args:
        file: of the federation.
        out: folder of the run.
        address: at which sites reach it.
        safety: of connections.
        wait: seconds in which sites must come.
        resume: go on after the last whole round.
        progress: called as rounds end.
    """
    federation = Federation.read(file)
    with Processes(out / KEPT, address, safety) as flower:
        flower.link()
        _submit(flower, federation, file, out, wait, resume)
        return flower.wait(out, federation.settings.rounds, progress)


def join(file: Path, site: str, out: Path, server: str, port: int, safety: Safety) -> None:
    """Run a site until it is interrupted or its node ends.

    Args:
        file: of the federation.
        site: its name there.
        out: folder of the site.
        server: address of the server.
        port: a free one of loopback.
        safety: of the connection.

    Raises:
        InputError: the images of the site cannot be used, or its node ended.
    """
    SiteTrainer(Federation.read(file), site, out)  # before anybody waits for it
    with Processes(out / KEPT, server, safety) as flower:
        flower.node(site, port, _told(file, site, out))
        process = flower.running[f"node-{site}"]
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            return
        raise InputError(
            f"The node of {site} ended ({code}); {flower.folder / f'node-{site}.log'} says why."
        )


def _told(file: Path, site: str, out: Path) -> dict[str, str]:
    return {"federation": str(file.resolve()), "site": site, "out": str(out.resolve())}


def _submit(
    flower: Processes, federation: Federation, file: Path, out: Path, wait: float, resume: bool
) -> None:
    (out / OUTCOME).unlink(missing_ok=True)
    told = {
        "federation": json.dumps(str(file.resolve())),
        "out": json.dumps(str(out.resolve())),
        "resume": str(resume).lower(),
        "wait": f"{wait:.1f}",
    }
    flower.submit(federation.settings.secure_aggregation, told)
