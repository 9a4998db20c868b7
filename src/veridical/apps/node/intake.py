"""The quick way in: C-STORE as nearly all senders send it, from the connection into a file.

pynetdicom makes four data sets and six copies of an image on its way, and other associations wait
meanwhile. Here the bytes of a data set go to the file as they come, and command and answer are
read and written as the few numbers that they are (PS3.7, 9.3.1). Whatever is anything but a
C-STORE command in one piece goes to pynetdicom as it came, and so does all else of the protocol.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from veridical.apps.node.landing import Arriving, valid_uid

P_DATA = 0x04
STORE, STORE_ANSWER, NO_DATA_SET = 0x0001, 0x8001, 0x0101
"""PS3.7, annex E."""
BROKEN = "Evt19"
"""Event of an invalid PDU, on which the association is aborted: PS3.8, table 9-10."""
COMMAND, LAST = 0x01, 0x02
"""Bits of the control header of a piece: PS3.8, annex E."""
LARGEST_READ = 2**22
"""Bytes; no PDU that anybody needs is larger, and one that claims more ends the connection."""
PATIENCE = 0.02
"""Seconds to wait for the next PDU before pynetdicom looks after its other duties."""
QUICK_ACK: int = getattr(socket, "TCP_QUICKACK", 0)
"""Linux: acknowledge packets at once. Senders that wait for that before the last piece of an image
(Nagle's algorithm) lose 40 ms an image otherwise.
"""

Take = Callable[[Arriving, str, str, str], int]
"""Makes a file durable, given its instance, class and transfer syntax; the status of the answer."""


class StoreIntake:
    """What one association receives.

    Args:
        association: of pynetdicom, as acceptor; its reading of the connection is replaced.
        begin: makes the file of an object that begins.
        take: makes it durable when it is whole.
    """

    def __init__(self, association: Any, begin: Callable[[], Arriving], take: Take) -> None:
        self._association, self._begin, self._take = association, begin, take
        self._dul, self._connection = association.dul, association.dul.socket
        self._library = self._dul._read_pdu_data
        self._back = bytearray()
        self._arriving: Arriving | None = None
        self._context, self._command = 0, dict[int, bytes]()
        self._connection.recv = self._receive
        self._dul._read_pdu_data = self._read

    def drop(self) -> None:
        """Remove what was received in part."""
        if self._arriving is not None:
            self._arriving.drop()

    def _receive(self, size: int) -> bytearray:
        """Return the next bytes, or fewer where the connection ends."""
        if not self._back:
            return read_exactly(self._connection.socket, size)
        part, self._back = self._back[:size], self._back[size:]
        return part + read_exactly(self._connection.socket, size - len(part))

    def _read(self) -> None:
        """Read one PDU; pynetdicom calls this where there is something to read."""
        message = self._association.dimse.message
        if message is not None and message.data_set.tell() <= LARGEST_READ:
            self._library()
            return
        head = self._receive(6)
        body = bytearray()
        if len(head) == 6 and head[0] == P_DATA:
            body = self._receive(int.from_bytes(head[2:]))
            try:
                if len(body) == int.from_bytes(head[2:]) and self._took(body):
                    self._wait()
                    return
            except ValueError:
                self._dul.event_queue.put(BROKEN)
                return
        self._back = head + body
        self._library()

    def _wait(self) -> None:
        """Wait for the next PDU, which mostly comes at once."""
        waiting = self._connection.socket
        if waiting is not None and not getattr(waiting, "pending", int)():
            select.select([waiting], [], [], PATIENCE)

    def _took(self, body: bytearray) -> bool:
        """Take the pieces of a PDU; False, and nothing is done, where pynetdicom should.

        Raises:
            ValueError: they are damaged, or data without an object to which they belong.
        """
        for place, (context, control, data) in enumerate(pieces(body)):
            if control & COMMAND and place == 0 and self._arriving is None:
                if not control & LAST or not self._begins(context, command(data)):
                    return False
            elif control & COMMAND or self._arriving is None or context != self._context:
                raise ValueError("data set or command out of turn")
            else:
                self._arriving.write(data)
                if control & LAST:
                    self._ends()
        return True

    def _begins(self, context: int, said: dict[int, bytes]) -> bool:
        """Begin an object where this is the command to store it.

        Raises:
            ValueError: nothing was agreed about such objects.
        """
        if number(said, 0x0100) != STORE or number(said, 0x0800) == NO_DATA_SET:
            return False
        agreed = self._association._accepted_cx.get(context)
        if agreed is None:
            raise ValueError("a context that was not agreed")
        sop_class, sop = uid(said.get(0x0002, b"")), uid(said.get(0x1000, b""))
        if agreed.abstract_syntax != sop_class or not valid_uid(sop):
            return False
        self._context, self._command = context, said
        self._arriving = self._begin()
        self._arriving.write(header(sop_class, sop, str(agreed.transfer_syntax[0])))
        return True

    def _ends(self) -> None:
        """Make the object durable, and only then answer."""
        arriving, self._arriving = self._arriving, None
        assert arriving is not None
        said = self._command
        syntax = str(self._association._accepted_cx[self._context].transfer_syntax[0])
        try:
            status = self._take(arriving, uid(said[0x1000]), uid(said[0x0002]), syntax)
        finally:
            arriving.drop()
        self._connection.send(answer(self._context, said, status))


def read_exactly(connection: Any, size: int) -> bytearray:
    """Return so many bytes of a connection, or fewer where it ends. pynetdicom asks the system for
    4 kB at a time, which is half of the work of receiving an image.
    """
    if size > LARGEST_READ:
        return bytearray()
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size and (count := connection.recv_into(view[filled:])):
        filled += count
        if QUICK_ACK:
            connection.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)
    view.release()
    del buffer[filled:]
    return buffer


def pieces(body: bytearray) -> list[tuple[int, int, memoryview]]:
    """Return context, control header and data of each piece of a P-DATA PDU (PS3.8, 9.3.5.1).

    Raises:
        ValueError: it is damaged.
    """
    view, at, found = memoryview(body), 0, []
    while at < len(body):
        end = at + 4 + int.from_bytes(view[at : at + 4])
        if end > len(body) or end < at + 6:
            raise ValueError("a piece that is longer than its PDU, or too short")
        found.append((body[at + 4], body[at + 5], view[at + 6 : end]))
        at = end
    return found


def command(data: memoryview) -> dict[int, bytes]:
    """Return the elements of a command set by number (PS3.7, 6.3.1).

    Raises:
        ValueError: it is damaged; threads of pynetdicom would die of it.
    """
    at, found = 0, dict[int, bytes]()
    while at < len(data):
        head = data[at : at + 8]
        size = int.from_bytes(head[4:], "little")
        if len(head) < 8 or bytes(head[:2]) != b"\0\0" or at + 8 + size > len(data):
            raise ValueError("a damaged command")
        found[int.from_bytes(head[2:4], "little")] = bytes(data[at + 8 : at + 8 + size])
        at += 8 + size
    if 0x0100 not in found:
        raise ValueError("a command that says nothing")
    return found


def number(said: dict[int, bytes], element: int) -> int:
    """Return a number of a command; -1 where there is none."""
    value = said.get(element, b"")
    return int.from_bytes(value, "little") if len(value) == 2 else -1


def uid(value: bytes) -> str:
    """Return a UID without its padding; empty where it is none."""
    return value.rstrip(b"\0 ").decode("ascii") if value.isascii() else ""


def answer(context: int, said: dict[int, bytes], status: int) -> bytes:
    """Return the PDU that answers a command to store (PS3.7, 9.3.1.2)."""
    values = {
        0x0002: said[0x0002],
        0x0100: struct.pack("<H", STORE_ANSWER),
        0x0120: said.get(0x0110, b"\0\0"),
        0x0800: struct.pack("<H", NO_DATA_SET),
        0x0900: struct.pack("<H", status),
        0x1000: said[0x1000],
    }
    elements = b"".join(
        struct.pack("<HHI", 0, element, len(value)) + value for element, value in values.items()
    )
    elements = struct.pack("<HHII", 0, 0, 4, len(elements)) + elements
    piece = struct.pack(">IBB", len(elements) + 2, context, COMMAND | LAST) + elements
    return struct.pack(">BxI", P_DATA, len(piece)) + piece


def header(sop_class: str, sop: str, syntax: str) -> bytes:
    """Return preamble and file meta information of an object (PS3.10, 7.1), as pynetdicom writes
    them: an object that comes both ways is the same file.
    """
    before = b"\2\0\1\0OB\0\0\2\0\0\0\0\1" + _element(0x02, b"UI", sop_class)
    meta = before + _element(0x03, b"UI", sop) + _element(0x10, b"UI", syntax) + _maker()
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta


@cache
def _maker() -> bytes:
    import pynetdicom

    name = _element(0x13, b"SH", pynetdicom.PYNETDICOM_IMPLEMENTATION_VERSION)
    return _element(0x12, b"UI", str(pynetdicom.PYNETDICOM_IMPLEMENTATION_UID)) + name


def _element(element: int, kind: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    value += (b" " if kind == b"SH" else b"\0") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, element, kind, len(value)) + value
