"""The queue in a file of SQLite: one machine, any number of processes and threads.

A write-ahead log that is flushed at every commit (`synchronous = FULL`): what was committed is
there after a crash or a power cut, as https://www.sqlite.org/pragma.html#pragma_synchronous says.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veridical.apps.node.sql_store import Query, SqlStore, rows_of

PATIENCE = 60.0
"""Seconds that a writer waits for the others."""
GUARDS = (
    "CREATE TRIGGER IF NOT EXISTS record_kept BEFORE DELETE ON record "
    "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS record_unchanged BEFORE UPDATE ON record "
    "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END",
)


class SqliteStore(SqlStore):
    """A `JobStore` in a file, made when it is missing.

    Args:
        file: where.
    """

    def __init__(self, file: str | Path) -> None:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        self._turn = threading.Lock()
        self._connection = sqlite3.connect(
            file, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self.prepare(GUARDS)

    @contextmanager
    def transaction(self, writes: bool = True) -> Iterator[Query]:
        connection = self._connection

        def query(statement: str, *values: object) -> list[object]:
            return list(rows_of(connection.execute(statement, values)))

        with self._turn:  # threads of one process take turns; other processes wait in BEGIN
            connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            try:
                yield query
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._turn:
            self._connection.close()
