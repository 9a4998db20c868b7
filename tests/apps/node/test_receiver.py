"""Nothing is acknowledged before it is safe: the receiving side, spoken to over the network."""

from __future__ import annotations

import gc
import logging
import shutil
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from pacs import free_port, needs_dcmtk, until
from veridical.apps.node import landing, receiver
from veridical.apps.node.job_store import JobStore
from veridical.apps.node.landing import Land
from veridical.apps.node.phantom_series import CLASSES, phantom_series
from veridical.apps.node.settings import NodeSettings
from veridical.apps.node.sqlite_store import SqliteStore

MR = CLASSES["MR"]
COMMITMENT = "1.2.840.10008.1.20.1"
Start = Callable[..., int]


@pytest.fixture
def start(land: Land, store: JobStore, said: Callable[..., NodeSettings]) -> Iterator[Start]:
    """Listen with these settings, and return the port."""
    running: list[Any] = []

    def listen(text: str = "", **node: object) -> int:
        port = free_port()
        settings = said(text, port=port, **node)
        running.append(receiver.serve(receiver.Reception(settings, store, land, lambda uid: "#")))
        return port

    yield listen
    for server in running:
        server.shutdown()
        server.server_close()


def called(
    port: int, *contexts: str, caller: str = "CT1", to: str = "VERIDICAL", **more: Any
) -> Any:
    from pynetdicom import AE

    entity = AE(ae_title=caller)
    for uid in contexts or (MR,):
        entity.add_requested_context(uid)
    return entity.associate("127.0.0.1", port, ae_title=to, **more)


def send(port: int, *objects: Any, **more: Any) -> list[int | None]:
    link = called(port, **more)
    assert link.is_established
    status = [link.send_c_store(one).get("Status") for one in objects]
    if link.is_established:
        link.release()
    return status


@pytest.fixture
def slices(tmp_path: Path) -> list[Any]:
    files = phantom_series(tmp_path / "in", shape=(16, 16, 3))
    return [pydicom.dcmread(file) for file in files]


def files_of(land: Land) -> list[Path]:
    return sorted(land.objects.glob("*/*"))


def test_an_echo_is_answered(start: Start) -> None:
    link = called(start(), "1.2.840.10008.1.1")
    assert link.send_c_echo().Status == 0
    link.release()


def test_what_is_acknowledged_is_a_whole_file_with_a_row(
    start: Start, store: JobStore, land: Land, slices: list[Any]
) -> None:
    assert send(start(), *slices) == [0, 0, 0]
    assert {str(path) for path in map(land.relative, files_of(land))} == store.paths()
    for _, row in store.unread(9):
        kept = pydicom.dcmread(land.folder / row.path)
        (sent,) = (one for one in slices if one.SOPInstanceUID == row.sop)
        assert kept.PixelData == sent.PixelData
        assert kept.PatientName == sent.PatientName
        assert row.caller == "CT1"
        assert landing.digest(land.folder / row.path) == row.sha256
    assert list(land.arriving.iterdir()) == []


def test_the_preamble_is_zero_whatever_the_sender_kept_in_it(
    start: Start, land: Land, slices: list[Any]
) -> None:
    slices[0].preamble = b"MZ" + b"\x90" * 126
    send(start(), slices[0])
    assert files_of(land)[0].read_bytes()[:132] == b"\0" * 128 + b"DICM"


def test_an_object_that_comes_again_is_acknowledged_and_kept_once(
    start: Start, store: JobStore, land: Land, slices: list[Any]
) -> None:
    port = start()
    assert send(port, slices[0], slices[0]) == [0, 0]
    assert send(port, slices[0]) == [0]
    assert len(files_of(land)) == 1
    assert store.counts() == {"objects unread": 1}


