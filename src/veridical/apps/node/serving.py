"""The serving process: it listens, watches over the processes beside it, and answers the monitor.

It decodes nothing. A process beside it that dies is started anew, and the job on which it worked
is given back or, when it was the job that killed it, counted as failed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from veridical.apps.node import monitor, network, receiver
from veridical.apps.node.child import PARENT
from veridical.apps.node.job_store import Happened, JobStore, LeaseLost, open_store
from veridical.apps.node.landing import Land
from veridical.apps.node.settings import NodeSettings

WATCH = 0.5
"""Seconds between looks at the processes."""
PAUSES = (0.0, 1.0, 5.0, 30.0)
"""Seconds before a process that keeps dying is started again."""
STEADY = 60.0
"""Seconds after which a process that lives counts as well."""
PARTING = 10.0
"""Seconds that a process gets to end by itself."""


@dataclass
class Beside:
    """A process beside the serving one.

    Args:
        role: gather, work or send.
        owner: name under which it claims jobs.
    """

    role: str
    owner: str
    process: Any = None
    started: float = 0.0
    deaths: int = 0
    next_start: float = 0.0

    def start(self, settings: NodeSettings) -> None:
        """Start it."""
        words = ["-m", "veridical.apps.node.child", self.role, str(settings.file), self.owner]
        environment = {**os.environ, PARENT: str(os.getpid())}
        self.process = subprocess.Popen([sys.executable, *words], env=environment)
        self.started = time.monotonic()

    def alive(self) -> bool:
        """Say whether it runs."""
        return self.process is not None and self.process.poll() is None


@dataclass
class Serving:
    """A node at work.

    Args:
        settings: of the node.
    """

    settings: NodeSettings
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Serve until `stop` is set.

        Raises:
            InputError: another node serves from this folder, or the port is taken.
        """
        land = Land(self.settings.folder())
        land.prepare()
        with land.alone():
            store = open_store(self.settings.node.database, land.queue)
            try:
                self._serve(land, store)
            finally:
                store.close()

    def _serve(self, land: Land, store: JobStore) -> None:
        name = f"{self.settings.node.ae_title.strip()}@{land.folder}"
        for job in store.abandoned(name):  # of this node before it was stopped or killed
            with suppress(LeaseLost):
                store.give_back(job)
        removed = land.sweep(store.paths())
        store.listen()
        hashed = network.pseudonyms(store.salt())
        listening = receiver.serve(receiver.Reception(self.settings, store, land, hashed))
        children = self._children(f"{name}:{uuid.uuid4().hex[:8]}")
        store.record(Happened("started", "", {"swept": removed}))
        watch = None
        try:
            watch = monitor.start(
                self.settings, lambda: state(self.settings, store, land, children)
            )
            while not self.stop.wait(WATCH):
                self._look_after(children, store)
                land.tidy()
        finally:
            listening.shutdown()
            listening.server_close()
            self._part(children)
            if watch is not None:
                watch.shutdown()
                watch.server_close()
            store.record(Happened("stopped"))

    def _children(self, owner: str) -> list[Beside]:
        roles = ["gather", *["work"] * self.settings.node.workers]
        roles += ["send"] if self.settings.peers else []
        return [Beside(role, f"{owner}:{role}-{n}") for n, role in enumerate(roles)]

    def _look_after(self, children: list[Beside], store: JobStore) -> None:
        """Start what does not run, and count the death of a worker against its job."""
        now = time.monotonic()
        for child in children:
            if child.alive():
                if now - child.started > STEADY:
                    child.deaths = 0
                continue
            if child.process is not None:
                code, child.process = child.process.returncode, None
                child.next_start = now + PAUSES[min(child.deaths, len(PAUSES) - 1)]
                child.deaths += 1
                died(child, code, self.settings, store)
            if now >= child.next_start:
                child.start(self.settings)

    def _part(self, children: list[Beside]) -> None:
        """End the processes; what they were at is claimed again after the next start."""
        for child in children:
            if child.alive():
                child.process.terminate()
        for child in children:
            if child.alive():
                try:
                    child.process.wait(PARTING)
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()


def died(child: Beside, code: int, settings: NodeSettings, store: JobStore) -> None:
    """Note the death of a process; a task that ended its worker failed, all else is given back."""
    from veridical.apps.node.worker import Worker

    details = {"role": child.role, "code": code}
    store.record(Happened("process died", child.owner, details))
    for job in store.abandoned(child.owner):
        with suppress(LeaseLost):
            if job.kind == "run":
                land = Land(settings.folder())
                why = f"It ended its worker (exit code {code}); memory is limited to "
                reason = f"{why}{settings.node.memory:g} GiB."
                Worker(settings, store, land, child.owner).fail(job, reason, final=False)
            else:
                store.give_back(job)


def state(
    settings: NodeSettings, store: JobStore, land: Land, children: list[Beside]
) -> Mapping[str, Any]:
    """Return what the monitor shows."""
    free = land.free()
    running = {child.role: 0 for child in children}
    for child in children:
        running[child.role] += child.alive()
    well = free >= settings.node.free and all(running.values())
    return {"well": well, "free": free, "processes": running, "counts": store.counts()}


def serve(settings: NodeSettings) -> None:
    """Serve until the process is told to end (SIGTERM or SIGINT)."""
    from pydicom import config

    config.settings.reading_validation_mode = config.IGNORE  # UIDs are checked where they are used;
    config.settings.writing_validation_mode = config.IGNORE  # here it is a third of a negotiation
    serving = Serving(settings)
    threading.excepthook = lambda problem: print(  # no trace: a text may hold a name
        f"serve: unexpected {problem.exc_type.__name__} in a thread", file=sys.stderr
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: serving.stop.set())
    serving.run()
