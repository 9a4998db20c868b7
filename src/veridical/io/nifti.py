"""NIfTI-1 and NIfTI-2 files, `.nii` and `.nii.gz`, read and written fast: gzip by ISA-L, the voxels
straight into one buffer.

The header is checked, and the memory it asks for counted, before anything is allocated; no more is
ever unpacked than the header promises, so a small file cannot unfold into a large one. Units and
channel names that Veridical wrote stand in a comment extension (code 6) as JSON; other readers pass
over it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from veridical.errors import FormatError, InputError
from veridical.io.contrast import channel_names, not_stated, units_for
from veridical.io.guards import BUDGET, existing, finite, replacing, start_of, within
from veridical.io.nifti_affine import FRAMES, placed_by
from veridical.types import Array, Geometry, Image

GZIP = b"\x1f\x8b"
MAGIC = {348: (b"n+1\0", 344), 540: (b"n+2\0\r\n\x1a\n", 4)}
SUFFIXES = (".nii", ".nii.gz")
COMMENT = 6
SYNTHETIC = b"synthetic: no patient was measured"
"""Description in the header of images whose `header["synthetic"]` says that they are."""
EXTENSION_LIMIT = 2**20
BLOCK = 2**18
"""Bytes that are unpacked and converted at a time."""


def recognises(path: Path) -> bool:
    """Say whether the first bytes are those of a single-file NIfTI, packed or not."""
    start, named = start_of(path), path.name.lower().endswith(SUFFIXES)
    if start[:2] == GZIP:
        with path.open("rb") as file:
            try:
                start = zlib.decompressobj(31).decompress(file.read(4096), 352)
            except zlib.error:
                return named
    size = _header_size(start)
    return named or (size is not None and _magic(start, size))


def nifti(
    path: str | Path,
    *,
    contrast: str | Sequence[str] | None = None,
    units: str | None = None,
    budget: int = BUDGET,
) -> Image:
    """Read a NIfTI file as an image; a fourth axis becomes channels.

    Args: path: `.nii` or `.nii.gz`. contrast: channel names, one a channel. Otherwise those stored
        in the file, else the BIDS suffix of the name (`_T1w`, `_FLAIR`, `_CT`), else `unknown`;
        `header["contrast_source"]` says which. units: of the numbers. Otherwise those stored in the
        file, else what the contrast implies (CT is HU, weighted MR is `a.u.`), else `a.u.`;
        `header["units_source"]` says which. budget: bytes of memory that the read may take.

    Returns: data `(channel, x, y, z)`: float32 with slope and intercept applied (float64 where 32
        bits cannot hold the stored type; integers stay integers when the units are `label`); affine
        in mm, RAS+.

    Raises: FormatError: not NIfTI, truncated, longer than its header says, a wrong header, NaN or
        infinite values. GeometryError: sform and qform are singular or not finite. BudgetError: it
        would take more memory than `budget`.
    """
    file = existing(path)
    with _opened(file) as stream:
        header = _read_header(stream, file)
        shape, count = _shape(header, file)
        stored = np.dtype(header.get_data_dtype())
        if stored.kind not in "iufc":
            what = "colours (RGB)" if stored.names else f"voxels of type {stored}"
            raise FormatError(
                f"{file} holds {what}; expected real or complex numbers. Split the colours first."
            )
        said = _extension(stream, header, file)
        names, contrast_source = channel_names(file, shape[3], contrast, said.get("channels", ()))
        chosen, units_source = units_for(names[0], units, said.get("units"))
        scale, notes = scale_of(header, file)
        target = (
            stored.newbyteorder("=")
            if chosen == "label" and stored.kind in "iu" and scale is None
            else _target(stored)
        )
        within(count * target.itemsize + BLOCK, budget, file)
        voxels = _voxels(stream, stored, np.empty(count, target), scale, file)
    data = np.moveaxis(voxels.reshape(shape, order="F"), -1, 0)
    geometry, affine_source, placed = placed_by(header, shape[:3], said.get("frame"), file)
    if bytes(header["descrip"]).startswith(SYNTHETIC):
        notes.append(f"{file.name} is synthetic: no patient was measured.")
    notes += placed + (
        [not_stated(file, shape[3])]
        if contrast_source == "not stated" and chosen != "label"
        else []
    )
    sources: dict[str, Any] = {
        "contrast_source": contrast_source,
        "units_source": units_source,
        "affine_source": affine_source,
    } | ({"notes": tuple(notes)} if notes else {})
    if chosen == "mixed" and len(said.get("each", ())) == len(names):
        sources["units"] = dict(zip(names, said["each"], strict=True))
    return Image(data, geometry, chosen, names, sources)


def grid_of(path: str | Path) -> tuple[Geometry, int]:
    """Return the grid and the number of channels, from the header alone; the voxels are read only
    where the size is in doubt.

    Raises:
        FormatError, GeometryError: as `nifti`; of the voxels only what the size of the file tells.
    """
    file = existing(path)
    with _opened(file) as stream:
        header = _read_header(stream, file)
    shape, count = _shape(header, file)
    expected = int(header.get_data_offset()) + count * np.dtype(header.get_data_dtype()).itemsize
    size = file.stat().st_size
    if start_of(file, 2) == GZIP:
        with file.open("rb") as raw:
            raw.seek(-4, 2)
            size = int.from_bytes(raw.read(4), "little")
    if size != expected % 2**32:
        nifti(file)
    return placed_by(header, shape[:3], None, file)[0], shape[3]


def write_nifti(image: Image, path: Path) -> None:
    """Write an image as NIfTI, packed when the name ends in `.gz`; the same image gives the same
    bytes.

    Args: image: real or complex64; the type of its numbers is kept (bool and float16 are widened).
        Several channels become the fourth axis. path: the file to make; it appears whole or not at
        all.

    Raises:
        FormatError: the data hold NaN or infinities.
        InputError: the name does not end in `.nii` or `.nii.gz`.
    """
    from isal import igzip

    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(
            f"{path} ends in {path.suffix or 'nothing'!r}; expected .nii or .nii.gz. Rename the "
            "output."
        )
    finite(image.data, path)
    wider = {"bool": np.uint8, "float16": np.float32}
    data = image.data.astype(wider.get(image.data.dtype.name, image.data.dtype), copy=False)
    head = _header_bytes(image, data)
    body = np.moveaxis(data, 0, -1).tobytes(order="F")
    with replacing(path) as temporary, temporary.open("wb") as raw:
        if path.name.lower().endswith(".gz"):
            with igzip.IGzipFile(
                filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0
            ) as packed:
                packed.write(head)
                packed.write(body)
        else:
            raw.write(head)
            raw.write(body)


def _opened(path: Path) -> IO[bytes]:
    from isal import igzip

    return cast(IO[bytes], igzip.open(path, "rb")) if start_of(path, 2) == GZIP else path.open("rb")


def _fill(
    stream: IO[bytes], buffer: memoryview, path: Path, what: str, before: int = 0, whole: int = 0
) -> None:
    """Fill `buffer` from a stream, or say how much was missing: `before` bytes came earlier, of
    `whole` in all.
    """
    done = 0
    while done < len(buffer) and (got := _read_into(stream, buffer[done:], path, what)):
        done += got
    if done < len(buffer):
        raise FormatError(
            f"{path} is truncated: {what} has {before + done} bytes, expected "
            f"{whole or len(buffer)}. Copy it again."
        )


def _read_into(stream: IO[bytes], buffer: memoryview, path: Path, what: str) -> int:
    from isal.igzip_lib import IsalError

    try:
        return int(stream.readinto(buffer))  # type: ignore[attr-defined]
    except (EOFError, OSError, IsalError) as error:  # type: ignore[misc]  # the stub calls it an instance
        raise FormatError(
            f"{path} is damaged: {what} could not be unpacked ({error}). Copy or download it again."
        ) from error


def _header_size(start: bytes) -> int | None:
    sizes = (
        {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
        if len(start) >= 4
        else set()
    )
    return next((size for size in MAGIC if size in sizes), None)


def _magic(start: bytes, size: int) -> bool:
    magic, offset = MAGIC[size]
    return start[offset : offset + len(magic)] == magic


def _read_header(stream: IO[bytes], path: Path) -> Any:
    """Return nibabel's header object, checked."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    block = bytearray(348)
    _fill(stream, memoryview(block), path, "the header")
    size = _header_size(bytes(block))
    if size is None:
        raise FormatError(
            f"{path} does not start with a NIfTI header; expected a header size of 348 or 540 in "
            "its first bytes."
        )
    if size == 540:
        rest = bytearray(540 - 348)
        _fill(stream, memoryview(rest), path, "the header")
        block += rest
    if not _magic(bytes(block), size):
        raise FormatError(
            f"{path} has no single-file NIfTI mark (n+1 or n+2): it is Analyze or one half of a "
            ".hdr/.img pair. "
            "Convert it to .nii.gz first, e.g. with nibabel or fslchfiletype."
        )
    kind = Nifti1Header if size == 348 else Nifti2Header
    try:
        stated, header = kind(bytes(block), check=False), kind(bytes(block), check=True)
    except (HeaderDataError, WrapStructError, ValueError) as error:
        raise FormatError(
            f"{path} has a wrong NIfTI header: {error}. Write it again from its source."
        ) from error
    header["pixdim"][1:4] = np.abs(
        stated["pixdim"][1:4]
    )  # a size of 0, which the check replaces by 1, is not stated
    return header


