"""The receiving side: C-ECHO, C-STORE and storage commitment.

An object is acknowledged (0x0000) only after its bytes are on disk under their final name and its
row is in the queue. Nothing of it is decoded here: the data set goes to a file as it comes, and the
command alone says which object it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from veridical.apps.node import network
from veridical.apps.node.group_commit import GroupCommit
from veridical.apps.node.intake import StoreIntake
from veridical.apps.node.job_store import Happened, JobStore, NewJob, Received
from veridical.apps.node.landing import Arriving, Land, digest, drop, settle, valid_uid
from veridical.apps.node.settings import NodeSettings

SUCCESS, OUT_OF_RESOURCES, INVALID_INSTANCE, FAILED = 0x0000, 0xA700, 0x0117, 0x0110
"""PS3.4, table B.2-1 and PS3.7, annex C."""
LARGEST_PDU = 131072
"""Bytes; 16 kB, the usual limit, costs eight times as many turns of the protocol's loop."""
COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"


@dataclass(frozen=True)
class Reception:
    """What the handlers of the protocol share.

    Args:
        settings: of the node.
        store: its queue.
        land: its folder.
        hashed: turns a UID into what the record may hold.
    """

    settings: NodeSettings
    store: JobStore
    land: Land
    hashed: Callable[[str], str]
    commit: GroupCommit = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "commit", GroupCommit(self.store))

    def take(
        self, arrived: Path | Arriving, sop: str, sop_class: str, syntax: str, caller: str
    ) -> int:
        """Make an object durable and return the status of the answer.

        Args:
            arrived: file with the whole object.
            sop, sop_class, syntax, caller: of the command and the association.
        """
        if not valid_uid(sop) or not valid_uid(sop_class):
            return INVALID_INSTANCE
        if self.land.free() < self.settings.node.free:
            return OUT_OF_RESOURCES
        try:
            sha256 = arrived.whole() if isinstance(arrived, Arriving) else digest(arrived)
            file = arrived.path if isinstance(arrived, Arriving) else arrived
            final, size = self.land.place(sop, sha256), file.stat().st_size
            settle(file, final)
            path = self.land.relative(final)
            self.commit.add(Received(sop, sop_class, syntax, sha256, path, size, caller))
        except Exception:  # of disk or database, of whichever kind: it is not acknowledged. A file
            # without a row stays for the sweep, because an object that came twice at once shares it
            return OUT_OF_RESOURCES
        return SUCCESS

    def on_store(self, event: Any) -> int:
        """Answer C-STORE."""
        request, arrived = event.request, event.dataset_path
        request._dataset_file.flush()
        return self.take(
            arrived,
            str(request.AffectedSOPInstanceUID),
            str(request.AffectedSOPClassUID),
            str(event.context.transfer_syntax),
            event.assoc.requestor.ae_title.strip(),
        )

    def on_commitment(self, event: Any) -> tuple[int, None]:
        """Answer N-ACTION of storage commitment: the report follows on an association of ours."""
        caller = event.assoc.requestor.ae_title.strip()
        name = next(
            (n for n, p in self.settings.peers.items() if p.ae_title.strip() == caller), None
        )
        if name is None or event.action_type != 1:
            return FAILED, None
        asked = event.action_information
        items = [
            [str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)]
            for item in asked.get("ReferencedSOPSequence", [])
        ]
        transaction = str(asked.get("TransactionUID", ""))
        if not items or not valid_uid(transaction) or not all(valid_uid(uid) for _, uid in items):
            return FAILED, None
        payload = {"transaction": transaction, "items": items}
        job = NewJob(f"commit:{caller}:{transaction}", f"peer:{name}", "commit", payload)
        details = {"caller": caller, "objects": len(items)}
        self.store.add([job], Happened("commitment asked", self.hashed(transaction), details))
        return SUCCESS, None

    def on_open(self, event: Any) -> None:
        """Take objects from this connection the quick way."""
        from pynetdicom import evt

        association = event.assoc

        def take(arriving: Arriving, sop: str, sop_class: str, syntax: str) -> int:
            caller = association.requestor.ae_title.strip()
            return self.take(arriving, sop, sop_class, syntax, caller)

        intake = StoreIntake(association, self.land.arriving_file, take)
        for end in (evt.EVT_ABORTED, evt.EVT_CONN_CLOSE):
            association.bind(end, lambda _: intake.drop())

    def on_end(self, event: Any) -> None:
        """Remove what an association left half received by the library."""
        message = event.assoc.dimse.message
        if message is not None and message._data_set_path is not None:
            message._data_set_file.close()
            drop(Path(message._data_set_path))


def serve(reception: Reception) -> Any:
    """Listen, and return the running server; `shutdown()` ends it.

    Raises:
        MissingExtra: pynetdicom is not installed.
    """
    network.quiet()
    from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined, unused-ignore]

    _config.STORE_RECV_CHUNKED_DATASET = True
    tempfile.tempdir = str(reception.land.arriving)
    node = reception.settings.node
    entity = AE(ae_title=node.ae_title)
    entity.maximum_pdu_size = LARGEST_PDU
    entity.maximum_associations = node.associations
    entity.require_called_aet = True
    entity.require_calling_aet = list(node.callers)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, list(network.SYNTAXES))
    for uid in (Verification, COMMITMENT):
        entity.add_supported_context(uid)
    handlers = [
        (evt.EVT_C_STORE, reception.on_store),
        (evt.EVT_N_ACTION, reception.on_commitment),
        (evt.EVT_CONN_OPEN, reception.on_open),
        (evt.EVT_ABORTED, reception.on_end),
        (evt.EVT_CONN_CLOSE, reception.on_end),
    ]
    return entity.start_server(
        (node.host, node.port),
        block=False,
        evt_handlers=handlers,
        ssl_context=network.server_context(reception.settings),
    )
