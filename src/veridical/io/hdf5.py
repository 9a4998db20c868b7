"""What the HDF5 raw-data readers share: opening, finding data sets safely, and the ISMRMRD header
in XML.
"""

from __future__ import annotations

import math
import mmap
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError
from veridical.io.guards import existing, start_of, within
from veridical.io.kspace import damaged
from veridical.types import Array

START = b"\x89HDF\r\n\x1a\n"
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, NotImplementedError)
XML_LIMIT = 2**24
HEAP = b"GCOL\x01\0\0\0"
SIDE = 2**26
"""Bytes that masks and headers, which stand beside the data, may take."""


@contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises:
        FormatError: it is not HDF5 or is truncated.
    """
    import h5py

    file = existing(path)
    if start_of(file, 8) != START:
        raise FormatError(
            f"{file} is not an HDF5 file (its first bytes are {start_of(file, 8)!r}). Check which "
            "file it is."
        )
    try:
        handle = h5py.File(file, "r")
    except OSError as error:
        raise FormatError(
            f"{file} is damaged or truncated ({error}). Copy or download it again."
        ) from error
    with handle:
        yield handle


def has(path: Path, *names: str) -> bool:
    """Say whether the file is HDF5 and holds data sets of all these names."""
    if start_of(path, 8) != START:
        return False
    try:
        with opened(path) as handle:
            return all(name in handle for name in names)
    except DAMAGE:
        return False


def holds(handle: Any, name: str, path: Path) -> bool:
    """Say whether there is something of that name in an open file.

    Raises:
        FormatError: the file is damaged where that stands.
    """
    try:
        return name in handle
    except DAMAGE as error:
        raise damaged(path, error, repr(name)) from error


def dataset(handle: Any, name: str, path: Path) -> Any:
    """Return a data set that lies in this very file.

    Raises:
        FormatError: it is missing, a group, or its numbers lie in another file.
    """
    import h5py

    try:
        others = [] if name in handle else sorted(handle)
        link = _link(handle, name)
        whole = isinstance(link, h5py.HardLink)
        found: Any = handle[name] if whole else None
        inside = isinstance(found, h5py.Dataset) and not found.is_virtual and not found.external
        inside = inside and found.dtype is not None and found.shape is not None
    except DAMAGE as error:
        raise damaged(path, error, repr(name)) from error
    if link is None:
        raise FormatError(
            f"{path} holds no {name!r}; it holds: {', '.join(others) or 'nothing'}. Check which "
            "file it is."
        )
    if not whole:
        raise FormatError(
            f"{path}: {name!r} is a link, and links to other files are not followed. Copy the data "
            "into the file."
        )
    if not inside:
        raise FormatError(
            f"{path}: {name!r} is not an array stored in this file; expected one. Check which file "
            "it is."
        )
    return found


def _link(handle: Any, name: str) -> Any:
    """Return the link of that name, or the first one on the way to it that leads elsewhere; None
    where there is none.
    """
    import h5py

    parts, link = name.split("/"), None
    for k in range(len(parts)):
        link = handle.get("/".join(parts[: k + 1]), getlink=True)
        if not isinstance(link, h5py.HardLink):
            break
    return link


def attribute(handle: Any, name: str) -> str:
    """Return a text attribute of the file, empty when it is missing or unreadable.

    Raises:
        FormatError: the file is damaged so that reading it would not end.
    """
    _check_heaps(Path(handle.filename))
    try:
        return str(handle.attrs.get(name, ""))
    except DAMAGE:
        return ""


def values(found: Any, path: Path, budget: int = SIDE) -> Array:
    """Return all numbers of a data set.

    Args:
        found: the data set.
        path: for messages.
        budget: bytes that they, and the largest chunk that they are stored in, may take.

    Raises:
        FormatError: they cannot be read to their end.
        BudgetError: they would take more than `budget`.
    """
    chunk = math.prod(found.chunks or (1,))
    within(max(found.size, chunk) * found.dtype.itemsize, budget, path)
    if found.dtype.hasobject:
        _check_heaps(path)
    if found.chunks:
        _check_chunks(found, path)
    try:
        return np.asarray(found[()])
    except DAMAGE as error:
        raise damaged(path, error, repr(found.name)) from error


def _check_chunks(found: Any, path: Path) -> None:
    """Refuse chunks that are empty or end behind the file: to unpack them ends the process (HDF5
    2.0.0).
    """
    size = path.stat().st_size
    wrong: list[int] = []

    def look(chunk: Any) -> None:
        if chunk.size == 0 or chunk.byte_offset is None or chunk.byte_offset + chunk.size > size:
            wrong.append(chunk.size)

    try:
        found.id.chunk_iter(look)
    except DAMAGE as error:
        raise damaged(path, error, repr(found.name)) from error
    if wrong:
        raise FormatError(
            f"{path} is damaged or truncated: {len(wrong)} parts of {found.name!r} are empty or "
            "lie behind its end. Copy or download it again."
        )


def _check_heaps(path: Path) -> None:
    """Refuse a global heap, where entries of variable length lie, whose free space has no size: the
    HDF5 library would look for its end for ever (version 2.0.0).

    HDF5 file format specification, III.E: objects of index, references, size; index 0 is free.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(HEAP)
        while start >= 0:
            place, size = start + 16, int.from_bytes(content[start + 8 : start + 16], "little")
            end = min(start + size, len(content)) - 16
            while place <= end:
                index = int.from_bytes(content[place : place + 2], "little")
                length = int.from_bytes(content[place + 8 : place + 16], "little")
                if index == 0:
                    if length == 0:
                        raise FormatError(
                            f"{path} is damaged: a heap in it has no end. Copy it again."
                        )
                    break
                place += 16 + -(-length // 8) * 8
            start = content.find(HEAP, start + 16)


@dataclass(frozen=True)
class Encoding:
    """What an ISMRMRD header says of one encoding space.

    Args: matrix: samples of the encoded space along x (readout), y, z. field_of_view: millimetres
        of the encoded space. recon_matrix: voxels of the reconstructed space. recon_field_of_view:
        millimetres of the reconstructed space. centres: index of the zero frequency along encode
        step 1 and 2, None where not stated. partitions: how many values encode step 2 may have,
        None where not stated. trajectory: `cartesian`, `epi`, `radial`, `spiral`, `other`, ...
        calibration_mode: `embedded`, `interleaved`, `separate`, `external`, `other`, or empty where
        not stated. even: the samples of every readout are evenly spaced in k-space: Cartesian, or
        an EPI scan described as sampled on the flat tops of its gradients only.
    """

    matrix: tuple[int, int, int]
    field_of_view: tuple[float, float, float]
    recon_matrix: tuple[int, int, int]
    recon_field_of_view: tuple[float, float, float]
    centres: tuple[int | None, int | None]
    partitions: int | None
    trajectory: str
    calibration_mode: str
    even: bool

    @property
    def readout_kept(self) -> int:
        """Readout samples without oversampling."""
        return max(
            1,
            min(
                self.matrix[0],
                round(self.matrix[0] * self.recon_field_of_view[0] / self.field_of_view[0]),
            ),
        )

    def __str__(self) -> str:
        return "matrix " + " x ".join(map(str, self.matrix))


def parse_header(text: Any, path: Path) -> tuple[tuple[Encoding, ...], dict[str, Any]]:
    """Return the encoding spaces and the technical entries (field strength, echo times, ...) of an
    ISMRMRD header.

    Nothing that names a person or a place is taken over.

    Raises:
        FormatError: not XML, with entity declarations, or without an encoding.
    """
    if not isinstance(text, str | bytes) or len(text) > XML_LIMIT:
        raise FormatError(
            f"{path}: the ISMRMRD header is {type(text).__name__} or too long; expected XML text."
        )
    try:
        plain = text if isinstance(text, str) else text.decode("utf-8")
        if "<!DOCTYPE" in plain or "<!ENTITY" in plain:
            raise ValueError("it declares entities")
        root = ElementTree.fromstring(plain)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        encodings = tuple(_encoding(element) for element in root.iterfind("encoding"))
        if not encodings:
            raise ValueError("it has no encoding")
        return encodings, _technical(root)
    except (
        ElementTree.ParseError,
        ValueError,
        AttributeError,
        TypeError,
        ZeroDivisionError,
        OverflowError,
    ) as error:
        raise FormatError(
            f"{path}: the ISMRMRD header cannot be used ({error}). Write the file again."
        ) from error


def _encoding(element: ElementTree.Element) -> Encoding:
    def three(name: str, kind: type[int] | type[float]) -> tuple[Any, Any, Any]:
        values = [kind(element.findtext(f"{name}/{axis}", "")) for axis in "xyz"]
        if not all(0 < value < float("inf") for value in values):
            raise ValueError(f"{name} is {values}")
        return values[0], values[1], values[2]

    def limit(step: int, name: str) -> int | None:
        found = element.findtext(f"encodingLimits/kspace_encoding_step_{step}/{name}")
        return None if found is None else int(float(found))

    first, last = limit(2, "minimum"), limit(2, "maximum")
    trajectory = element.findtext("trajectory", "").strip().lower()
    return Encoding(
        matrix=three("encodedSpace/matrixSize", int),
        field_of_view=three("encodedSpace/fieldOfView_mm", float),
        recon_matrix=three("reconSpace/matrixSize", int),
        recon_field_of_view=three("reconSpace/fieldOfView_mm", float),
        centres=(limit(1, "center"), limit(2, "center")),
        partitions=None if last is None else last - (first or 0) + 1,
        trajectory=trajectory,
        calibration_mode=element.findtext("parallelImaging/calibrationMode", "").strip().lower(),
        even=trajectory == "cartesian" or (trajectory == "epi" and _on_flat_tops(element)),
    )


def _on_flat_tops(element: ElementTree.Element) -> bool:
    """Say whether an EPI readout is described, in microseconds, as taken between the ramps of its
    gradient.
    """
    said = {
        entry.findtext("name", ""): float(entry.findtext("value", "nan"))
        for kind in ("userParameterLong", "userParameterDouble")
        for entry in element.iterfind(f"trajectoryDescription/{kind}")
    }
    if not {"rampUpTime", "flatTopTime", "acqDelayTime", "numSamples", "dwellTime"} <= set(said):
        return False
    end = said["acqDelayTime"] + said["numSamples"] * said["dwellTime"]
    return (
        said["rampUpTime"] <= said["acqDelayTime"]
        and end <= said["rampUpTime"] + said["flatTopTime"]
    )


def _technical(root: ElementTree.Element) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    field = root.findtext("acquisitionSystemInformation/systemFieldStrength_T")
    if field is not None:
        entries["field"] = float(field)
    bandwidth = root.findtext("acquisitionSystemInformation/relativeReceiverNoiseBandwidth")
    if bandwidth is not None:
        entries["noise_bandwidth"] = float(bandwidth)
    for tag, name in (
        ("TR", "repetition_time"),
        ("TE", "echo_time"),
        ("TI", "inversion_time"),
        ("flipAngle_deg", "flip_angle"),
    ):
        values = [
            float(element.text)
            for element in root.iterfind(f"sequenceParameters/{tag}")
            if element.text
        ]
        if values:
            entries[name] = values[0] if len(values) == 1 else values
    return entries
