"""From objects to jobs: headers are read, and what has fallen quiet goes to the first route that
fits.

The key of a job is a hash of what it is made from and how. A series that did not change makes no
second job; one that grew makes a new one, the next version.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridical.apps.node.job_store import (
    Happened,
    Instance,
    JobStore,
    Level,
    NewJob,
    Received,
)
from veridical.apps.node.landing import Land, drop
from veridical.apps.node.objects import examined, facts_of_series
from veridical.apps.node.routes import Route, first_fitting
from veridical.apps.node.settings import NodeSettings
from veridical.errors import VeridicalError

BATCH = 200
"""Objects that are read before the quiet ones are looked for."""
DEADLY = 5
"""Times in a row that reading one object may end the process before it is put aside."""


@dataclass(frozen=True)
class Gatherer:
    """Reads and groups what was received.

    Args:
        settings: of the node.
        store: its queue.
        land: its folder.
        hashed: turns a UID into what the record may hold.
    """

    settings: NodeSettings
    store: JobStore
    land: Land
    hashed: Callable[[str], str]

    def step(self) -> bool:
        """Read some headers, then gather what is quiet; say whether there was anything to read."""
        unread = self.store.unread(BATCH)
        note = self.land.folder / "reading"
        suspect, times = _noted(note)
        good, bad = list[Instance](), dict[int, str]()
        for id_, received in unread:
            tried = times + 1 if id_ == suspect else 1
            note.write_text(json.dumps([id_, tried]), encoding="utf-8")
            if tried > DEADLY:
                bad[id_] = f"Reading it ended the process {DEADLY} times."
            else:
                self._read(id_, received, good, bad)
        if unread:
            self.store.read(good, bad)
            drop(note)
        else:
            self.gather(time.time())
        return bool(unread)

    def _read(
        self, id_: int, received: Received, good: list[Instance], bad: dict[int, str]
    ) -> None:
        """Read one header."""
        path = self.land.folder / received.path
        try:
            study, series, facts = examined(path, received, self.settings.node.largest)
        except VeridicalError as error:
            bad[id_] = str(error)
        except Exception as error:  # its text may hold a name
            bad[id_] = f"It cannot be read ({type(error).__name__})."
        else:
            row = received.sop, received.sha256, received.path
            good.append(Instance(id_, *row, study, series, facts))

    def gather(self, now: float) -> None:
        """Make jobs of the series and studies that are quiet at a time."""
        node = self.settings.node
        levels: tuple[tuple[Level, float], ...] = (
            ("series", node.series_quiet),
            ("study", node.study_quiet),
        )
        for level, quiet in levels:
            for uid, last in self.store.quiet(level, now - quiet, now - node.longest_wait):
                members = self.store.members(level, uid)
                jobs, taken = self._jobs(level, uid, members)
                happened = self._happened(level, uid, taken, members, jobs) if taken else None
                self.store.gathered(level, uid, last, jobs, happened)

    def _happened(
        self,
        level: Level,
        uid: str,
        routes: Sequence[str | None],
        members: Sequence[Instance],
        jobs: Sequence[NewJob],
    ) -> Happened:
        """Return what the record says of a series or study: which version of it goes where, and the
        beginning of the key of its job, under which the record goes on.
        """
        subject, what = self.hashed(uid), f"{level} complete"
        earlier = [one.what for one in self.store.happened(1000, subject)].count(what)
        named = [name for name in routes if name is not None]
        details = {"objects": len(members), "routes": named, "version": earlier + 1}
        details["jobs"] = sorted({job.key[:16] for job in jobs})
        return Happened(what if named else f"{level} without a route", subject, details)

    def _jobs(
        self, level: Level, uid: str, members: Sequence[Instance]
    ) -> tuple[list[NewJob], list[str | None]]:
        """Return the jobs of a series or study, and the names of their routes; None for a series
        that no route takes. What goes with the other level is not named.
        """
        taken: dict[str | None, list[Instance]] = {}
        for series in dict.fromkeys(one.series for one in members):
            those = [one for one in members if one.series == series]
            facts = facts_of_series([one.facts for one in those])
            route = first_fitting(self.settings.routes, facts)
            if route is None and level == "series":
                taken[None] = those
            elif route is not None and route.group == level:
                taken.setdefault(route.name, []).extend(those)
        jobs = [
            job
            for name, those in taken.items()
            if name is not None
            for job in jobs_of(self.settings.route(name), uid, those)
        ]
        return jobs, list(taken)


def _noted(note: Path) -> tuple[int, int]:
    """Return which object a process that died was reading, and how many did so before it."""
    try:
        id_, times = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0, 0
    return int(id_), int(times)


def jobs_of(route: Route, uid: str, members: Sequence[Instance]) -> list[NewJob]:
    """Return the jobs of a route on a series or study.

    Args:
        route: that takes it.
        uid: of the series or study.
        members: its objects.
    """
    content = sorted((one.sop, one.sha256) for one in members)
    made = [route.task, route.settings, route.seed, route.mark, route.contrast, route.stack]
    digest = hashlib.sha256(
        json.dumps([route.name, uid, made, content], sort_keys=True, default=str).encode()
    ).hexdigest()
    files = [one.path for one in members]
    jobs = [send_job(f"{digest}/original", name, files, "original") for name in route.send_original]
    if route.task:
        ordered = sorted(members, key=_order)
        series = {
            one.series: [o.path for o in ordered if o.series == one.series] for one in ordered
        }
        payload: dict[str, Any] = {"route": route.name, "uid": uid, "series": list(series.values())}
        jobs.append(NewJob(digest, "run", "run", payload))
    return jobs


def _order(one: Instance) -> tuple[float, str, float, str]:
    numbers = one.facts.get("series_number", 0.0), one.facts.get("number", 0.0)
    return numbers[0], one.series, numbers[1], one.sop


def send_job(key: str, peer: str, files: Sequence[str], what: str) -> NewJob:
    """Return the job to send files to a peer.

    Args:
        key: of what is sent.
        peer: its name.
        files: relative to the node's folder.
        what: original or result.
    """
    payload = {"files": list(files), "what": what}
    return NewJob(f"{key}/{peer}", f"peer:{peer}", "send", payload)
