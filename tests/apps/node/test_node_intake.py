"""The quick way in stores what pynetdicom would store, and refuses what is no C-STORE."""

from __future__ import annotations

import gc
import io
import random
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pacs import free_port, until
from veridical.apps.node import intake, receiver
from veridical.apps.node.group_commit import GroupCommit
from veridical.apps.node.job_store import JobStore, Received
from veridical.apps.node.landing import Arriving, Land
from veridical.apps.node.phantom_series import CLASSES, phantom_series

MR, IMPLICIT = CLASSES["MR"], "1.2.840.10008.1.2"


@pytest.fixture
def port(said: Any, store: JobStore, land: Land) -> Iterator[int]:
    """Where a receiver listens."""
    port = free_port()
    reception = receiver.Reception(said(port=port), store, land, str)
    server = receiver.serve(reception)
    with warnings.catch_warnings():  # pynetdicom leaves sockets of broken associations to be
        warnings.simplefilter("ignore", ResourceWarning)  # collected
        yield port
        server.shutdown()
        server.server_close()
        gc.collect()


def associated(port: int) -> Any:
    from pynetdicom import AE

    entity = AE("CT1")
    for uid in (MR, "1.2.840.10008.1.1"):
        entity.add_requested_context(uid)
    link = entity.associate("127.0.0.1", port, ae_title="VERIDICAL")
    assert link.is_established
    return link


def test_it_stores_the_same_file_as_the_library(
    port: int, land: Land, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = phantom_series(tmp_path / "in", shape=(300, 300, 1))  # 180 kB: several PDUs
    quick, slow = list[str](), list[str]()
    real = Arriving.whole
    monkeypatch.setattr(Arriving, "whole", lambda self: (quick.append("x"), real(self))[1])
    real_digest = receiver.digest
    monkeypatch.setattr(receiver, "digest", lambda path: (slow.append("x"), real_digest(path))[1])
    for way, taken in ((intake.STORE, quick), (-1, slow)):
        monkeypatch.setattr(intake, "STORE", way)
        link = associated(port)
        assert link.send_c_store(sent[0]).Status == 0
        assert link.send_c_echo().Status == 0, "the rest of the protocol goes on"
        link.release()
        assert taken == ["x"]
    (kept,) = land.objects.glob("*/*")
    assert pydicom.dcmread(kept).PixelData == pydicom.dcmread(sent[0]).PixelData
    assert store.counts() == {"objects unread": 1}


@pytest.mark.parametrize("sop", ["1.2.3", "1.2.34"])
def test_its_header_is_that_of_the_library(sop: str) -> None:
    from pydicom.filewriter import write_file_meta_info
    from pynetdicom.dsutils import create_file_meta

    file = io.BytesIO()
    file.write(b"\0" * 128 + b"DICM")
    meta = create_file_meta(
        sop_class_uid=pydicom.uid.UID(MR),
        sop_instance_uid=pydicom.uid.UID(sop),
        transfer_syntax=pydicom.uid.UID(IMPLICIT),
    )
    write_file_meta_info(file, meta)
    assert intake.header(MR, sop, IMPLICIT) == file.getvalue()


def pdu(*pieces: tuple[int, int, bytes]) -> bytes:
    body = b"".join(struct.pack(">IBB", len(d) + 2, c, k) + d for c, k, d in pieces)
    return struct.pack(">BxI", intake.P_DATA, len(body)) + body


def to_store() -> bytes:
    said = {
        0x0002: MR.encode() + b"\0" * (len(MR) % 2),
        0x0100: b"\1\0",
        0x0110: b"\1\0",
        0x0700: b"\0\0",
        0x0800: b"\1\0",
        0x1000: b"1.2.3\0",
    }
    body = b"".join(struct.pack("<HHI", 0, n, len(v)) + v for n, v in said.items())
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


BROKEN = {
    "data without a command": pdu((1, 0, b"x")),
    "data of another context": pdu((1, 3, to_store()), (3, 0, b"x")),
    "a command amid the data": pdu((1, 3, to_store()), (1, 0, b"x"), (1, 3, to_store())),
    "a piece that claims too much": struct.pack(">BxI", 4, 12) + struct.pack(">IBB", 99, 1, 3) * 2,
    "a PDU of 4 GiB": struct.pack(">BxI", 4, 2**32 - 1) + b"x" * 99,
    "an unknown PDU": b"\x2a" * 64,
    "a context that was not agreed": pdu((77, 3, to_store()), (77, 2, b"x")),
    "a damaged command": pdu((1, 3, b"\xff" * 40)),
    "an empty command": pdu((1, 3, b"")),
    "a command without a number": pdu((1, 3, struct.pack("<HHI", 0, 2, 0))),
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
def test_what_breaks_the_protocol_ends_its_association_and_leaves_nothing(
    port: int, land: Land, store: JobStore, sent: bytes
) -> None:
    link = associated(port)
    link.dul.socket.socket.sendall(sent)
    if link.is_established:
        until(lambda: not link.is_established or link.is_aborted, 10, 0.01)
    until(lambda: not list(land.arriving.iterdir()), 10, 0.01)
    assert store.counts() == {}
    other = associated(port)
    assert other.send_c_echo().Status == 0, "others are served"
    other.release()


def test_no_bytes_make_its_readers_fail() -> None:
    chance = random.Random(0)
    whole = pdu((1, 3, to_store()), (1, 2, b"data"))[6:]
    for _ in range(3000):
        bytes_ = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            bytes_[chance.randrange(len(bytes_))] = chance.randrange(256)
        del bytes_[chance.randint(0, len(bytes_)) :]
        try:
            for _, _, data in intake.pieces(bytes_):
                said = intake.command(data)
                intake.number(said, 0x0100)
                intake.uid(said.get(0x1000, b""))
        except ValueError:
            continue  # damaged, which is said


class Slow:
    """A queue whose transactions wait until they are let go."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.go = threading.Event()
        self.broken = False

    def receive(self, *rows: Received) -> int:
        self.groups.append(len(rows))
        assert self.go.wait(10)
        if self.broken:
            raise OSError("no space")
        return len(rows)


def test_what_waits_for_the_disk_shares_the_next_commit_and_its_failure() -> None:
    queue, problems = Slow(), list[Exception]()
    commit = GroupCommit(queue)  # type: ignore[arg-type]
    row = Received("1.2", MR, IMPLICIT, "a", "objects/x", 1, "CT1")

    def add() -> None:
        try:
            commit.add(row)
        except OSError as error:
            problems.append(error)

    threads = [threading.Thread(target=add) for _ in range(4)]
    threads[0].start()
    until(lambda: queue.groups == [1], 10, 0.001)
    for thread in threads[1:]:
        thread.start()
    until(lambda: len(commit._waiting) == 3, 10, 0.001)
    queue.go.set()
    for thread in threads:
        thread.join()
    assert queue.groups == [1, 3]
    assert not problems
    queue.broken = True
    add()
    assert len(problems) == 1
    queue.broken = False
    add()
    assert len(problems) == 1, "a failure is that of its own group alone"


def test_a_disk_that_fills_up_midway_is_told_to_the_sender(
    port: int, land: Land, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = pydicom.dcmread(phantom_series(tmp_path / "in", shape=(300, 300, 1))[0])
    link = associated(port)
    with monkeypatch.context() as patch:
        patch.setattr(land, "arriving", tmp_path / "none")
        assert link.send_c_store(one).Status == 0xA700
    assert list(land.arriving.iterdir()) == []
    assert store.counts() == {}
    assert link.send_c_store(one).Status == 0
    link.release()
