"""The ledger: an append-only list of what was made by which model from what, with which findings,
and who released it. Each line holds the hash of the line before.

A line is on disk before `append` returns: SQLite commits it with a flush. Writers wait for one
another, so that the chain never forks. The chain shows what was changed by someone who does not
write all of it anew; keep its head elsewhere to find that too. There are hashes and pseudonyms in
it, and no patient data.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from veridical.errors import FormatError, InputError, SettingError, nearest

Kind = Literal["result", "blocked", "audit", "release"]
START = hashlib.sha256(b"veridical-ledger-1").hexdigest()
"""What the first line holds as the hash of the one before."""
PATIENCE = 30.0
"""Seconds that a writer waits for the others."""
VERSION = 1
"""Of the tables, in the file's `user_version`."""
TABLES = (
    "CREATE TABLE lines (number INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT "
    "NOT NULL, content TEXT NOT NULL, before TEXT NOT NULL, sha256 TEXT NOT NULL)",
    "CREATE TABLE head (number INTEGER NOT NULL, sha256 TEXT NOT NULL)",
    "CREATE TABLE salt (value TEXT NOT NULL)",
    "CREATE TRIGGER kept BEFORE DELETE ON lines "
    "BEGIN SELECT RAISE(ABORT, 'a ledger is append-only'); END",
    "CREATE TRIGGER unchanged BEFORE UPDATE ON lines "
    "BEGIN SELECT RAISE(ABORT, 'a ledger is append-only'); END",
)


@dataclass(frozen=True)
class Line:
    """One line of a ledger.

    Args:
        number: from 1 on.
        time: when it was written, UTC, ISO 8601.
        kind: `result` was written, `blocked` by the policy, `audit` was made, or `release` by a
            person.
        content: plain values, as JSON.
        before: hash of the line before.
        sha256: of all of these.
    """

    number: int
    time: str
    kind: str
    content: str
    before: str
    sha256: str

    @property
    def says(self) -> dict[str, Any]:
        """The content as plain values."""
        return dict(json.loads(self.content))

    def hashed(self, number: int | None = None) -> str:
        """Return the hash that the line must have, or that it would have in another place."""
        place = self.number if number is None else number
        return _sha256(canonical([place, self.time, self.kind, self.content, self.before]))


class Ledger:
    """A ledger in a file of SQLite; made when it is not there.

    Args:
        path: of the file. It must lie on a drive of this machine: SQLite's locks do not hold over
            most network drives.
        create: make it when it is missing.

    Raises:
        InputError: the file cannot be opened, or is missing and must not be made.
        FormatError: it is no ledger.
    """

    def __init__(self, path: str | Path, create: bool = True) -> None:
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise InputError(
                f"There is no ledger at {self.path}. Lines are written where VERIDICAL_LEDGER or "
                "--ledger names a file."
            )
        if create:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                _make(database)

    def append(self, kind: Kind, content: Mapping[str, Any]) -> Line:
        """Write one line; it is on disk when this returns.

        Args:
            kind: of the line.
            content: plain values without patient data.

        Raises:
            SettingError: no such kind.
            InputError: another process holds the ledger for longer than half a minute.
        """
        if kind not in get_args(Kind):
            raise SettingError(
                f"There is no line of kind {kind!r}. {nearest(kind, get_args(Kind))}"
            )
        text = canonical(content)
        with self._open() as database, _writing(database):
            number, before = database.execute("SELECT number, sha256 FROM head").fetchone()
            line = Line(number + 1, datetime.now(UTC).isoformat(), kind, text, before, "")
            line = replace(line, sha256=line.hashed())
            database.execute("INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?)", astuple(line))
            database.execute("UPDATE head SET number = ?, sha256 = ?", (line.number, line.sha256))
        return line

    def lines(self) -> Iterator[Line]:
        """Yield all lines in the order of their numbers."""
        with self._open() as database:
            for row in database.execute("SELECT * FROM lines ORDER BY number"):
                yield Line(*row)

    def head(self) -> tuple[int, str]:
        """Return number and hash of the last line; number 0 where there is none."""
        with self._open() as database:
            number, sha256 = database.execute("SELECT number, sha256 FROM head").fetchone()
        return int(number), str(sha256)

    def pseudonym(self, name: str) -> str:
        """Return what a name is called here: a hash with the ledger's own salt.

        Who has the ledger and guesses the name can confirm the guess.
        """
        with self._open() as database:
            (salt,) = database.execute("SELECT value FROM salt").fetchone()
        return _sha256(f"{salt}{name}")[:16]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(
                sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
            ) as database:
                database.execute("PRAGMA synchronous = FULL")
                yield database
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise FormatError(
                    f"{self.path} is no ledger ({error}). Give a new file, or the right one."
                ) from error
            raise InputError(
                f"The ledger {self.path} cannot be used ({error}). Check its folder, permissions "
                "and space; it must lie on a drive of this machine."
            ) from error
        except sqlite3.DatabaseError as error:
            raise FormatError(
                f"{self.path} is no ledger ({error}). Give a new file, or the right one."
            ) from error


def _make(database: sqlite3.Connection) -> None:
    """Make the tables of a new ledger; of several who come at once, the first does.

    Raises:
        sqlite3.DatabaseError: the file is another database.
    """
    if database.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        return
    if _tables(database):
        raise sqlite3.DatabaseError("it is another database")
    _write_ahead(database)
    with _writing(database):
        if _tables(database):
            return
        for statement in TABLES:
            database.execute(statement)
        database.execute("INSERT INTO head VALUES (0, ?)", (START,))
        database.execute("INSERT INTO salt VALUES (?)", (os.urandom(16).hex(),))
        database.execute(f"PRAGMA user_version = {VERSION}")


def _tables(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _write_ahead(database: sqlite3.Connection) -> None:
    """Let readers read while one writes; SQLite does not wait by itself for this change."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


@contextmanager
def _writing(database: sqlite3.Connection) -> Iterator[None]:
    """Hold the only right to write from the first read on, so that the chain cannot fork."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def canonical(value: Any) -> str:
    """Return plain values as JSON in one form: keys sorted, no spaces.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
