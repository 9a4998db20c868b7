"""The queue in SQL, for any database; what differs between two of them lies in their own files."""

from __future__ import annotations

import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from veridical.apps.node.job_store import (
    Happened,
    Instance,
    LeaseLost,
    Level,
    NewJob,
    QueuedJob,
    Received,
)

Query = Callable[..., list[Any]]
"""Runs one statement with `?` for its values, and returns its rows."""
VERSION = "1"
TABLES = (
    "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS objects (id {serial}, sop TEXT NOT NULL, sop_class TEXT NOT NULL, "
    "syntax TEXT NOT NULL, sha256 TEXT NOT NULL, path TEXT NOT NULL, size BIGINT NOT NULL, "
    "caller TEXT NOT NULL, received {real} NOT NULL, state TEXT NOT NULL, study TEXT NOT NULL, "
    "series TEXT NOT NULL, facts TEXT NOT NULL, UNIQUE (sop, sha256))",
    "CREATE INDEX IF NOT EXISTS objects_state ON objects (state) WHERE state = 'unread'",
    "CREATE INDEX IF NOT EXISTS objects_series ON objects (series)",
    "CREATE INDEX IF NOT EXISTS objects_study ON objects (study)",
    "CREATE TABLE IF NOT EXISTS waiting (level TEXT NOT NULL, uid TEXT NOT NULL, "
    "first {real} NOT NULL, last {real} NOT NULL, PRIMARY KEY (level, uid))",
    "CREATE TABLE IF NOT EXISTS jobs (id {serial}, key TEXT NOT NULL UNIQUE, lane TEXT NOT NULL, "
    "kind TEXT NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, "
    "failures INTEGER NOT NULL, owner TEXT NOT NULL, reason TEXT NOT NULL, due {real} NOT NULL, "
    "lease {real} NOT NULL, followers TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS jobs_ready ON jobs (lane, due) WHERE state = 'ready'",
    "CREATE TABLE IF NOT EXISTS record (id {serial}, time {real} NOT NULL, what TEXT NOT NULL, "
    "subject TEXT NOT NULL, details TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS record_subject ON record (subject)",
)
JOB = "id, key, lane, kind, payload, state, attempts, failures, owner, reason, due"
INSTANCE = "id, sop, sha256, path, study, series, facts"


