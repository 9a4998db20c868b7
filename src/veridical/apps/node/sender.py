"""The sending side: one thread a peer, so that a dead peer holds up nobody else.

Sending again is harmless: objects keep their UIDs, and a peer that has them says so or ignores
them. So a job is done only when every object was answered, and starts over after a crash.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from veridical.apps.node import network
from veridical.apps.node.job_store import Happened, JobStore, LeaseLost, QueuedJob
from veridical.apps.node.landing import Land
from veridical.apps.node.receiver import COMMITMENT, COMMITMENT_INSTANCE
from veridical.apps.node.settings import NodeSettings, Peer, ladder
from veridical.errors import InputError, VeridicalError

LEASE = 120.0
"""Seconds; lengthened after every object."""
DUPLICATE = 0x0111
"""The peer has the object already (PS3.7, annex C)."""
NO_SUCH_OBJECT = 0x0112
"""Failure reason of storage commitment (PS3.3, C.14.1.1)."""
CONTEXTS = 128
"""Presentation contexts that one association can propose (PS3.8, 9.3.2.2)."""


@dataclass(frozen=True)
class Sender:
    """Does the jobs of one peer.

    Args:
        settings: of the node.
        store: its queue.
        land: its folder.
        owner: name of this sender, unique among those that live.
        peer: name of the peer.
    """

    settings: NodeSettings
    store: JobStore
    land: Land
    owner: str
    peer: str
    waits: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "waits", ladder(self.settings.node.retry))

    def step(self) -> bool:
        """Do one job; say whether there was one."""
        job = self.store.claim(f"peer:{self.peer}", self.owner, LEASE)
        if job is None:
            return False
        try:
            try:
                details = self._do(job)
            except VeridicalError as error:
                self._fail(job, str(error))
            except Exception as error:  # of its text nobody knows whether it holds a name
                self._fail(job, f"unexpected {type(error).__name__}")
            else:
                self.store.finish(job, [], Happened(f"{job.kind} done", job.key, details))
        except LeaseLost:
            pass
        return True

    def _fail(self, job: QueuedJob, reason: str) -> None:
        dead = job.failures >= len(self.waits)
        again = None if dead else time.time() + self.waits[job.failures]
        what = "dead letter" if dead else f"{job.kind} failed"
        self.store.fail(job, reason, again, Happened(what, job.key, {"reason": reason}))

    def _do(self, job: QueuedJob) -> dict[str, Any]:
        """Do a job and return what the record is to say of it."""
        peer = self.settings.peers[self.peer]
        if job.kind == "commit":
            return self._commit(job, peer)
        if job.kind == "tell":
            tell_fhir(self.land.folder / job.payload["file"], peer.url)
            return {"peer": self.peer}
        files = [self.land.folder / name for name in job.payload["files"]]
        send = self._store if peer.kind == "dicom" else self._stow
        send(job, peer, files)
        return {"peer": self.peer, "objects": len(files), "what": job.payload["what"]}

    def _store(self, job: QueuedJob, peer: Peer, files: Sequence[Path]) -> None:
        """Send files by C-STORE, as they are on disk."""
        from pydicom.filereader import read_file_meta_info

        wanted: dict[tuple[str, str], None] = {}
        for file in files:
            meta = read_file_meta_info(file)
            wanted[str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)] = None
        pairs = list(wanted)
        if len(pairs) > CONTEXTS:
            raise InputError(f"{len(pairs)} kinds of objects are too many for one association.")
        with associated(self.settings, peer, [(sop, [syntax]) for sop, syntax in pairs]) as link:
            for number, file in enumerate(files, 1):
                try:
                    status = link.send_c_store(file).get("Status")
                except (ValueError, RuntimeError) as error:
                    raise InputError(
                        f"{self.peer} takes no such object, or broke off, at object {number} of "
                        f"{len(files)} ({type(error).__name__})."
                    ) from error
                if not (status in (0, DUPLICATE) or (status or 0) & 0xF000 == 0xB000):
                    said = "did not answer" if status is None else f"answered 0x{status:04X}"
                    raise InputError(f"{self.peer} {said} to object {number} of {len(files)}.")
                self.store.extend(job, LEASE)

    def _stow(self, job: QueuedJob, peer: Peer, files: Sequence[Path]) -> None:
        """Send files by STOW-RS (PS3.18, 10.5), one a request."""
        import pydicom
        import requests

        client = web_client(self.settings, peer)
        for number, file in enumerate(files, 1):
            try:
                answer = client.store_instances([pydicom.dcmread(file)])
            except requests.RequestException as error:
                status = getattr(error.response, "status_code", type(error).__name__)
                raise InputError(
                    f"{self.peer} did not take object {number} of {len(files)} ({status})."
                ) from error
            for item in answer.get("FailedSOPSequence") or []:
                if (reason := int(item.get("FailureReason", 0))) != DUPLICATE:
                    raise InputError(
                        f"{self.peer} refused object {number} of {len(files)} (0x{reason:04X})."
                    )
            self.store.extend(job, LEASE)

    def _commit(self, job: QueuedJob, peer: Peer) -> dict[str, Any]:
        """Report which of the objects asked about are here (PS3.4, annex J)."""
        from pydicom.dataset import Dataset

        report, here, missing = Dataset(), [], []
        report.TransactionUID = job.payload["transaction"]
        for sop_class, sop in job.payload["items"]:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop
            if self.store.holds(sop):
                here.append(item)
            else:
                item.FailureReason = NO_SUCH_OBJECT
                missing.append(item)
        if here:
            report.ReferencedSOPSequence = here
        if missing:
            report.FailedSOPSequence = missing
        kind = 2 if missing else 1
        with associated(self.settings, peer, [(COMMITMENT, None)], provider=True) as link:
            status, _ = link.send_n_event_report(report, kind, COMMITMENT, COMMITMENT_INSTANCE)
        if status.get("Status") != 0:
            raise InputError(f"{self.peer} did not take the report of storage commitment.")
        return {"peer": self.peer, "objects": len(here), "missing": len(missing)}


@dataclass
class associated:
    """An association with a peer, as a context; released at its end, aborted on an error.

    Args:
        settings: of the node.
        peer: whom to call.
        contexts: SOP class and transfer syntaxes (None: the usual ones) of each context.
        provider: act as the provider of the service, as reports of storage commitment need.
    """

    settings: NodeSettings
    peer: Peer
    contexts: Sequence[tuple[str, list[str] | None]]
    provider: bool = False

    @cached_property
    def _entity(self) -> Any:
        network.quiet()
        from pynetdicom import AE, _config

        _config.STORE_SEND_CHUNKED_DATASET = True
        entity = AE(ae_title=self.settings.node.ae_title)
        entity.connection_timeout = entity.acse_timeout = self.peer.timeout
        entity.dimse_timeout = entity.network_timeout = self.peer.timeout
        return entity

    def __enter__(self) -> Any:
        from pynetdicom import build_context, build_role

        asked = [
            build_context(uid, syntaxes) if syntaxes else build_context(uid)
            for uid, syntaxes in self.contexts
        ]
        roles = [build_role(uid, scp_role=True) for uid, _ in self.contexts]
        peer, context = self.peer, network.client_context(self.settings) if self.peer.tls else None
        self._link = self._entity.associate(
            peer.host,
            peer.port,
            contexts=asked,
            ae_title=peer.ae_title,
            ext_neg=roles if self.provider else None,
            tls_args=(context, peer.host) if context else None,
        )
        if not self._link.is_established:
            silent = "does not answer, or takes no such objects"
            why = "refused the association" if self._link.is_rejected else silent
            raise InputError(f"The peer {peer.ae_title.strip()} {why}.")
        return self._link

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None and self._link.is_established:
            self._link.release()
        else:
            self._link.abort()


def web_client(settings: NodeSettings, peer: Peer) -> Any:
    """Return a client of a DICOMweb service; it does not try again by itself."""
    network.quiet()
    from dicomweb_client.api import DICOMwebClient

    headers = {}
    if peer.token:
        words = settings.beside(peer.token).read_text(encoding="utf-8").strip()
        headers = {"Authorization": words}
    client = DICOMwebClient(peer.url, headers=headers, timeout=peer.timeout)
    client.set_http_retry_params(retry=False)
    return client


def tell_fhir(file: Path, url: str) -> list[str]:
    """Post what a worker wrote for a FHIR server."""
    from veridical.apps.fhir import post

    return post(json.loads(file.read_text(encoding="utf-8")), url)