def _shape(header: Any, path: Path) -> tuple[tuple[int, int, int, int], int]:
    dims = tuple(int(n) for n in header.get_data_shape())
    while len(dims) > 4 and dims[-1] == 1:
        dims = dims[:-1]
    dims += (1,) * (4 - len(dims))
    if len(dims) != 4 or min(dims) < 1:
        raise FormatError(
            f"{path} has the shape {dims}; expected (x, y, z) or (x, y, z, channel), all positive. "
            "Split it first."
        )
    count = dims[0] * dims[1] * dims[2] * dims[3]
    return (dims[0], dims[1], dims[2], dims[3]), count


def scale_of(header: Any, path: Path) -> tuple[tuple[float, float] | None, list[str]]:
    """Return slope and intercept, None where there is nothing to scale, and what was assumed about
    them.
    """
    slope = float(header["scl_slope"])
    intercept = float(header["scl_inter"]) if "scl_inter" in header.keys() else 0.0  # noqa: SIM118
    if slope == 0 or not np.isfinite(slope):
        ignored = bool(np.isfinite(intercept)) and intercept != 0
        return None, [
            f"{path.name}: the slope is {slope:g}, so the intercept {intercept:g} was not applied."
        ] * ignored
    if not np.isfinite(intercept):
        notes = [
            f"{path.name}: the intercept is {intercept:g}; it was assumed to be 0, the slope is "
            f"{slope:g}."
        ]
        return (None if slope == 1 else (slope, 0.0)), notes
    return (None if (slope, intercept) == (1.0, 0.0) else (slope, intercept)), []


