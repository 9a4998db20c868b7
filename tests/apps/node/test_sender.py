"""Peers that refuse, do not answer, or die midway: nothing is lost, and nobody else waits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pacs import free_port, until
from veridical.apps.node.gathering import send_job
from veridical.apps.node.job_store import JobStore, NewJob, Received
from veridical.apps.node.landing import Land
from veridical.apps.node.phantom_series import CLASSES, phantom_series
from veridical.apps.node.sender import Sender
from veridical.apps.node.settings import NodeSettings

Made = Callable[..., Sender]


@dataclass
class Pacs:
    """A peer that notes what it gets."""

    port: int = field(default_factory=free_port)
    got: list[str] = field(default_factory=list)
    reports: list[Any] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Status of the next answers; then all are taken."""
    die_after: int = 10**9

    def store(self, event: Any) -> int:
        if len(self.got) >= self.die_after:
            event.assoc.abort()
            return 0xC000
        status = self.answers.pop(0) if self.answers else 0
        if status == 0:
            self.got.append(str(event.request.AffectedSOPInstanceUID))
        return status

    def report(self, event: Any) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information))
        return 0, None


@contextmanager
def listening(pacs: Pacs) -> Iterator[Pacs]:
    from pynetdicom import AE, evt

    entity = AE(ae_title="PACS")
    entity.add_supported_context(CLASSES["MR"])
    entity.add_supported_context("1.2.840.10008.1.20.1", scu_role=False, scp_role=True)
    handlers = [(evt.EVT_C_STORE, pacs.store), (evt.EVT_N_EVENT_REPORT, pacs.report)]
    server = entity.start_server(("127.0.0.1", pacs.port), block=False, evt_handlers=handlers)
    try:
        yield pacs
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def made(said: Callable[..., NodeSettings], store: JobStore, land: Land) -> Made:
    """A sender to the peer `pacs` on a port."""

    def sender(port: int, *, peer: str = "pacs", retry: tuple[str, ...] = ("2x0s",)) -> Sender:
        text = "".join(
            f'[peer.{name}]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {where}\ntimeout = 1\n'
            for name, where in (("pacs", port), ("dead", 1))
        )
        return Sender(said(text, retry=list(retry)), store, land, f"s/{peer}", peer)

    return sender


@pytest.fixture
def job(store: JobStore, land: Land) -> Callable[..., list[str]]:
    """Put three objects into the queue of a peer, and return their files."""

    def add(peer: str = "pacs", key: str = "k") -> list[str]:
        files = phantom_series(land.results / "r", shape=(8, 8, 3))
        names = [land.relative(file) for file in files]
        store.add([send_job(key, peer, names, "result")])
        return names

    return add


def state(store: JobStore) -> list[str]:
    return [one.state for one in store.jobs()]


def test_objects_arrive_as_they_are_and_the_job_is_done(
    made: Made, job: Callable[..., list[str]], store: JobStore
) -> None:
    with listening(Pacs()) as pacs:
        sender = made(pacs.port)
        job()
        assert sender.step()
        assert not sender.step()
    assert len(set(pacs.got)) == 3
    assert state(store) == ["done"]


def test_a_peer_that_refuses_gets_it_again_and_then_it_is_a_dead_letter(
    made: Made, job: Callable[..., list[str]], store: JobStore
) -> None:
    with listening(Pacs(answers=[0xA700] * 3)) as pacs:
        sender = made(pacs.port)
        job()
        while sender.step():
            pass
        (letter,) = store.jobs(("dead",))
        assert letter.reason == "pacs answered 0xA700 to object 1 of 3."
        assert letter.failures == 3
        assert [h.what for h in store.happened(9)] == ["send failed", "send failed", "dead letter"]
        store.release(letter.id, "somebody")
        assert sender.step()
        assert len(pacs.got) == 3
    assert state(store) == ["done"]


@pytest.mark.parametrize("status", [0xB000, 0x0111])
def test_warnings_and_what_the_peer_has_already_count_as_taken(
    made: Made, job: Callable[..., list[str]], store: JobStore, status: int
) -> None:
    with listening(Pacs(answers=[status] * 3)) as pacs:
        sender = made(pacs.port)
        job()
        sender.step()
    assert state(store) == ["done"]


def test_a_peer_that_dies_midway_gets_all_of_it_when_it_is_back(
    made: Made, job: Callable[..., list[str]], store: JobStore
) -> None:
    with listening(Pacs(die_after=1)) as pacs:
        sender = made(pacs.port)
        job()
        sender.step()
        assert state(store) == ["ready"]
        assert "object 2 of 3" in store.jobs()[0].reason
        pacs.die_after = 99
        sender.step()
    assert len(set(pacs.got)) == 3
    assert state(store) == ["done"]


def test_a_peer_that_takes_the_connection_and_says_nothing_is_given_up(
    made: Made, job: Callable[..., list[str]], store: JobStore
) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        sender = made(mute.getsockname()[1])
        job()
        sender.step()
    assert state(store) == ["ready"]
    assert store.jobs()[0].reason == "The peer PACS does not answer, or takes no such objects."


def test_a_dead_peer_holds_up_nobody_else(
    made: Made, job: Callable[..., list[str]], store: JobStore
) -> None:
    job("dead", "first")
    job("pacs", "second")
    with listening(Pacs()) as pacs:
        dead, alive = made(pacs.port, peer="dead", retry=("1x1h",)), made(pacs.port)
        threads = [threading.Thread(target=one.step) for one in (dead, alive)]
        for thread in threads:
            thread.start()
        until(lambda: len(pacs.got) == 3, 10)
        for thread in threads:
            thread.join()
    assert {one.lane: one.state for one in store.jobs()} == {
        "peer:dead": "ready",
        "peer:pacs": "done",
    }
    assert not dead.step(), "and it waits its hour"


def test_an_object_that_the_peer_takes_no_context_for_is_said(
    made: Made, store: JobStore, land: Land
) -> None:
    files = phantom_series(land.results / "ct", "CT", shape=(8, 8, 1))
    store.add([send_job("k", "pacs", [land.relative(files[0])], "result")])
    with listening(Pacs()) as pacs:
        made(pacs.port).step()
    assert "takes no such objects" in store.jobs()[0].reason


def test_storage_commitment_reports_what_is_here_and_what_is_not(
    made: Made, store: JobStore
) -> None:
    store.receive(Received("1.2.3", CLASSES["MR"], "1.2", "a", "objects/00/x", 1, "PACS"))
    items = [[CLASSES["MR"], "1.2.3"], [CLASSES["MR"], "1.2.4"]]
    payload = {"transaction": "1.9", "items": items}
    store.add([NewJob("c", "peer:pacs", "commit", payload)])
    with listening(Pacs()) as pacs:
        made(pacs.port).step()
    ((kind, report),) = pacs.reports
    assert kind == 2
    assert report.TransactionUID == "1.9"
    assert [one.ReferencedSOPInstanceUID for one in report.ReferencedSOPSequence] == ["1.2.3"]
    assert [one.ReferencedSOPInstanceUID for one in report.FailedSOPSequence] == ["1.2.4"]
    assert report.FailedSOPSequence[0].FailureReason == 0x0112
    assert state(store) == ["done"]


def test_files_of_a_job_that_are_gone_are_a_failure_and_not_a_success(
    made: Made, job: Callable[..., list[str]], store: JobStore, land: Land
) -> None:
    names = job()
    Path(land.folder / names[1]).unlink()
    with listening(Pacs()) as pacs:
        made(pacs.port).step()
    assert state(store) == ["ready"]
    assert store.jobs()[0].reason == "unexpected FileNotFoundError"
