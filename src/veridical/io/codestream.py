"""The size that a compressed image claims for itself, read from its first bytes before a decoder
trusts it.
"""

from __future__ import annotations

J2K_START = b"\xff\x4f\xff\x51"
JPEG_START = b"\xff\xd8"
FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Start of frame: JPEG (ITU-T T.81, table B.1) and JPEG-LS (T.87)."""


def coded_size(stream: bytes) -> tuple[int, int, int] | None:
    """Return (rows, columns, components) of a JPEG, JPEG-LS, JPEG 2000 or HTJ2K stream; None when
    it says none.

    A few hundred bytes of JPEG 2000 can claim gigapixels, and decoders allocate what is claimed.
    """
    if stream.startswith(J2K_START) and len(stream) >= 42:
        x, y, x0, y0 = (int.from_bytes(stream[8 + 4 * k : 12 + 4 * k], "big") for k in range(4))
        return y - y0, x - x0, int.from_bytes(stream[40:42], "big")
    place = 2
    while stream.startswith(JPEG_START) and place + 10 <= len(stream) and stream[place] == 0xFF:
        if stream[place + 1] in FRAME_MARKERS:
            rows, columns = (
                int.from_bytes(stream[place + k : place + k + 2], "big") for k in (5, 7)
            )
            return rows, columns, stream[place + 9]
        place += 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
    return None
