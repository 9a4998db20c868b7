"""`veridical node check`: do peers answer, do models load, does a phantom go through each route?"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from veridical.apps.node import network
from veridical.apps.node.landing import Land
from veridical.apps.node.routes import Route
from veridical.apps.node.settings import NodeSettings, Peer
from veridical.errors import InputError, VeridicalError

VERIFICATION = "1.2.840.10008.1.1"


@dataclass(frozen=True)
class Tried:
    """What came of trying one thing."""

    good: bool
    what: str
    answer: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.good else 'FAIL'}  {self.what}: {self.answer}"


def check(settings: NodeSettings, phantoms: bool = True) -> Iterator[Tried]:
    """Try the disk, TLS, every peer and every route.

    Args:
        settings: of the node.
        phantoms: run the tasks of the routes.
    """
    yield _tried("folder", partial(_disk, settings))
    if settings.node.certificate:
        yield _tried("TLS", partial(_tls, settings))
    for name, peer in settings.peers.items():
        yield _tried(f"peer {name}", partial(_answer, settings, peer))
    for route in settings.routes if phantoms else ():
        if route.task:
            yield _tried(f"route {route.name}", partial(_phantom, settings, route))


def _tried(what: str, trial: Callable[[], str]) -> Tried:
    try:
        return Tried(True, what, trial())
    except VeridicalError as error:
        return Tried(False, what, str(error))


def _disk(settings: NodeSettings) -> str:
    land = Land(settings.folder())
    land.prepare()
    free = land.free()
    if free < settings.node.free:
        raise InputError(f"{free:.1f} GiB are free; the node needs {settings.node.free:g}.")
    return f"{land.folder}, {free:.1f} GiB free"


def _tls(settings: NodeSettings) -> str:
    network.server_context(settings)
    return "certificate, key and authorities fit"


def _answer(settings: NodeSettings, peer: Peer) -> str:
    """Ask a peer whether it is there, and return how long it took to answer."""
    start = time.monotonic()
    if peer.kind == "dicom":
        from veridical.apps.node.sender import associated

        with associated(settings, peer, [(VERIFICATION, None)]) as link:
            if link.send_c_echo().get("Status") != 0:
                raise InputError("It takes associations, but does not answer C-ECHO.")
        return f"C-ECHO in {time.monotonic() - start:.2f} s"
    import requests

    network.quiet()
    if peer.kind == "dicomweb":
        from veridical.apps.node.sender import web_client

        try:
            web_client(settings, peer).search_for_studies(limit=1)
        except requests.RequestException as error:
            raise InputError(f"It does not answer QIDO-RS ({type(error).__name__}).") from error
        return f"QIDO-RS in {time.monotonic() - start:.2f} s"
    try:
        found = requests.get(f"{peer.url.rstrip('/')}/metadata", timeout=peer.timeout)
    except requests.RequestException as error:
        raise InputError(f"It does not answer ({type(error).__name__}).") from error
    if found.status_code != 200:
        raise InputError(f"It answers {found.status_code} to a request for its metadata.")
    return f"metadata in {time.monotonic() - start:.2f} s"


def _phantom(settings: NodeSettings, route: Route) -> str:
    """Push a phantom through a route in a process with the memory of a worker."""
    words = [sys.executable, "-m", "veridical.apps.node.checking", str(settings.file), route.name]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise InputError(f"The phantom did not get through: {said}")
    return done.stdout.strip().splitlines()[-1]


def through(settings: NodeSettings, name: str) -> str:
    """Run the task of a route on a phantom, in this process, and return what it took."""
    import resource

    from veridical.apps.node.child import limit_memory
    from veridical.apps.node.phantom_series import CLASSES, phantom_series
    from veridical.apps.node.worker import produce

    network.quiet()
    limit_memory(settings.node.memory)
    route = settings.route(name)
    said = [word for word in route.conditions().modality if word in CLASSES]
    folder = Path(tempfile.mkdtemp(prefix="veridical-check-"))
    try:
        phantom_series(folder / "series-1", said[0] if said else "MR")
        made = produce(settings, route, [folder / "series-1"], folder / "result")
    finally:
        shutil.rmtree(folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    stopped = f"; would be stopped: {'; '.join(made.stopped)}" if made.stopped else ""
    took = f"{made.seconds:.1f} s, {memory:.1f} GiB at most"
    return f"{len(made.files)} objects in {took}{stopped}"


if __name__ == "__main__":
    try:
        print(through(NodeSettings.read(sys.argv[1]), sys.argv[2]))
    except VeridicalError as error:
        sys.exit(json.dumps(str(error), ensure_ascii=False).strip('"'))
