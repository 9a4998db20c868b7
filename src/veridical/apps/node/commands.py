"""A DICOM node: receive series, run tasks on them, send the results on: serve, check, log."""

from __future__ import annotations

import json as codec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

from veridical.errors import InputError

if TYPE_CHECKING:
    from veridical.apps.node.job_store import JobStore
    from veridical.apps.node.settings import NodeSettings

Switch = Annotated[bool, Parameter(negative=())]
app = App(
    name="node",
    help=(
        "A DICOM node that never loses an image. It receives series, runs tasks on them by the "
        "routes of a node.toml, and sends derived series, maps and reports on. Needs the extra "
        "clinical."
    ),
    group_commands=Group("Node"),
)


@app.command
def serve(settings: Path, /) -> None:
    """Receive, process and send until told to end (Ctrl-C, SIGTERM).

    Args:
        settings: node.toml.
    """
    from veridical.apps.node.serving import serve as work
    from veridical.apps.node.settings import NodeSettings

    said = NodeSettings.read(settings)
    node = said.node
    print(
        f"{node.ae_title} on {node.host}:{node.port}, {len(said.routes)} routes, "
        f"{len(said.peers)} peers, folder {said.folder()}",
        flush=True,
    )
    work(said)


@app.command
def check(settings: Path, /, *, phantoms: Annotated[bool, Parameter()] = True) -> None:
    """Try everything without serving: peers, models, and a phantom through each route.

    Args:
        settings: node.toml.
        phantoms: run the tasks of the routes; prints time and memory of each.
    """
    from veridical.apps.node.checking import check as every
    from veridical.apps.node.settings import NodeSettings

    troubles = 0
    for found in every(NodeSettings.read(settings), phantoms):
        print(found, flush=True)
        troubles += not found.good
    if troubles:
        raise InputError(f"{troubles} of these will not work. Mend them before serving.")


@app.command
def log(settings: Path, uid: str = "", /, *, last: int = 20, json: Switch = False) -> None:
    """Print what happened. UIDs are hashed; give one to find its lines.

    Args:
        settings: node.toml.
        uid: of a series or study, or the beginning of the key of a job; all when not given.
        last: so many lines.
        json: print one JSON object a line.
    """
    from datetime import UTC, datetime

    from veridical.apps.node.landing import valid_uid
    from veridical.apps.node.network import pseudonyms

    store = _store(settings)
    subject = pseudonyms(store.salt())(uid) if uid and valid_uid(uid) else uid
    for one in store.happened(last, subject):
        when = datetime.fromtimestamp(one.time, UTC).isoformat(timespec="seconds")
        about = {"time": when, "what": one.what, "subject": one.subject, **one.details}
        words = " ".join(f"{k}={codec.dumps(v)}" for k, v in one.details.items())
        plain = f"{when}  {one.what}  {one.subject[:16]}  {words}".rstrip()
        print(codec.dumps(about) if json else plain)


@app.command
def letters(settings: Path, /, *, json: Switch = False) -> None:
    """List dead letters and held results: number, state, lane, kind, and why.

    Args:
        settings: node.toml.
        json: print one JSON object a line.
    """
    for job in _store(settings).jobs(("dead", "held")):
        about = {"job": job.id, "state": job.state, "lane": job.lane, "kind": job.kind}
        line = "  ".join(map(str, (*about.values(), job.reason)))
        print(codec.dumps({**about, "key": job.key, "reason": job.reason}) if json else line)


@app.command
def resend(settings: Path, jobs: tuple[int, ...] = (), /, *, all: Switch = False) -> None:
    """Try dead letters again, and send held results all the same; your name goes into the log.

    Args:
        settings: node.toml.
        jobs: their numbers, as letters lists them.
        all: every dead letter; held results must be named.
    """
    from veridical.terms import user

    store = _store(settings)
    wanted = [job.id for job in store.jobs(("dead",))] if all else list(jobs)
    if not wanted and not all:
        raise InputError("No number of a job was given. List them: veridical node letters.")
    for number in wanted:
        if not store.release(number, user()):
            raise InputError(f"Job {number} is neither dead nor held. See: veridical node letters.")
    print(f"{len(wanted)} will be sent")


def _store(path: Path) -> JobStore:
    """Open the queue of a node."""
    from veridical.apps.node.job_store import open_store
    from veridical.apps.node.landing import Land
    from veridical.apps.node.settings import NodeSettings

    said: NodeSettings = NodeSettings.read(path)
    queue = Land(said.folder()).queue
    if not said.node.database and not queue.exists():
        raise InputError(f"There is no queue in {said.folder()}; the node has not served there.")
    return open_store(said.node.database, queue)
