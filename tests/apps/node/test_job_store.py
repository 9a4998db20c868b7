"""The queue, on SQLite and on a real PostgreSQL: the same laws."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from veridical.apps.node.job_store import (
    Happened,
    Instance,
    JobStore,
    LeaseLost,
    NewJob,
    QueuedJob,
    Received,
)

Connect = Callable[[], JobStore]
DONE = Happened("done")


def received(number: int, sha256: str = "a") -> Received:
    return Received(f"1.2.{number}", "1.2.840", "1.2", sha256, f"objects/{number}{sha256}", 5, "CT")


def new(key: str, lane: str = "run") -> NewJob:
    return NewJob(key, lane, "run", {"files": [key]})


def arrived(store: JobStore, number: int, sha256: str = "a", series: str = "1.9") -> None:
    store.receive(received(number, sha256))
    read = [
        Instance(id_, one.sop, one.sha256, one.path, "1.8", series, {"number": number})
        for id_, one in store.unread(10)
    ]
    store.read(read, {})


def claimed(
    store: JobStore, lane: str = "run", owner: str = "w1", seconds: float = 60
) -> QueuedJob:
    job = store.claim(lane, owner, seconds)
    assert job is not None
    return job


def test_the_same_bytes_of_an_object_are_one_row_and_other_bytes_another(connect: Connect) -> None:
    store = connect()
    assert store.receive(received(1))
    assert not store.receive(received(1))
    assert store.receive(received(1, "b"))
    assert store.holds("1.2.1")
    assert store.holds("1.2.1", "b")
    assert not store.holds("1.2.1", "c")
    assert not store.holds("1.2.2")
    assert store.paths() == {"objects/1a", "objects/1b"}


def test_what_was_written_is_there_for_another_connection(connect: Connect) -> None:
    first = connect()
    first.receive(received(1))
    first.add([new("k")])
    second = connect()
    assert second.salt() == first.salt()
    assert [one.sop for _, one in second.unread(5)] == ["1.2.1"]
    assert [job.key for job in second.jobs()] == ["k"]


def test_a_job_is_added_once_by_its_key(connect: Connect) -> None:
    store = connect()
    assert store.add([new("a"), new("b")], Happened("added")) == 2
    assert store.add([new("a")], Happened("added")) == 0
    store.finish(claimed(store), [], DONE)
    assert store.add([new("a")]) == 0, "nor when it is done"
    assert [one.what for one in store.happened(9)] == ["added", "done"]


def test_of_many_workers_each_job_goes_to_one(connect: Connect) -> None:
    stores = [connect() for _ in range(4)]
    stores[0].add([new(f"k{number}") for number in range(40)])
    taken: list[str] = []

    def work(store: JobStore, owner: str) -> None:
        while job := store.claim("run", owner, 60):
            taken.append(job.key)
            store.finish(job, [], DONE)

    threads = [
        threading.Thread(target=work, args=(store, f"w{number}"))
        for number, store in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"k{number}" for number in range(40))


def test_a_lease_that_ran_out_passes_the_job_on_and_the_first_worker_cannot_finish_it(
    connect: Connect,
) -> None:
    store = connect()
    store.add([new("k")])
    first = claimed(store, owner="w1")
    assert store.claim("run", "w2", 60) is None
    with store.transaction() as query:  # type: ignore[attr-defined]
        query("UPDATE jobs SET lease = 0")
    second = claimed(store, owner="w2")
    for late in (
        lambda: store.finish(first, [new("twice")], DONE),
        lambda: store.fail(first, "why", None, DONE),
        lambda: store.extend(first, 60),
        lambda: store.give_back(first),
    ):
        with pytest.raises(LeaseLost):
            late()
    store.finish(second, [new("next", "peer:x")], DONE)
    assert [(job.key, job.state) for job in store.jobs()] == [("k", "done"), ("next", "ready")]
    with pytest.raises(LeaseLost):
        store.finish(second, [], DONE)


def test_the_same_owner_that_claims_again_is_told_from_its_earlier_claim(connect: Connect) -> None:
    store = connect()
    store.add([new("k")])
    first = claimed(store, seconds=0)
    second = claimed(store)
    with pytest.raises(LeaseLost):
        store.finish(first, [], DONE)
    store.extend(second, 60)


def test_lanes_do_not_see_each_other_and_what_is_not_due_waits(connect: Connect) -> None:
    store = connect()
    store.add([new("a", "peer:x"), new("b", "peer:y")])
    job = claimed(store, "peer:x")
    store.fail(job, "no answer", time.time() + 60, DONE)
    assert store.claim("peer:x", "w", 60) is None
    assert claimed(store, "peer:y").key == "b"


def test_a_failed_job_is_tried_again_and_a_dead_one_only_when_it_is_released(
    connect: Connect,
) -> None:
    store = connect()
    store.add([new("k")])
    store.fail(claimed(store), "first", time.time(), DONE)
    again = claimed(store)
    assert (again.failures, again.reason) == (1, "first")
    store.fail(again, "second", None, DONE)
    assert store.claim("run", "w", 60) is None
    (dead,) = store.jobs(("dead",))
    assert (dead.reason, dead.failures) == ("second", 2)
    assert store.release(dead.id, "somebody")
    assert not store.release(dead.id, "somebody"), "it is no longer dead"
    assert claimed(store).failures == 0
    assert store.happened(1)[0].details == {"who": "somebody", "job": dead.id}


def test_what_follows_a_held_job_waits_for_a_person(connect: Connect) -> None:
    store = connect()
    store.add([new("k")])
    store.finish(claimed(store), [new("send", "peer:x")], DONE, held="scope (fail)")
    assert store.claim("peer:x", "w", 60) is None
    (held,) = store.jobs(("held",))
    assert held.reason == "scope (fail)"
    assert store.release(held.id, "somebody")
    assert claimed(store, "peer:x").key == "send"
    assert store.jobs(("held",)) == []


def test_leases_of_a_dead_owner_can_be_found_and_given_back(connect: Connect) -> None:
    store = connect()
    store.add([new("a"), new("b")])
    claimed(store, owner="node_1:aa:work")
    claimed(store, owner="nodeX1:bb:work")
    (job,) = store.abandoned("node_1:")
    assert job.key == "a"
    store.give_back(job)
    assert claimed(store, owner="w").key == "a"
    assert store.claim("run", "v", 60) is None, "the other owner still has his"


def test_a_series_waits_for_quiet_and_is_gathered_once(connect: Connect) -> None:
    store = connect()
    arrived(store, 1)
    assert store.quiet("series", time.time() - 60, 0) == []
    ((uid, last),) = store.quiet("series", time.time() + 1, 0)
    assert uid == "1.9"
    assert store.quiet("series", 0, time.time() + 1) == [(uid, last)], "forced after a long wait"
    assert [row[0] for row in store.quiet("study", time.time() + 1, 0)] == ["1.8"]
    assert store.gathered("series", uid, last, [new("k")], DONE)
    assert store.quiet("series", time.time() + 1, 0) == []
    assert not store.gathered("series", uid, last, [new("other")], DONE)
    assert [job.key for job in store.jobs()] == ["k"]


def test_a_late_object_stops_what_is_being_gathered_and_makes_it_wait_again(
    connect: Connect,
) -> None:
    store = connect()
    arrived(store, 1)
    ((uid, last),) = store.quiet("series", time.time() + 1, 0)
    time.sleep(0.01)
    arrived(store, 2)
    assert not store.gathered("series", uid, last, [new("too early")], DONE)
    assert store.jobs() == []
    ((_, later),) = store.quiet("series", time.time() + 1, 0)
    assert later > last
    assert len(store.members("series", uid)) == 2


def test_quiet_time_starts_anew_when_the_node_listens_again(connect: Connect) -> None:
    store = connect()
    arrived(store, 1)
    before = time.time()
    time.sleep(0.01)
    store.listen()
    assert store.quiet("series", before, 0) == []


def test_of_an_object_that_came_with_other_bytes_the_newest_counts(connect: Connect) -> None:
    store = connect()
    arrived(store, 1, "a")
    arrived(store, 1, "b")
    assert [one.sha256 for one in store.members("series", "1.9")] == ["b"]


def test_an_unreadable_object_is_kept_and_said_and_belongs_to_no_series(connect: Connect) -> None:
    store = connect()
    store.receive(received(1))
    store.read([], {store.unread(1)[0][0]: "damaged"})
    assert store.unread(1) == []
    assert store.paths() == {"objects/1a"}
    assert store.counts() == {"objects unreadable": 1}
    assert store.happened(1)[0].details == {"reason": "damaged"}


def test_all_of_a_transaction_is_there_or_nothing(connect: Connect) -> None:
    store = connect()
    store.add([new("k")])
    job = claimed(store)
    with pytest.raises(TypeError):  # the second follower cannot be written as JSON
        store.finish(job, [new("a"), NewJob("b", "run", "run", {"bad": object()})], DONE)
    assert [(one.key, one.state) for one in store.jobs()] == [("k", "ready")]
    store.finish(job, [new("a")], DONE)
    assert store.counts() == {"run done": 1, "run ready": 1}


def test_the_record_cannot_be_changed(connect: Connect) -> None:
    store = connect()
    store.record(Happened("started", "x", {"n": 1}))
    for statement in ("UPDATE record SET what = 'other'", "DELETE FROM record"):
        with pytest.raises(Exception, match="append-only"), store.transaction() as query:  # type: ignore[attr-defined]
            query(statement)
    assert [one.what for one in store.happened(5)] == ["started"]
    assert store.happened(5, "y") == []


def test_sqlite_flushes_at_every_commit_and_keeps_a_write_ahead_log(tmp_path: Path) -> None:
    from veridical.apps.node.sqlite_store import SqliteStore

    store = SqliteStore(tmp_path / "q")
    with store.transaction(writes=False) as query:
        assert query("PRAGMA synchronous") == [(2,)]
        assert query("PRAGMA journal_mode") == [("wal",)]
    store.close()
    with pytest.raises(sqlite3.Error):
        store.jobs()
