"""The queue in PostgreSQL: several workers or machines.

A claim passes over rows that others are claiming (`FOR UPDATE SKIP LOCKED`), so workers do not wait
for one another. PostgreSQL flushes at every commit (`synchronous_commit = on`, asked for here).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from veridical.apps.node.sql_store import Query, SqlStore, rows_of
from veridical.errors import MissingExtra

GUARDS = (
    "CREATE OR REPLACE FUNCTION veridical_append_only() RETURNS trigger AS $$ "
    "BEGIN RAISE EXCEPTION 'the record is append-only'; END $$ LANGUAGE plpgsql",
    "CREATE OR REPLACE TRIGGER record_kept BEFORE UPDATE OR DELETE ON record "
    "FOR EACH ROW EXECUTE FUNCTION veridical_append_only()",
)
PREPARING = 7285093
"""Number of the lock that lets one process at a time make the tables."""


class PostgresStore(SqlStore):
    """A `JobStore` in a database, whose tables are made when they are missing.

    Args:
        address: as libpq takes it: `postgresql://user@host:port/name`.

    Raises:
        MissingExtra: psycopg is not installed.
    """

    skip_locked = "FOR UPDATE SKIP LOCKED"
    serial, real = "BIGSERIAL PRIMARY KEY", "DOUBLE PRECISION"

    def __init__(self, address: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtra(
                "A queue in PostgreSQL needs psycopg: pip install 'veridical[postgres]'."
            ) from error
        self._connect: Callable[[], Any] = lambda: psycopg.connect(address)
        self._lost = (psycopg.OperationalError, psycopg.InterfaceError)
        self._turn = threading.Lock()
        self._connection: Any = None
        self.prepare(GUARDS)

    def prepare(self, guards: Any) -> None:
        """Make the tables; processes that start together take turns."""
        with self.transaction() as query:
            query("SELECT pg_advisory_lock(?)", PREPARING)
        try:
            super().prepare(guards)
        finally:
            with self.transaction() as query:
                query("SELECT pg_advisory_unlock(?)", PREPARING)

    @contextmanager
    def transaction(self, writes: bool = True) -> Iterator[Query]:
        with self._turn:
            if self._connection is None or self._connection.closed:
                self._connection = self._connect()
                self._connection.execute("SET synchronous_commit = on")
                self._connection.commit()
            connection = self._connection

            def query(statement: str, *values: object) -> list[object]:
                return list(
                    rows_of(connection.execute(statement.replace("?", "%s"), values or None))
                )

            try:
                yield query
                connection.commit()
            except self._lost:
                connection.close()
                raise
            except BaseException:
                connection.rollback()
                raise

    def close(self) -> None:
        with self._turn:
            if self._connection is not None:
                self._connection.close()