def _target(stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in memory: float32, or float64 where 32 bits would lose digits of the stored
    numbers.
    """
    if stored.kind == "c":
        return np.dtype(np.complex64 if stored.itemsize <= 8 else np.complex128)
    narrow = stored.itemsize <= (4 if stored.kind == "f" else 2)
    return np.dtype(np.float32 if narrow else np.float64)


def _extension(stream: IO[bytes], header: Any, path: Path) -> dict[str, Any]:
    """Read what lies between header and voxels; return what Veridical wrote there, or nothing."""
    try:
        gap = int(header.get_data_offset()) - int(header["sizeof_hdr"])
    except (ValueError, OverflowError):  # NaN or infinity, in a field of floating point
        gap = -1
    if gap < 0 or gap > EXTENSION_LIMIT:
        raise FormatError(
            f"{path} puts its voxels {gap} bytes after the header; expected 0 to {EXTENSION_LIMIT}."
        )
    block = bytearray(gap)
    _fill(stream, memoryview(block), path, "the header extension")
    order = "little" if header.endianness == "<" else "big"
    place = 4
    while block[:1] == b"\x01" and place + 8 <= gap:
        size, code = (
            int.from_bytes(block[place + i : place + i + 4], cast(Any, order)) for i in (0, 4)
        )
        if size < 16 or place + size > gap:
            break
        text = bytes(block[place + 8 : place + size]).rstrip(b"\0")
        if code == COMMENT and text.startswith(b'{"veridical":'):
            try:
                said = json.loads(text)["veridical"]
                return {
                    "units": str(said["units"]),
                    "channels": [str(name) for name in said["channels"]],
                    "frame": str(said["frame"]),
                    "each": [str(units) for units in said.get("each", ())],
                }
            except (ValueError, KeyError, TypeError) as error:
                raise FormatError(
                    f"{path} has a damaged Veridical extension ({error}). Write it again."
                ) from error
        place += size
    return {}


def _voxels(
    stream: IO[bytes],
    stored: np.dtype[Any],
    voxels: Array,
    scale: tuple[float, float] | None,
    path: Path,
) -> Array:
    """Fill `voxels` from the stream block by block: a block stays in the cache while it is
    unpacked, converted and checked.
    """
    what = f"the block of {voxels.size} voxels"
    block = np.empty(min(voxels.size, BLOCK // stored.itemsize), stored)
    clean = True
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, voxels.size, block.size):
            part = voxels[start : start + block.size]
            piece = block[: part.size]
            _fill(
                stream,
                piece.view(np.uint8).data,
                path,
                what,
                start * stored.itemsize,
                voxels.size * stored.itemsize,
            )
            part[:] = piece
            if scale is not None:
                part *= part.dtype.type(scale[0])
                part += part.dtype.type(scale[1])
            clean = clean and bool(np.isfinite(part).all())
    if not clean:
        finite(voxels, path)
    if _read_into(stream, memoryview(bytearray(1)), path, "its end"):
        raise FormatError(
            f"{path} holds more data than the {voxels.size} voxels of its header; the shape in it "
            "is wrong."
        )
    return voxels


def _header_bytes(image: Image, data: Array) -> bytes:
    """Return header and extension, up to the first voxel."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    shape = image.geometry.shape if data.shape[0] == 1 else (*image.geometry.shape, data.shape[0])
    header = (Nifti1Header if max(shape) <= 32767 else Nifti2Header)()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(shape)
    code = next((key for key, frame in FRAMES.items() if frame == image.geometry.frame), 2)
    header.set_zooms((*image.geometry.spacing, *(1.0,) * (len(shape) - 3)))
    header.set_qform(image.geometry.affine, code, strip_shears=True)
    header.set_sform(image.geometry.affine, code)
    header.set_xyzt_units("mm")
    if image.header.get("synthetic"):
        header["descrip"] = SYNTHETIC
    told: dict[str, Any] = {
        "units": image.units,
        "channels": list(image.channels),
        "frame": image.geometry.frame,
    }
    if image.units == "mixed":
        told["each"] = [image.units_of(name) for name in image.channels]
    said = {"veridical": told}
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    text += b"\0" * (-(len(text) + 8) % 16)
    extension = (len(text) + 8).to_bytes(4, "little") + COMMENT.to_bytes(4, "little") + text
    start = int(header["sizeof_hdr"]) + 4 + len(extension)
    header["vox_offset"] = start + (-start % 16)
    header["magic"] = b"n+1" if int(header["sizeof_hdr"]) == 348 else MAGIC[540][0]
    block = bytes(header.binaryblock) + b"\x01\0\0\0" + extension
    return block + b"\0" * (int(header["vox_offset"]) - len(block))
