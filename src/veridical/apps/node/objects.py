"""What a received object is, found out in a worker: its header within limits, and never its pixels.

Sizes that are claimed are held against the budget before anything is decoded or inflated.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from veridical.apps.node.job_store import Received
from veridical.apps.node.landing import GIB, valid_uid
from veridical.apps.node.network import DEFLATED
from veridical.errors import BudgetError, FormatError

EXPLICIT = "1.2.840.10008.1.2.1"
TEXTS = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "description": "SeriesDescription",
    "study_description": "StudyDescription",
    "protocol": "ProtocolName",
    "manufacturer": "Manufacturer",
    "scanner": "ManufacturerModelName",
    "station": "StationName",
}
"""Condition of a route -> the entry that it is about."""
NUMBERS = {
    "thickness": "SliceThickness",
    "field_strength": "MagneticFieldStrength",
    "number": "InstanceNumber",
    "series_number": "SeriesNumber",
}
UIDS = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID")
SIZES = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated")
READ = (*TEXTS.values(), *NUMBERS.values(), *UIDS, *SIZES, "ImageType")
OURS = "ContributingEquipmentSequence"


def examined(path: Path, received: Received, largest: float) -> tuple[str, str, dict[str, Any]]:
    """Read the header of an object.

    Args:
        path: of its file.
        received: what its command said.
        largest: GiB that decoded pixels, or the inflated data set, may take.

    Returns:
        UIDs of study and series, and the facts that routes ask for.

    Raises:
        FormatError: damaged, without UIDs, or another object than its command said.
        BudgetError: it claims more than `largest`.
    """
    import pydicom
    from pydicom import config

    budget = int(largest * GIB)
    source: Any = path
    if received.syntax == DEFLATED:
        source = BytesIO(inflated(path, budget))
    with config.disable_value_validation():
        one = pydicom.dcmread(source, specific_tags=[*READ, OURS, "PixelData"], defer_size=4096)
        uids = {name: str(one.get(name, "")) for name in UIDS}
        for name, uid in uids.items():
            if not valid_uid(uid):
                raise FormatError(f"Its {name} is no UID; expected numbers between dots.")
        if (uids["SOPInstanceUID"], uids["SOPClassUID"]) != (received.sop, received.sop_class):
            raise FormatError("Its data set names another object than the command it came with.")
        _check_size(one, budget)
        facts = _facts(one, received)
    return uids["StudyInstanceUID"], uids["SeriesInstanceUID"], facts


def _facts(one: Any, received: Received) -> dict[str, Any]:
    facts: dict[str, Any] = {name: str(one.get(tag) or "") for name, tag in TEXTS.items()}
    for name, tag in NUMBERS.items():
        value = one.get(tag)
        if value not in (None, ""):
            facts[name] = float(value)
    kinds = one.get("ImageType") or []
    facts["image_type"] = [kinds] if isinstance(kinds, str) else [str(kind) for kind in kinds]
    facts["caller"] = received.caller
    makers = [str(one.get("Manufacturer") or "")]
    makers += [str(item.get("Manufacturer") or "") for item in one.get(OURS) or []]
    facts["ours"] = "Veridical" in makers
    facts["sop_class"] = received.sop_class
    return facts


def _check_size(one: Any, budget: int) -> None:
    """Refuse pixels that would take more than the budget, by header and by codestream."""
    from pydicom.encaps import generate_frames

    from veridical.io.codestream import coded_size

    rows, columns, frames, samples, bits = (
        int(one.get(name) or (0 if name in ("Rows", "Columns") else 1)) for name in SIZES
    )
    _within(rows * columns * frames * samples * -(-bits // 8), budget)
    syntax = one.file_meta.TransferSyntaxUID
    if "PixelData" not in one or not syntax.is_encapsulated:
        return
    for frame in generate_frames(one.PixelData, number_of_frames=frames):
        claimed = coded_size(frame)
        if claimed is not None and (claimed[0] != rows or claimed[1] != columns):
            raise FormatError(
                f"Its compressed image claims {claimed[0]} x {claimed[1]} pixels, its header says "
                f"{rows} x {columns}: damaged, or built to exhaust memory."
            )


def _within(need: int, budget: int) -> None:
    if need > budget:
        raise BudgetError(
            f"It claims {need / GIB:.3g} GiB of pixels; the limit is {budget / GIB:.3g} GiB. If "
            "that is right, raise largest under [node]."
        )


def inflated(path: Path, budget: int) -> bytes:
    """Return a deflated file as one of plain explicit little endian, inflated up to a limit.

    Raises:
        FormatError: it is damaged.
        BudgetError: it inflates to more.
    """
    from pydicom.filereader import read_file_meta_info
    from pydicom.filewriter import write_file_meta_info

    meta = read_file_meta_info(path)
    start = 132 + 12 + int(meta.FileMetaInformationGroupLength)
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = machine.decompress(path.read_bytes()[start:], budget + 1)
    except zlib.error as error:
        raise FormatError(f"Its deflated data set is damaged ({error}).") from error
    _within(len(data), budget)
    meta.TransferSyntaxUID = EXPLICIT
    header = BytesIO()
    write_file_meta_info(header, meta)
    return b"\0" * 128 + b"DICM" + header.getvalue() + data


def lay_out(source: Path, target: Path, largest: float) -> None:
    """Put an object where a reader finds it: linked, or inflated where it was deflated."""
    from pydicom.filereader import read_file_meta_info

    if str(read_file_meta_info(source).TransferSyntaxUID) == DEFLATED:
        target.write_bytes(inflated(source, int(largest * GIB)))
    else:
        os.link(source, target)


def facts_of_series(members: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what routes ask of a series: what its first image says, and how many images it has.

    Args:
        members: facts of its objects.
    """
    first = min(members, key=lambda facts: facts.get("number", 0.0))
    return {**first, "images": float(len(members)), "ours": any(one["ours"] for one in members)}
