"""Runs tasks: a series in, DICOM objects of the result out, in a process with a memory limit.

A result is built under a temporary name and gets its own when it is whole on disk. Only then are
the jobs that send it added, in the same transaction that marks its own job as done. A worker that
dies before leaves a job to be claimed again; one that dies after leaves nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veridical.apps.node.gathering import send_job
from veridical.apps.node.job_store import Happened, JobStore, LeaseLost, NewJob, QueuedJob
from veridical.apps.node.landing import GIB, Land, settle_folder
from veridical.apps.node.objects import lay_out
from veridical.apps.node.routes import Route
from veridical.apps.node.settings import NodeSettings
from veridical.errors import PolicyError, VeridicalError

if TYPE_CHECKING:
    from veridical.types import Result

LEASE = 60.0
"""Seconds; a worker that lives lengthens it."""
TRIES = (10.0, 60.0)
"""Seconds before a task that ended unexpectedly is run again; then it is a dead letter."""


@dataclass(frozen=True)
class TaskOutcome:
    """What came of a task, kept beside its files.

    Args:
        files: DICOM objects, relative to the folder of the result.
        tell: peer -> file with what a FHIR server is told.
        stopped: why the result may not be sent; empty where it may.
        verdicts: check -> verdict.
        seconds: of reading, task and writing.
    """

    files: tuple[str, ...] = ()
    tell: Mapping[str, str] = field(default_factory=dict)
    stopped: tuple[str, ...] = ()
    verdicts: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Worker:
    """Claims jobs of the lane `run` and does them.

    Args:
        settings: of the node.
        store: its queue.
        land: its folder.
        owner: name of this worker, unique among those that live.
    """

    settings: NodeSettings
    store: JobStore
    land: Land
    owner: str

    def step(self) -> bool:
        """Do one job; say whether there was one."""
        job = self.store.claim("run", self.owner, LEASE)
        if job is None:
            return False
        desk = self.clear_desk()
        stop = threading.Event()
        threading.Thread(target=self._beat, args=(job, stop), daemon=True).start()
        try:
            self._finish(job, self._outcome(job, desk))
        except LeaseLost:
            pass
        except VeridicalError as error:
            self.fail(job, str(error), final=True)
        except MemoryError:
            reason = f"It needs more than the {self.settings.node.memory:g} GiB of a worker."
            self.fail(job, reason, final=True)
        except Exception as error:  # of its text nobody knows whether it holds a name
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}, line {frame.lineno}"
            self.fail(job, f"unexpected {type(error).__name__} in {place}", final=False)
        finally:
            stop.set()
            self.clear_desk()
        return True

    def clear_desk(self) -> Path:
        """Remove what this worker, or one of its name that died, left lying; return its place."""
        desk = self.land.work / hashlib.sha256(self.owner.encode()).hexdigest()[:16]
        shutil.rmtree(desk, ignore_errors=True)
        return desk

    def _beat(self, job: QueuedJob, stop: threading.Event) -> None:
        """Lengthen the lease while the job goes on; end the process when it takes too long."""
        start, limit = time.monotonic(), self.settings.node.job_minutes * 60
        while not stop.wait(min(LEASE / 3, limit)):
            try:
                if time.monotonic() - start >= limit:
                    self.fail(job, f"It took longer than {limit / 60:g} minutes.", final=True)
                    os._exit(1)  # nothing else stops a computation; another worker takes its place
                self.store.extend(job, LEASE)
            except LeaseLost:
                return

    def fail(self, job: QueuedJob, reason: str, final: bool) -> None:
        """Let a job be run again later, or make it a dead letter; then its originals are sent on
        where the route says so.
        """
        last = final or job.failures >= len(TRIES)
        if last and self._forwards(job):
            self.store.add(self._originals(job, self.settings.route(job.payload["route"])))
        again = None if last else time.time() + TRIES[job.failures]
        what = "task failed for good" if last else "task failed"
        self.store.fail(job, reason, again, Happened(what, job.key, {"reason": reason}))

    def _forwards(self, job: QueuedJob) -> bool:
        routes = {route.name: route for route in self.settings.routes}
        route = routes.get(job.payload["route"])
        return route is not None and route.on_refusal == "forward-original"

    def _outcome(self, job: QueuedJob, desk: Path) -> TaskOutcome:
        """Return what came of the job; a result that is there already is not made again."""
        final = self.land.results / job.key[:40]
        if not final.is_dir():
            series = self._lay_out(job, desk)
            made = desk / "result"
            made.mkdir()
            found = produce(self.settings, self.settings.route(job.payload["route"]), series, made)
            (made / "outcome.json").write_text(json.dumps(asdict(found)), encoding="utf-8")
            settle_folder(made, final)
        said = json.loads((final / "outcome.json").read_text(encoding="utf-8"))
        return TaskOutcome(
            **{**said, "files": tuple(said["files"]), "stopped": tuple(said["stopped"])}
        )

    def _lay_out(self, job: QueuedJob, desk: Path) -> list[Path]:
        """Link the objects of each series into a folder; its name is the same every time, because
        results may quote it.
        """
        folders = []
        for number, files in enumerate(job.payload["series"], 1):
            folder = desk / f"series-{number}"
            folder.mkdir(parents=True)
            for place, file in enumerate(files, 1):
                target = folder / f"{place:05}.dcm"
                lay_out(self.land.folder / file, target, self.settings.node.largest)
            folders.append(folder)
        return folders

    def _finish(self, job: QueuedJob, found: TaskOutcome) -> None:
        """Mark the job as done, held or forwarded, with the jobs that follow."""
        route = self.settings.route(job.payload["route"])
        here = self.land.relative(self.land.results / job.key[:40])
        files = [f"{here}/{name}" for name in found.files]
        then = [
            send_job(f"{job.key}/result", peer, files, "result") for peer in route.send if files
        ]
        then += [
            NewJob(f"{job.key}/told/{peer}", f"peer:{peer}", "tell", {"file": f"{here}/{file}"})
            for peer, file in found.tell.items()
        ]
        details = {"route": route.name, "objects": len(files), "seconds": round(found.seconds, 1)}
        verdicts = {"verdicts": dict(found.verdicts), "stopped": list(found.stopped)}
        if not found.stopped:
            self.store.finish(job, then, Happened("task done", job.key, {**details, **verdicts}))
        elif route.on_refusal == "forward-original":
            happened = Happened("refused, originals forwarded", job.key, {**details, **verdicts})
            self.store.finish(job, self._originals(job, route), happened)
        else:
            happened = Happened("refused, held", job.key, {**details, **verdicts})
            self.store.finish(job, then, happened, held="; ".join(found.stopped))

    def _originals(self, job: QueuedJob, route: Route) -> list[NewJob]:
        files = sorted(file for series in job.payload["series"] for file in series)
        peers = dict.fromkeys((*route.send, *route.send_original))
        return [send_job(f"{job.key}/original", peer, files, "original") for peer in peers]


def produce(
    settings: NodeSettings, route: Route, series: Sequence[Path], folder: Path
) -> TaskOutcome:
    """Run the task of a route on series, and write its result as DICOM objects.

    Args:
        settings: of the node.
        route: with the task.
        series: a folder each.
        folder: for the objects.

    Raises:
        VeridicalError: the series does not fit the task; a policy that blocks does not raise, but
            stops the result.
    """
    from veridical.workflow import dicom_results

    start = time.monotonic()
    result = route.job()(_subject(route, series, settings), route.seed)
    verdicts = {finding.check: finding.verdict for finding in result.findings}
    stopped, files = route.stopped_by(result.findings), list[Path]()
    sources = [file for one in series for file in sorted(one.iterdir())]
    try:
        files = dicom_results.write(result, sources, folder / "objects", mark=route.mark)
    except PolicyError as error:
        stopped.append(str(error))
    tell = told(settings, route, result, sources, folder) if files else {}
    names = tuple(file.relative_to(folder).as_posix() for file in files)
    seconds = time.monotonic() - start
    return TaskOutcome(names, tell, tuple(stopped), verdicts, seconds)


def _subject(route: Route, series: Sequence[Path], settings: NodeSettings) -> Any:
    from veridical.io import assemble, files

    budget = int(settings.node.memory * GIB)
    if len(series) == 1:
        said: dict[str, Any] = {"contrast": route.contrast or None, "stack": route.stack or None}
        return files.read(series[0], budget=budget, **said)
    return assemble.read_together(series, contrast=route.contrast or None, budget=budget)


def told(
    settings: NodeSettings, route: Route, result: Result, sources: Sequence[Path], folder: Path
) -> dict[str, str]:
    """Write what each FHIR server of a route is to be told, and return its files."""
    found = {}
    for peer in route.tell:
        from veridical.apps import fhir

        place = folder / "fhir" / peer
        derived = folder / "objects"
        version = settings.peers[peer].version
        (file,) = fhir.send(result, sources, place, version=version, derived=derived)
        found[peer] = Path(file).relative_to(folder).as_posix()
    return found
