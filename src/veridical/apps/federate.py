"""Train a model over sites whose images stay with them: all on this machine, as server, as site."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from veridical.apps import show

Switch = Annotated[bool, Parameter(negative=())]
Out = Annotated[Path | None, Parameter(name=("--out", "-o"))]
app = App(
    name="federate",
    help="Train the model of a recipe over sites whose images stay with them.",
    group_commands=Group("Over a network"),
)


@app.default
def here(
    federation: Path,
    /,
    *,
    out: Out = None,
    processes: Switch = False,
    resume: Switch = False,
    json: Switch = False,
    quiet: Switch = False,
) -> None:
    """Train over all sites of a federation on this machine.

    Sites train in turn within this process, or each in processes of its own that talk over
    loopback as they would over a network. Writes the weights with their card, log.jsonl, and
    report.md and report.json with what every site gained. Epsilon, where the federation has
    [privacy], is that of a patient. Sites that drop out, send garbage or poison are left out and
    named.

    Args:
        federation: TOML file: recipe, sites, rounds, strategy, privacy, defence.
        out: folder; runs/NAME_OF_THE_FEDERATION when not given.
        processes: run a SuperLink and a SuperNode for each site (extra federated).
        resume: go on after the last whole round.
        json: print the report as one JSON object.
        quiet: draw no progress bar.
    """
    from veridical.training.federation import Federation
    from veridical.workflow.federate import federate as run

    plan, folder = Federation.read(federation), out or Path("runs") / federation.stem
    with show.only_result(json), show.progress(quiet) as progress:
        if processes:
            from veridical.workflow.flower_run import on_loopback

            free = list(ports(1 + len(plan.sites)))
            weights = on_loopback(federation, folder, free, resume, progress)
        else:
            weights = run(plan, folder, resume, progress)
    told(weights, json)


@app.command
def serve(
    federation: Path,
    /,
    *,
    address: str,
    out: Out = None,
    certificate: str = "",
    key: str = "",
    authority: str = "",
    wait: float = 3600.0,
    resume: Switch = False,
    quiet: Switch = False,
) -> None:
    """Be the server: start a SuperLink, wait for the sites, and run all rounds.

    Args:
        federation: TOML file; folders of sites do not matter here.
        address: host:port at which sites reach this server.
        out: folder; runs/NAME_OF_THE_FEDERATION when not given.
        certificate: of this server, PEM; needed unless the address is loopback.
        key: of the certificate, PEM.
        authority: certificate of who signed it, PEM.
        wait: seconds in which sites must come.
        resume: go on after the last whole round.
        quiet: draw no progress bar.
    """
    from veridical.workflow.flower_processes import Safety
    from veridical.workflow.flower_run import serve as run

    folder = out or Path("runs") / federation.stem
    safety = Safety(certificate, key, authority)
    with show.progress(quiet) as progress:
        weights = run(federation, folder, address, safety, wait, resume, progress)
    told(weights, False)


@app.command
def join(
    federation: Path,
    site: str,
    /,
    *,
    server: str,
    out: Out = None,
    authority: str = "",
) -> None:
    """Be a site: start a SuperNode that trains when the server asks, until it is interrupted.

    Args:
        federation: TOML file, with the folder of this site.
        site: its name there.
        server: host:port of the server.
        out: folder of this site; runs/NAME_OF_THE_FEDERATION/SITE when not given.
        authority: certificate of who signed that of the server, PEM; needed unless it is on
            loopback.
    """
    from veridical.workflow.flower_processes import Safety
    from veridical.workflow.flower_run import join as run

    folder = out or Path("runs") / federation.stem / site
    run(federation, site, folder, server, next(ports(1)), Safety(authority=authority))


def ports(count: int) -> Iterator[int]:
    """Yield free ports of loopback."""
    for _ in range(count):
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            yield int(free.getsockname()[1])


def told(weights: Path, json: bool) -> None:
    """Print the report, and where all of it lies."""
    report = weights.parent / "report.json"
    if json:
        print(report.read_text(encoding="utf-8"), end="")
        return
    print(report.with_suffix(".md").read_text(encoding="utf-8"))
    for path in (weights, weights.with_suffix(".json"), report.with_suffix(".md"), report):
        print(path)
