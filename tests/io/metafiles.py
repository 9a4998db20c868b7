"""MetaImage files for the reader's tests, written as ITK writes them."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {
    "int8": "MET_CHAR",
    "uint8": "MET_UCHAR",
    "int16": "MET_SHORT",
    "uint16": "MET_USHORT",
    "int32": "MET_INT",
    "uint32": "MET_UINT",
    "float32": "MET_FLOAT",
    "float64": "MET_DOUBLE",
}


def write_mha(path: Path, data: np.ndarray, packed: bool = False, **changed: Any) -> Path:
    """Write `(x, y, z)`; `changed` are fields of the header, None leaves one out."""
    body = data.tobytes(order="F")
    body = zlib.compress(body) if packed else body
    large = data.dtype.byteorder == ">"
    fields = {
        "ObjectType": "Image",
        "NDims": data.ndim,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": large,
        "CompressedData": packed,
        **({"CompressedDataSize": len(body)} if packed else {}),
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "4 5 6",
        "ElementSpacing": "1 2 3",
        "DimSize": " ".join(map(str, data.shape)),
        "ElementType": KINDS[data.dtype.name],
        "ElementDataFile": "LOCAL",
    }
    fields |= changed
    last = fields.pop("ElementDataFile")
    head = "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)
    head += f"ElementDataFile = {last}\n"
    path.write_bytes(head.encode() + (body if last == "LOCAL" else b""))
    if last not in ("LOCAL", "") and "/" not in last:
        path.with_name(last).write_bytes(body)
    return path
