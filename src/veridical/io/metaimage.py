"""MetaImage files, `.mha` and `.mhd` with its data file (itk.org/Wiki/MetaIO/Documentation): what
SynthRAD2025 is given out in.

The header is plain text and is read to a limit; packed voxels are unpacked to the size that the
header promises and no further. The axes of ITK (LPS) are turned to RAS here.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from veridical.errors import FormatError, GeometryError
from veridical.io.contrast import channel_names, not_stated, units_for
from veridical.io.guards import BUDGET, existing, finite, start_of, within
from veridical.types import Array, Geometry, Image

TYPES = {
    **{
        "MET_CHAR": "i1",
        "MET_UCHAR": "u1",
        "MET_SHORT": "i2",
        "MET_USHORT": "u2",
        "MET_INT": "i4",
        "MET_UINT": "u4",
    },
    **{"MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
HEADER_LIMIT = 2**16
LINES = 200
BLOCK = 2**20
"""Bytes that are unpacked at a time."""


def recognises(path: Path) -> bool:
    """Say whether the name or the first words are those of a MetaImage."""
    return path.suffix.lower() in (".mha", ".mhd") or start_of(path, 64).split(b"=")[0].strip() in (
        b"ObjectType",
        b"NDims",
    )


def metaimage(
    path: str | Path,
    *,
    contrast: str | Sequence[str] | None = None,
    units: str | None = None,
    budget: int = BUDGET,
) -> Image:
    """Read a MetaImage of two or three dimensions.

    Args:
        path: `.mha`, or `.mhd` beside its data file.
        contrast: channel names, one a channel; otherwise from the file name, as for NIfTI.
        units: of the numbers; otherwise what the contrast implies (CT is HU), else `a.u.`.
        budget: bytes of memory that the read may take.

    Returns: data `(channel, x, y, z)`: float32 (float64 for integers of 32 bits and more and for
        doubles; integers stay integers when the units are `label`); affine in mm, RAS+; frame
        `index` where the voxel size is not stated.

    Raises: FormatError: not a MetaImage, truncated, another size than its header says, kinds that
        are not read, NaN. GeometryError: spacing or direction are wrong. BudgetError: it would take
        more memory than `budget`.
    """
    file = existing(path)
    with file.open("rb") as stream:
        fields = _fields(stream, file)
        start = stream.tell()
    shape, channels, stored = _kind(fields, file)
    names, contrast_source = channel_names(file, channels, contrast)
    chosen, units_source = units_for(names[0], units, None)
    count = shape[0] * shape[1] * shape[2] * channels
    wide = stored.itemsize > (4 if stored.kind == "f" else 2)
    kept = chosen == "label" and stored.kind in "iu"
    target = stored.newbyteorder("=") if kept else np.dtype(np.float64 if wide else np.float32)
    within(count * (stored.itemsize + target.itemsize), budget, file)
    geometry = _geometry(fields, shape, file)
    source, offset = _data_file(fields, file, start)
    voxels = np.frombuffer(
        _bytes(source, offset, count * stored.itemsize, fields, file), stored
    ).astype(target)
    finite(voxels, file)
    data = voxels.reshape((channels, *shape), order="F")
    notes = (
        (not_stated(file, channels),)
        if contrast_source == "not stated" and chosen != "label"
        else ()
    )
    header = {
        "contrast_source": contrast_source,
        "units_source": units_source,
        "affine_source": "Offset and TransformMatrix",
        "notes": notes,
    }
    return Image(data, geometry, chosen, names, header)


def grid_of(path: Path) -> tuple[Geometry, int]:
    """Return the grid and the number of channels, from the header alone.

    Raises:
        FormatError: as `metaimage`; of truncation only what the size of the file tells.
        GeometryError: as `metaimage`.
    """
    with existing(path).open("rb") as stream:
        fields = _fields(stream, path)
        start = stream.tell()
    shape, channels, stored = _kind(fields, path)
    source, offset = _data_file(fields, path, start)
    packed = fields.get("CompressedData", "False") == "True"
    said = (
        fields.get("CompressedDataSize", "0")
        if packed
        else str(shape[0] * shape[1] * shape[2] * channels * stored.itemsize)
    )
    if said.isdigit() and source.stat().st_size < offset + int(said):
        raise FormatError(
            f"{source} is truncated: it ends before the {said} bytes of voxels that {path.name} "
            "promises. Copy it again."
        )
    return _geometry(fields, shape, path), channels


def _fields(stream: IO[bytes], path: Path) -> dict[str, str]:
    """Read the lines up to `ElementDataFile`, which is the last."""
    fields: dict[str, str] = {}
    for _ in range(LINES):
        line = stream.readline(HEADER_LIMIT)
        key, equals, value = line.decode("latin-1").partition("=")
        if not line or not equals or len(line) >= HEADER_LIMIT:
            break
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return fields
    raise FormatError(
        f"{path} is no MetaImage, or its header is cut off: ElementDataFile was not found. Copy it "
        "again."
    )


def _numbers(
    fields: Mapping[str, str], key: str, count: int, path: Path, *others: str
) -> list[float]:
    text = next((fields[name] for name in (key, *others) if name in fields), None)
    try:
        numbers = [float(word) for word in (text or "").split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise GeometryError(
            f"{path}: {key} is {text!r}; expected {count} numbers. Write it again from its source."
        )
    return numbers


def _kind(fields: Mapping[str, str], path: Path) -> tuple[tuple[int, int, int], int, np.dtype[Any]]:
    """Return shape, channels and stored type, or say what about them is not read."""
    sizes = [
        int(n) for n in _numbers(fields, "DimSize", len(fields.get("DimSize", "").split()), path)
    ]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if not 2 <= len(sizes) <= 3 or min(sizes) < 1:
        raise FormatError(
            f"{path} has DimSize {fields.get('DimSize')!r}; expected two or three positive "
            "numbers. Split it first."
        )
    kind = TYPES.get(fields.get("ElementType", ""))
    if kind is None or fields.get("BinaryData", "True") == "False":
        raise FormatError(
            f"{path} holds {fields.get('ElementType')!r}, BinaryData "
            f"{fields.get('BinaryData', 'True')}; expected binary data "
            f"of one of {', '.join(TYPES)}. Write it again with SimpleITK or ITK."
        )
    large = (
        fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")) == "True"
    )
    channels = int(
        _numbers({"ElementNumberOfChannels": "1", **fields}, "ElementNumberOfChannels", 1, path)[0]
    )
    if not 1 <= channels <= 1024:
        raise FormatError(
            f"{path} has {channels} channels; expected 1 to 1024. Write it again from its source."
        )
    x, y, z = [*sizes, 1][:3]
    return (x, y, z), channels, np.dtype((">" if large else "<") + kind)


def _geometry(fields: Mapping[str, str], shape: tuple[int, int, int], path: Path) -> Geometry:
    """Return the grid: the rows of TransformMatrix are the directions of the axes, in LPS; an index
    grid without a spacing.
    """
    if not {"ElementSpacing", "ElementSize"} & set(fields):
        return Geometry.index(shape)
    axes = len(fields["DimSize"].split())
    spacing, offset, matrix = np.ones(3), np.zeros(3), np.eye(3)
    spacing[: min(axes, 3)] = _numbers(fields, "ElementSpacing", axes, path, "ElementSize")[:3]
    if any(name in fields for name in ("Offset", "Position", "Origin")):
        offset[: min(axes, 3)] = _numbers(fields, "Offset", axes, path, "Position", "Origin")[:3]
    if any(name in fields for name in ("TransformMatrix", "Rotation", "Orientation")):
        turned = _numbers(fields, "TransformMatrix", axes * axes, path, "Rotation", "Orientation")
        matrix[: min(axes, 3), : min(axes, 3)] = np.reshape(turned, (axes, axes))[:3, :3]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix.T * spacing, offset
    try:
        return Geometry(shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error


def _data_file(fields: Mapping[str, str], path: Path, start: int) -> tuple[Path, int]:
    """Return where the voxels lie: behind the header, or in the file beside it that it names."""
    name = fields["ElementDataFile"]
    if name == "LOCAL":
        return path, start
    if not name or name != Path(name).name or name.split()[0] == "LIST" or "%" in name:
        raise FormatError(
            f"{path} names {name!r} as its data; expected LOCAL or one file beside it. Write it as "
            ".mha."
        )
    skip = int(fields.get("HeaderSize", "0")) if fields.get("HeaderSize", "0").isdigit() else 0
    return existing(path.with_name(name)), skip


def _bytes(source: Path, offset: int, size: int, fields: Mapping[str, str], path: Path) -> Array:
    """Return exactly `size` bytes of voxels, unpacked when they are packed."""
    out = np.empty(size, np.uint8)
    with source.open("rb") as stream:
        stream.seek(offset)
        if fields.get("CompressedData", "False") != "True":
            done, more = stream.readinto(out.data), len(stream.read(1))
        else:
            done, more = _unpack(stream, out, path)
    if done != size or more:
        got = f"{done} bytes" if done < size else "more"
        raise FormatError(
            f"{path} promises {size} bytes of voxels and holds {got}; it is truncated or not its "
            "own. Copy it again."
        )
    return out


def _unpack(stream: IO[bytes], out: Array, path: Path) -> tuple[int, int]:
    """Unpack a zlib stream into `out`; return the bytes that came, and how many more there were at
    the least.
    """
    unpacker, done = zlib.decompressobj(), 0
    try:
        while not unpacker.eof and done <= out.size:
            packed = unpacker.unconsumed_tail or stream.read(BLOCK)
            piece = unpacker.decompress(packed, BLOCK) if packed else unpacker.flush()
            room = min(len(piece), out.size - done)
            out[done : done + room] = np.frombuffer(piece[:room], np.uint8)
            if room < len(piece):
                return done + room, len(piece) - room
            done += room
            if not packed:
                break
    except zlib.error as error:
        raise FormatError(
            f"{path} is damaged: its voxels cannot be unpacked ({error}). Copy it again."
        ) from error
    return done if unpacker.eof else min(done, out.size - 1), 0
