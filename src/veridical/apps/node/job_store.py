"""The node's memory: what was received, what is to be done, and what happened.

All that must survive a crash is a row here or a file that a row names. `JobStore` says what the
node needs of it; SQLite serves one machine, PostgreSQL several workers or machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from veridical.errors import VeridicalError

Level = Literal["series", "study"]
State = Literal["ready", "done", "dead", "held"]


class LeaseLost(VeridicalError):
    """A job took longer than its lease, and another worker has it now; what was done is dropped."""


@dataclass(frozen=True)
class Received:
    """An object as it arrived; nothing of it was decoded.

    Args:
        sop: SOP Instance UID.
        sop_class, syntax: UIDs of class and transfer syntax.
        sha256: of the file.
        path: of the file, relative to the node's folder.
        size: bytes.
        caller: AE title that sent it.
    """

    sop: str
    sop_class: str
    syntax: str
    sha256: str
    path: str
    size: int
    caller: str


@dataclass(frozen=True)
class Instance:
    """A received object that was read: to which series it belongs, and what its header says."""

    id: int
    sop: str
    sha256: str
    path: str
    study: str
    series: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class NewJob:
    """A job to be put into the queue.

    Args:
        key: idempotency key; a job whose key is there already is not added again.
        lane: who may claim it: `run`, or `peer:NAME`.
        kind: what is done: run, send, commit, tell.
        payload: what it needs, as JSON values.
    """

    key: str
    lane: str
    kind: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class QueuedJob:
    """A job of the queue.

    Args:
        id: of the row.
        key, lane, kind, payload: as in what was added.
        state: ready (or leased: `owner` works on it), done, dead (a dead letter) or held.
        attempts: how often it was claimed; with the owner it tells whose claim is the last.
        failures: how often it failed since it was added or released.
        owner: who claimed it last.
        reason: of the last failure, or why it is held.
        due: when it may be claimed, seconds since 1970.
    """

    id: int
    key: str
    lane: str
    kind: str
    payload: Mapping[str, Any]
    state: str
    attempts: int
    failures: int
    owner: str
    reason: str
    due: float


@dataclass(frozen=True)
class Happened:
    """A line of the append-only record."""

    what: str
    subject: str = ""
    """Hashed UID of the series or study, or the key of a job."""
    details: Mapping[str, Any] = field(default_factory=dict)
    time: float = 0.0


class JobStore(Protocol):
    """What the node needs of its queue. Every method is one transaction, durable when it returns.

    Times are seconds since 1970.
    """

    def close(self) -> None:
        """Close the connection."""

    def salt(self) -> str:
        """Return the secret with which UIDs are hashed for the log."""

    def receive(self, *received: Received) -> int:
        """Note objects, all or none, and return how many are new: the same bytes of the same object
        are noted once.
        """

    def holds(self, sop: str, sha256: str = "") -> bool:
        """Say whether an object is here; with these bytes, where a hash is given."""

    def paths(self) -> set[str]:
        """Return the paths of all files that rows name."""

    def unread(self, limit: int) -> list[tuple[int, Received]]:
        """Return objects whose header was not read yet."""

    def read(self, instances: Sequence[Instance], unreadable: Mapping[int, str]) -> None:
        """Note what headers say; their series and studies are then waiting for quiet. What cannot
        be used, row and reason, is kept all the same.
        """

    def listen(self) -> None:
        """Start the quiet times of all that waits anew: nobody could send while the node was
        down.
        """

    def quiet(self, level: Level, since: float, forced: float) -> list[tuple[str, float]]:
        """Return the UIDs of the series or studies without news after `since`, or waiting since
        before `forced`, each with the time of its last object.
        """

    def members(self, level: Level, uid: str) -> list[Instance]:
        """Return what is known of a series or study: of each object the newest."""

    def gathered(
        self, level: Level, uid: str, last: float, jobs: Sequence[NewJob], happened: Happened | None
    ) -> bool:
        """Add the jobs of a series or study and let it wait no longer; False, and nothing is done,
        where something arrived after `last`.
        """

    def add(self, jobs: Sequence[NewJob], happened: Happened | None = None) -> int:
        """Add jobs whose keys are new, and return how many were."""

    def claim(self, lane: str, owner: str, seconds: float) -> QueuedJob | None:
        """Lease the job of a lane that is longest due; None where there is none."""

    def extend(self, job: QueuedJob, seconds: float) -> None:
        """Lengthen a lease. Raises LeaseLost."""

    def finish(
        self, job: QueuedJob, then: Sequence[NewJob], happened: Happened, held: str = ""
    ) -> None:
        """Mark a job as done and add those that follow, or hold it with them for a person to
        release. Raises LeaseLost.
        """

    def fail(self, job: QueuedJob, reason: str, again: float | None, happened: Happened) -> None:
        """Let a job be tried again at a time, or make it a dead letter. Raises LeaseLost."""

    def abandoned(self, owner: str) -> list[QueuedJob]:
        """Return the jobs on which owners whose names begin so still hold a lease."""

    def give_back(self, job: QueuedJob) -> None:
        """End a lease before its time, as if it had not been claimed. Raises LeaseLost."""

    def release(self, id: int, who: str) -> bool:
        """Send a dead letter again, or let a held job's followers go; False for other jobs."""

    def jobs(self, states: Sequence[str] = (), lane: str = "") -> list[QueuedJob]:
        """Return jobs, the newest last."""

    def happened(self, last: int, subject: str = "") -> list[Happened]:
        """Return the last lines of the record whose subject begins so."""

    def record(self, happened: Happened) -> None:
        """Add a line to the record."""

    def counts(self) -> dict[str, int]:
        """Return how many objects and jobs are in which state: `objects read`, `run done`, ..."""


def open_store(database: str, file: Any) -> JobStore:
    """Open the queue: of PostgreSQL where an address is given, else the file of SQLite."""
    if database:
        from veridical.apps.node.postgres_store import PostgresStore

        return PostgresStore(database)
    from veridical.apps.node.sqlite_store import SqliteStore

    return SqliteStore(file)
