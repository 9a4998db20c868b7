"""One transaction for all rows that wait: several associations share the way to the disk.

A commit costs the disk the same for one row as for ten. While one group is on its way, the next
one gathers; nobody waits for company. Files are flushed by each association for itself, which the
file system merges: doing that in the group too was a third slower.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from veridical.apps.node.job_store import JobStore, Received


@dataclass
class _Waiting:
    row: Received
    done: bool = False
    problem: Exception | None = None


class GroupCommit:
    """Makes rows of objects durable.

    Args:
        store: the queue.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._gathering, self._turn = threading.Lock(), threading.Lock()
        self._waiting: list[_Waiting] = []

    def add(self, row: Received) -> None:
        """Return when a row is on disk.

        Args:
            row: of an object whose file is on disk already.

        Raises:
            Exception: of the database, of whichever kind; there is no such row then.
        """
        mine = _Waiting(row)
        with self._gathering:
            self._waiting.append(mine)
        with self._turn:
            if not mine.done:
                self._commit()
        if mine.problem is not None:
            raise mine.problem

    def _commit(self) -> None:
        """Make all that waits durable."""
        with self._gathering:
            group, self._waiting = self._waiting, []
        problem = None
        try:
            self._store.receive(*(one.row for one in group))
        except Exception as error:  # each sender of the group hears of it
            problem = error
        for one in group:
            one.done, one.problem = True, problem
