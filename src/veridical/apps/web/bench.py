"""The work bench: what is open, which jobs run, and the processes that run them.

Everything lies in one folder, a folder of its own for each case and each job, with what is known of
it in `record.json`: after a restart all of it is there again.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from veridical.errors import InputError

RECORD = "record.json"
MOST = 1000
"""Cases and jobs that are kept."""
LINE = 2**26
"""Bytes of the longest line that a job may send."""
Waiting = Literal["waiting", "running", "done", "refused", "cancelled"]
QUICK = ("inspect", "view", "open_result", "dicom")
"""Orders that do not wait behind long ones."""


@dataclass
class WebWork:
    """A case that is open, or a job.

    Args:
        id: and name of its folder.
        kind: `case` or `job`.
        title: to show.
        order: what is done for it.
        case: id of the case that a job is about; empty where there is none.
        patient: number of the patient in that case.
        state: see `Waiting`.
        progress: what is being done, steps done, steps in all.
        error, error_kind: why it was refused.
        found: what came of it.
        made: seconds since 1970.
        took: seconds.
    """

    id: str
    kind: Literal["case", "job"]
    title: str
    order: dict[str, Any]
    case: str = ""
    patient: int = 0
    state: Waiting = "waiting"
    progress: list[Any] = field(default_factory=list)
    error: str = ""
    error_kind: str = ""
    found: dict[str, Any] = field(default_factory=dict)
    made: float = 0.0
    took: float = 0.0

    def shown(self) -> dict[str, Any]:
        """Return what the page is told; no paths of this machine."""
        said = asdict(self)
        order = said.pop("order")
        said["do"] = order.get("do", "")
        said["task"] = order.get("task", "")
        said["settings"] = order.get("settings", {})
        said["chosen"] = order.get("chosen", [])
        said["seed"] = order.get("seed", 0)
        said["options"] = order.get("options", {})
        return {**said, "found": _without_paths(said["found"])}


class Bench:
    """All cases and jobs of a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.works: dict[str, WebWork] = {}
        self.listeners: set[asyncio.Queue[str]] = set()
        self.lanes = {name: Lane(self, name) for name in ("long", "quick")}
        for file in sorted(root.glob(f"*/{RECORD}"), key=lambda f: f.stat().st_mtime):
            with suppress(ValueError, TypeError, OSError):
                work = WebWork(**json.loads(file.read_text(encoding="utf-8")))
                if work.state in ("waiting", "running"):
                    work.state, work.error = "cancelled", "The program was stopped meanwhile."
                self.works[work.id] = work

    def folder(self, name: str) -> Path:
        """Return the folder of a case or job."""
        return self.root / name

    def get(self, name: str, kind: str = "") -> WebWork:
        """Return a case or job.

        Raises:
            InputError: there is none of that name.
        """
        work = self.works.get(name)
        if work is None or (kind and work.kind != kind):
            raise InputError(f"There is no {kind or 'case or job'} of this name. Reload the page.")
        return work

    def add(self, kind: Literal["case", "job"], title: str, order: Mapping[str, Any],
            case: str = "") -> WebWork:  # fmt: skip
        """Note a case or job; it begins with `start`.

        Raises:
            InputError: there are too many.
        """
        if len(self.works) >= MOST:
            raise InputError(f"{MOST} cases and jobs are open. Close some of them.")
        work = WebWork(secrets.token_hex(6), kind, title, dict(order), case, made=time.time())
        self.folder(work.id).mkdir(mode=0o700)
        self.works[work.id] = work
        return work

    def start(self, work: WebWork) -> None:
        """Put a job in line."""
        work.state, work.error, work.error_kind, work.progress = "waiting", "", "", []
        self.changed(work)
        lane = "quick" if work.order["do"] in QUICK else "long"
        self.lanes[lane].put(work)

    def changed(self, work: WebWork, kept: bool = True) -> None:
        """Tell all listeners what a case or job is now, and note it on disk."""
        if kept and self.folder(work.id).is_dir():
            file = self.folder(work.id) / RECORD
            temporary = file.with_suffix(".part")
            temporary.write_text(json.dumps(asdict(work), allow_nan=False), encoding="utf-8")
            temporary.replace(file)
        self.tell({"work": work.shown()})

    def tell(self, said: Mapping[str, Any]) -> None:
        """Send something to all pages."""
        text = json.dumps(said, allow_nan=False)
        for queue in self.listeners:
            queue.put_nowait(text)

    async def events(self) -> AsyncIterator[str]:
        """Yield server-sent events: what all cases and jobs are now, then every change."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.listeners.add(queue)
        try:
            works = [work.shown() for work in self.works.values()]
            yield f"data: {json.dumps({'works': works}, allow_nan=False)}\n\n"
            while True:
                try:
                    text = await asyncio.wait_for(queue.get(), 15)
                    yield f"data: {text}\n\n"
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self.listeners.discard(queue)

    def cancel(self, work: WebWork) -> None:
        """Stop a job that waits or runs; nothing of its result is left."""
        if work.state in ("waiting", "running"):
            for lane in self.lanes.values():
                lane.stop(work)
            work.state, work.error = "cancelled", "Cancelled."
            self.changed(work)

    def remove(self, work: WebWork) -> None:
        """Close a case or job, and those about it, and delete what lies in their folders."""
        for other in [one for one in self.works.values() if one.case == work.id]:
            self.remove(other)
        self.cancel(work)
        self.works.pop(work.id, None)
        shutil.rmtree(self.folder(work.id), ignore_errors=True)
        self.tell({"gone": work.id})

    async def close(self) -> None:
        """End all processes."""
        await asyncio.gather(*(lane.close() for lane in self.lanes.values()))
        await asyncio.sleep(0.05)  # their pipes close in the next rounds of the loop


class Lane:
    """Jobs one after the other, each in a process of its own; the next process is ready before it
    is needed, since loading takes seconds."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name = bench, name
        self.queue: asyncio.Queue[WebWork] = asyncio.Queue()
        self.spare: asyncio.subprocess.Process | None = None
        self.busy: tuple[WebWork, asyncio.subprocess.Process] | None = None
        self.running: asyncio.Task[None] | None = None
        self.stopped = False

    def put(self, work: WebWork) -> None:
        """Put a job in line."""
        self.queue.put_nowait(work)

    async def run(self) -> None:
        """Do jobs until cancelled."""
        while True:
            if self.spare is None:
                self.spare = await _process(self.name)
            work = await self.queue.get()
            if work.state != "waiting":
                continue
            process, self.spare = self.spare, None
            if process.returncode is not None:
                process = await _process(self.name)
            self.busy = (work, process)
            begun, said = time.perf_counter(), dict[str, Any]()
            work.state, work.progress = "running", ["starting", 0, 0]
            self.bench.changed(work, kept=False)
            try:
                said = await self._followed(work, process)
            finally:
                self.busy = None
                _kill(process)
                await process.wait()
            if not self.stopped:
                work.took = round(time.perf_counter() - begun, 2)
                _settle(work, said)
                self.bench.changed(work)
            self.stopped = False

    async def _followed(self, work: WebWork, process: asyncio.subprocess.Process) -> dict[str, Any]:
        """Hand a job to its process, follow it, and return the last that it said."""
        assert process.stdin
        assert process.stdout
        with suppress(ConnectionError):
            process.stdin.write((json.dumps(work.order) + "\n").encode())
            await process.stdin.drain()
        said: dict[str, Any] = {}
        with suppress(ValueError, ConnectionError):
            while line := await process.stdout.readline():
                said = json.loads(line)
                if "progress" in said and not self.stopped:
                    work.progress = said["progress"]
                    self.bench.changed(work, kept=False)
                if "done" in said or "refused" in said:
                    break
        return said

    def stop(self, work: WebWork) -> None:
        """End the process of a job, if it is this lane's."""
        if self.busy and self.busy[0] is work:
            self.stopped = True
            _kill(self.busy[1])

    async def close(self) -> None:
        """End the processes and take no more jobs."""
        if self.running:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
        if self.spare:
            _kill(self.spare)
            await self.spare.wait()


ENDED = (
    "The process of this job ended before its time; most often that means that it needed more "
    "memory than there is. Take fewer slices or a coarser grid, or close other programs."
)


def _settle(work: WebWork, said: Mapping[str, Any]) -> None:
    """Note how a job ended."""
    work.progress = []
    if "done" in said:
        work.state, work.found = "done", said["done"]
    else:
        work.state, work.error = "refused", said.get("refused") or ENDED
        work.error_kind = said.get("kind", "ended")


async def _process(lane: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "veridical.apps.web.worker",
        lane,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE,
        start_new_session=True,
    )


def _kill(process: asyncio.subprocess.Process) -> None:
    """End a process and all that it started."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _without_paths(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what came of a job without places on this machine, which are no business of a page."""
    hidden = {"paths", "folder", "archive", "report", "results", "source"}
    kept: dict[str, Any] = {}
    for key, value in found.items():
        if key in hidden:
            kept[key] = len(value) if isinstance(value, list) else bool(value)
        elif isinstance(value, Mapping):
            kept[key] = _without_paths(value)
        elif isinstance(value, list):
            kept[key] = [_without_paths(v) if isinstance(v, Mapping) else v for v in value]
        else:
            kept[key] = value
    return kept