class SqlStore(ABC):
    """A `JobStore` in SQL. A subclass brings the connection and the dialect."""

    skip_locked = ""
    """What makes a claim pass over rows that others are claiming."""
    serial, real = "INTEGER PRIMARY KEY AUTOINCREMENT", "REAL"

    @abstractmethod
    def transaction(self, writes: bool = True) -> AbstractContextManager[Query]:
        """Begin a transaction. What it writes is on disk when the block has ended, or undone when
        that raised an error.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    def prepare(self, guards: Sequence[str]) -> None:
        """Make the tables where they are missing.

        Args:
            guards: statements of the dialect that keep the record append-only.
        """
        with self.transaction() as query:
            for statement in TABLES:
                query(statement.format(serial=self.serial, real=self.real))
            for statement in guards:
                query(statement)
            for name, value in (("version", VERSION), ("salt", secrets.token_hex(16))):
                query("INSERT INTO about VALUES (?, ?) ON CONFLICT DO NOTHING", name, value)

    def salt(self) -> str:
        with self.transaction(writes=False) as query:
            return str(query("SELECT value FROM about WHERE name = 'salt'")[0][0])

    # objects

    def receive(self, *received: Received) -> int:
        with self.transaction() as query:
            new = [
                query(
                    "INSERT INTO objects (sop, sop_class, syntax, sha256, path, size, caller, "
                    "received, state, study, series, facts) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'unread', '', '', '{}') "
                    "ON CONFLICT DO NOTHING RETURNING id",
                    *(one.sop, one.sop_class, one.syntax, one.sha256),
                    *(one.path, one.size, one.caller, time.time()),
                )
                for one in received
            ]
        return sum(map(len, new))

    def holds(self, sop: str, sha256: str = "") -> bool:
        with self.transaction(writes=False) as query:
            found = query(
                "SELECT 1 FROM objects WHERE sop = ? AND (? = '' OR sha256 = ?) "
                "AND state <> 'unreadable' LIMIT 1",
                *(sop, sha256, sha256),
            )
        return bool(found)

    def paths(self) -> set[str]:
        with self.transaction(writes=False) as query:
            return {row[0] for row in query("SELECT path FROM objects")}

    def unread(self, limit: int) -> list[tuple[int, Received]]:
        with self.transaction(writes=False) as query:
            rows = query(
                "SELECT id, sop, sop_class, syntax, sha256, path, size, caller FROM objects "
                "WHERE state = 'unread' ORDER BY id LIMIT ?",
                limit,
            )
        return [(row[0], Received(*row[1:])) for row in rows]

    def read(self, instances: Sequence[Instance], unreadable: Mapping[int, str]) -> None:
        now, waiting = time.time(), dict[tuple[str, str], None]()
        with self.transaction() as query:
            for one in instances:
                changed = query(
                    "UPDATE objects SET state = 'read', study = ?, series = ?, facts = ? "
                    "WHERE id = ? AND state = 'unread' RETURNING id",
                    *(one.study, one.series, json.dumps(dict(one.facts)), one.id),
                )
                if changed:
                    waiting |= {("series", one.series): None, ("study", one.study): None}
            for level, uid in waiting:
                query(
                    "INSERT INTO waiting VALUES (?, ?, ?, ?) ON CONFLICT (level, uid) "
                    "DO UPDATE SET last = excluded.last",
                    *(level, uid, now, now),
                )
            for id_, reason in unreadable.items():
                query("UPDATE objects SET state = 'unreadable' WHERE id = ?", id_)
                _note(query, Happened("unreadable", f"object {id_}", {"reason": reason}))

    # grouping

    def listen(self) -> None:
        with self.transaction() as query:
            query("UPDATE waiting SET last = ?", time.time())

    def quiet(self, level: Level, since: float, forced: float) -> list[tuple[str, float]]:
        with self.transaction(writes=False) as query:
            rows = query(
                "SELECT uid, last FROM waiting WHERE level = ? AND (last <= ? OR first <= ?) "
                "ORDER BY first",
                *(level, since, forced),
            )
        return [(row[0], row[1]) for row in rows]

    def members(self, level: Level, uid: str) -> list[Instance]:
        with self.transaction(writes=False) as query:
            rows = query(
                f"SELECT {INSTANCE} FROM objects WHERE {level} = ? AND state = 'read' ORDER BY id",
                uid,
            )
        newest = {}
        for id_, sop, sha256, path, study, series, facts in rows:
            newest[sop] = Instance(id_, sop, sha256, path, study, series, json.loads(facts))
        return sorted(newest.values(), key=lambda one: one.sop)

    def gathered(
        self, level: Level, uid: str, last: float, jobs: Sequence[NewJob], happened: Happened | None
    ) -> bool:
        with self.transaction() as query:
            still = query(
                "DELETE FROM waiting WHERE level = ? AND uid = ? AND last = ? RETURNING uid",
                *(level, uid, last),
            )
            if still:
                added = _add(query, jobs)
                if happened and (added or not jobs):
                    _note(query, happened)
        return bool(still)

    # jobs

    def add(self, jobs: Sequence[NewJob], happened: Happened | None = None) -> int:
        with self.transaction() as query:
            added = _add(query, jobs)
            if added and happened:
                _note(query, happened)
        return added

    def claim(self, lane: str, owner: str, seconds: float) -> QueuedJob | None:
        now = time.time()
        with self.transaction() as query:
            rows = query(
                "UPDATE jobs SET owner = ?, lease = ?, attempts = attempts + 1 WHERE id = "
                "(SELECT id FROM jobs WHERE state = 'ready' AND lane = ? AND due <= ? "
                f"AND lease <= ? ORDER BY due, id LIMIT 1 {self.skip_locked}) RETURNING {JOB}",
                *(owner, now + seconds, lane, now, now),
            )
        return _job(rows[0]) if rows else None

    def extend(self, job: QueuedJob, seconds: float) -> None:
        with self.transaction() as query:
            _owned(query, job, "lease = ?", time.time() + seconds)

    def finish(
        self, job: QueuedJob, then: Sequence[NewJob], happened: Happened, held: str = ""
    ) -> None:
        with self.transaction() as query:
            if held:
                later = json.dumps([[n.key, n.lane, n.kind, dict(n.payload)] for n in then])
                change = "state = 'held', reason = ?, followers = ?, lease = 0"
                _owned(query, job, change, held, later)
            else:
                _owned(query, job, "state = 'done', reason = '', lease = 0")
                _add(query, then)
            _note(query, happened)

    def fail(self, job: QueuedJob, reason: str, again: float | None, happened: Happened) -> None:
        state = "dead" if again is None else "ready"
        with self.transaction() as query:
            change = "state = ?, reason = ?, due = ?, failures = failures + 1, lease = 0"
            _owned(query, job, change, state, reason, again or job.due)
            _note(query, happened)

    def abandoned(self, owner: str) -> list[QueuedJob]:
        with self.transaction(writes=False) as query:
            rows = query(
                f"SELECT {JOB} FROM jobs WHERE state = 'ready' AND lease > ? "
                "AND substr(owner, 1, ?) = ?",
                *(time.time(), len(owner), owner),
            )
        return [_job(row) for row in rows]

    def give_back(self, job: QueuedJob) -> None:
        with self.transaction() as query:
            _owned(query, job, "lease = 0")

    def release(self, id: int, who: str) -> bool:
        with self.transaction() as query:
            found = query(
                "UPDATE jobs SET failures = 0, due = ?, lease = 0, owner = '', state = "
                "CASE state WHEN 'dead' THEN 'ready' ELSE 'done' END "
                "WHERE id = ? AND state IN ('dead', 'held') RETURNING key, followers",
                *(time.time(), id),
            )
            for key, followers in found:
                _add(query, [NewJob(*one) for one in json.loads(followers)])
                _note(query, Happened("released", key, {"who": who, "job": id}))
        return bool(found)

    # looking

    def jobs(self, states: Sequence[str] = (), lane: str = "") -> list[QueuedJob]:
        asked = states or ("ready", "done", "dead", "held")
        marks = ", ".join("?" * len(asked))
        with self.transaction(writes=False) as query:
            rows = query(
                f"SELECT {JOB} FROM jobs WHERE state IN ({marks}) AND (? = '' OR lane = ?) "
                "ORDER BY id",
                *(*asked, lane, lane),
            )
        return [_job(row) for row in rows]

    def happened(self, last: int, subject: str = "") -> list[Happened]:
        with self.transaction(writes=False) as query:
            rows = query(
                "SELECT what, subject, details, time FROM record WHERE substr(subject, 1, ?) = ? "
                "ORDER BY id DESC LIMIT ?",
                *(len(subject), subject, last),
            )
        return [Happened(row[0], row[1], json.loads(row[2]), row[3]) for row in reversed(rows)]

    def record(self, happened: Happened) -> None:
        with self.transaction() as query:
            _note(query, happened)

    def counts(self) -> dict[str, int]:
        with self.transaction(writes=False) as query:
            objects = query("SELECT state, count(*) FROM objects GROUP BY state")
            jobs = query("SELECT lane, state, count(*) FROM jobs GROUP BY lane, state")
            waiting = query("SELECT level, count(*) FROM waiting GROUP BY level")
        return (
            {f"objects {state}": count for state, count in objects}
            | {f"waiting {level}": count for level, count in waiting}
            | {f"{lane} {state}": count for lane, state, count in jobs}
        )


def _add(query: Query, jobs: Sequence[NewJob]) -> int:
    now = time.time()
    return sum(
        len(
            query(
                "INSERT INTO jobs (key, lane, kind, payload, state, attempts, failures, owner, "
                "reason, due, lease, followers) "
                "VALUES (?, ?, ?, ?, 'ready', 0, 0, '', '', ?, 0, '[]') "
                "ON CONFLICT DO NOTHING RETURNING id",
                *(job.key, job.lane, job.kind, json.dumps(dict(job.payload)), now),
            )
        )
        for job in jobs
    )


def _owned(query: Query, job: QueuedJob, change: str, *values: Any) -> None:
    """Change a job that its worker still holds: same owner, same attempt, still to be done."""
    rows = query(
        f"UPDATE jobs SET {change} WHERE id = ? AND owner = ? AND attempts = ? "
        "AND state = 'ready' RETURNING id",
        *(*values, job.id, job.owner, job.attempts),
    )
    if not rows:
        raise LeaseLost(f"Job {job.id} is no longer that of {job.owner}; its work is dropped.")


def _note(query: Query, happened: Happened) -> None:
    query(
        "INSERT INTO record (time, what, subject, details) VALUES (?, ?, ?, ?)",
        *(time.time(), happened.what, happened.subject, json.dumps(dict(happened.details))),
    )


def _job(row: Sequence[Any]) -> QueuedJob:
    id_, key, lane, kind, payload, *rest = row
    return QueuedJob(id_, key, lane, kind, json.loads(payload), *rest)


def rows_of(cursor: Any) -> Iterator[Any]:
    """Yield the rows of a statement that has some."""
    if cursor.description is not None:
        yield from cursor.fetchall()