BREAKS = {
    "file": (landing, "flush"),
    "hash": (landing.Arriving, "whole"),
    "row": (SqliteStore, "receive"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_what_cannot_be_made_safe_is_refused_and_leaves_no_row(
    start: Start,
    store: JobStore,
    land: Land,
    slices: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    port = start()
    with monkeypatch.context() as patch:
        patch.setattr(*BREAKS[broken], fails)
        assert send(port, slices[0]) == [receiver.OUT_OF_RESOURCES]
    assert store.paths() == set()
    assert list(land.arriving.iterdir()) == []
    assert send(port, slices[0]) == [0], "it is taken as soon as there is room"
    assert len(files_of(land)) == 1


def test_a_nearly_full_disk_is_said_before_it_is_full(
    start: Start, store: JobStore, land: Land, slices: list[Any]
) -> None:
    assert send(start(free=1e9), slices[0]) == [0xA700]
    assert files_of(land) == list(land.arriving.iterdir()) == []
    assert store.paths() == set()


@pytest.mark.parametrize("uid", ["../../../etc/cron.d/x", "1.2..3", "1.2.x", "1" * 65, "1/3", ""])
def test_a_uid_that_is_none_is_refused_and_names_no_file(
    said: Callable[..., NodeSettings], store: JobStore, land: Land, tmp_path: Path, uid: str
) -> None:
    arrived = phantom_series(tmp_path / "in", shape=(16, 16, 1))[0]
    taking = receiver.Reception(said(), store, land, str)
    assert taking.take(arrived, uid, MR, "1.2", "CT1") == receiver.INVALID_INSTANCE
    assert taking.take(arrived, "1.2.3", uid, "1.2", "CT1") == receiver.INVALID_INSTANCE
    assert store.paths() == set()
    assert files_of(land) == []


def test_names_of_files_hold_nothing_that_was_sent(
    start: Start, land: Land, slices: list[Any]
) -> None:
    send(start(), *slices)
    for path in files_of(land):
        assert not any(one.SOPInstanceUID in str(path) for one in slices)


@needs_dcmtk
def test_a_sender_that_dies_midway_leaves_nothing(
    start: Start, store: JobStore, land: Land, slices: list[Any], tmp_path: Path
) -> None:
    big = slices[0]
    big.PixelData, big.Rows, big.Columns = b"\0" * 200_000_000, 10000, 10000
    big.save_as(tmp_path / "big.dcm")
    words = ["storescu", "-aec", "VERIDICAL", "127.0.0.1", str(start()), str(tmp_path / "big.dcm")]
    sender = subprocess.Popen(words)
    until(lambda: any(path.stat().st_size for path in land.arriving.iterdir()), 10, 0.001)
    sender.kill()
    sender.wait()
    until(lambda: not list(land.arriving.iterdir()), 10)
    assert store.paths() == set()
    assert files_of(land) == []


def test_only_callers_on_the_list_and_only_by_its_name(start: Start) -> None:
    port = start(callers=["CT1"])
    for more in ({"caller": "CT2"}, {"to": "OTHER"}):
        assert called(port, **more).is_rejected  # type: ignore[arg-type]
    link = called(port)
    assert link.is_established
    link.release()


def test_no_name_of_a_patient_is_logged_even_at_the_debug_level(
    start: Start, slices: list[Any], caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    for one in slices:
        one.PatientName = "Secret^Name"
    with caplog.at_level(logging.DEBUG):
        send(start(), *slices)
    said = capfd.readouterr()
    assert "Secret" not in caplog.text + said.out + said.err


def test_storage_commitment_is_queued_for_a_known_peer_and_refused_to_others(
    start: Start, store: JobStore, slices: list[Any]
) -> None:
    from pydicom.dataset import Dataset

    port = start('[peer.ct]\nae_title = "CT1"\nhost = "127.0.0.1"\nport = 1\n')
    send(port, slices[0])
    asked, item = Dataset(), Dataset()
    asked.TransactionUID = "1.2.3"
    item.ReferencedSOPClassUID = MR
    item.ReferencedSOPInstanceUID = slices[0].SOPInstanceUID
    asked.ReferencedSOPSequence = [item]
    for caller, expected in (("CT1", 0), ("CT1", 0), ("CT9", receiver.FAILED)):
        link = called(port, COMMITMENT, caller=caller)
        status, _ = link.send_n_action(asked, 1, COMMITMENT, receiver.COMMITMENT_INSTANCE)
        assert status.Status == expected
        link.release()
    (job,) = store.jobs()
    assert (job.lane, job.kind) == ("peer:ct", "commit")
    assert job.payload["items"] == [[MR, slices[0].SOPInstanceUID]]


def test_the_sweep_removes_what_was_never_acknowledged_and_nothing_else(
    start: Start, store: JobStore, land: Land, slices: list[Any]
) -> None:
    send(start(), *slices)
    kept = files_of(land)
    (land.arriving / "half.dcm").write_bytes(b"x")
    (land.objects / "ab" / "orphan.dcm").write_bytes(b"x")
    (land.work / "desk").mkdir()
    (land.work / "desk" / "half").write_bytes(b"x")
    assert land.sweep(store.paths()) == 3
    assert files_of(land) == kept
    assert list(land.arriving.iterdir()) == list(land.work.iterdir()) == []


def test_what_nobody_goes_on_receiving_is_removed_while_the_node_serves(land: Land) -> None:
    import os

    for name, age in (("dead", landing.STALE + 60), ("alive", 10)):
        (land.arriving / name).write_bytes(b"x")
        then = time.time() - age
        os.utime(land.arriving / name, (then, then))
    land.tidy()
    assert [path.name for path in land.arriving.iterdir()] == ["alive"]


def test_one_node_alone_serves_from_a_folder(land: Land) -> None:
    from veridical.errors import InputError

    with land.alone(), pytest.raises(InputError, match="serving from"), Land(land.folder).alone():
        pass


OPENSSL = shutil.which("openssl")


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
def test_with_authorities_a_caller_must_show_a_certificate_they_signed(
    start: Start, tmp_path: Path
) -> None:
    def openssl(*words: str) -> None:
        subprocess.run([str(OPENSSL), *words], cwd=tmp_path, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
    name = ("-addext", "subjectAltName=IP:127.0.0.1")
    openssl(*new, *name, "-keyout", "node.key", "-out", "node.pem")
    openssl(*new, "-keyout", "stranger.key", "-out", "stranger.pem")
    port = start(certificate="node.pem", key="node.key", authorities="node.pem")

    def connect(who: str | None) -> Any:
        context = ssl.create_default_context(cafile=str(tmp_path / "node.pem"))
        if who:
            context.load_cert_chain(tmp_path / f"{who}.pem", tmp_path / f"{who}.key")
        return called(port, tls_args=(context, "127.0.0.1"))

    link = connect("node")
    assert link.is_established
    link.release()
    with warnings.catch_warnings():  # pynetdicom leaves a socket whose handshake failed to be
        warnings.simplefilter("ignore", ResourceWarning)  # collected
        for stranger in (None, "stranger"):
            assert not connect(stranger).is_established
        assert not called(port).is_established
        gc.collect()
