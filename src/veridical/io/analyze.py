"""Pairs of `.hdr` and `.img`: Analyze 7.5 and NIfTI-1 in two files, as OASIS-1 and OASIS-2 are
given out.

Analyze states neither position nor left and right; what it does state, the spacing, is all that is
believed. A NIfTI pair is read with its affine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError
from veridical.io.contrast import channel_names, not_stated, units_for
from veridical.io.guards import BUDGET, existing, finite, start_of, within
from veridical.io.nifti import scale_of
from veridical.io.nifti_affine import by_spacing, placed_by
from veridical.types import Geometry, Image

SIZE = 348
NIFTI_PAIR = b"ni1\0"


def recognises(path: Path) -> bool:
    """Say whether this is one of a pair whose header has the length of Analyze."""
    if path.suffix.lower() not in (".hdr", ".img"):
        return False
    head, voxels = pair(path)
    start = start_of(head, 4)
    return voxels.is_file() and SIZE in (
        int.from_bytes(start, "little"),
        int.from_bytes(start, "big"),
    )


def pair(path: Path) -> tuple[Path, Path]:
    """Return header and voxels, with the suffixes in capitals where those of the path are."""
    head, voxels = (".HDR", ".IMG") if path.suffix.isupper() else (".hdr", ".img")
    return path.with_suffix(head), path.with_suffix(voxels)


def analyze(
    path: str | Path,
    *,
    contrast: str | Sequence[str] | None = None,
    units: str | None = None,
    budget: int = BUDGET,
) -> Image:
    """Read a pair of `.hdr` and `.img`; a fourth axis becomes channels.

    Args:
        path: either of the two.
        contrast: channel names, one a channel; otherwise from the file name, as for NIfTI.
        units: of the numbers; otherwise what the contrast implies, else `a.u.`.
        budget: bytes of memory that the read may take.

    Returns: data `(channel, x, y, z)`: float32 (float64 where 32 bits cannot hold the stored type;
        integers stay integers when the units are `label`). Analyze: frame `local`, the spacing
        alone is known. NIfTI: its affine, RAS+.

    Raises:
        FormatError: one of the two is missing, too short or too long, a wrong header, NaN.
        GeometryError: the forms of a NIfTI pair are singular.
        BudgetError: it would take more memory than `budget`.
    """
    head, voxels = (existing(file) for file in pair(Path(path)))
    header = header_of(head)
    shape, stored = _shape(header, head), np.dtype(header.get_data_dtype())
    names, contrast_source = channel_names(voxels, shape[3], contrast)
    chosen, units_source = units_for(names[0], units, None)
    scale, notes = scale_of(header, head)
    wide = stored.itemsize > (4 if stored.kind == "f" else 2)
    kept = chosen == "label" and stored.kind in "iu" and scale is None
    target = stored.newbyteorder("=") if kept else np.dtype(np.float64 if wide else np.float32)
    count, offset = int(np.prod(shape)), int(header.get_data_offset())
    within(count * (stored.itemsize + target.itemsize), budget, voxels)
    _sized(voxels, offset + count * stored.itemsize)
    values = np.fromfile(voxels, stored, count, offset=offset).astype(target)
    if scale is not None:
        values = values * target.type(scale[0]) + target.type(scale[1])
    finite(values, voxels)
    data = np.moveaxis(values.reshape(shape, order="F"), -1, 0)
    geometry, source, placed = _geometry(header, shape[:3], head)
    notes += placed + (
        [not_stated(voxels, shape[3])]
        if contrast_source == "not stated" and chosen != "label"
        else []
    )
    said = {
        "contrast_source": contrast_source,
        "units_source": units_source,
        "affine_source": source,
        "notes": tuple(notes),
    }
    return Image(data, geometry, chosen, names, said)


def grid_of(path: Path) -> tuple[Geometry, int]:
    """Return the grid and the number of channels, from the header alone.

    Raises:
        FormatError, GeometryError: as `analyze`.
    """
    head, voxels = pair(path)
    header = header_of(existing(head))
    shape = _shape(header, path)
    count, stored = int(np.prod(shape)), np.dtype(header.get_data_dtype())
    _sized(existing(voxels), int(header.get_data_offset()) + count * stored.itemsize)
    return _geometry(header, shape[:3], path)[0], shape[3]


def header_of(head: Path) -> Any:
    """Return nibabel's header object of a `.hdr`, checked.

    Raises: FormatError: its length or its entries are wrong, or its numbers are neither integers
        nor floats.
    """
    from nibabel.nifti1 import Nifti1PairHeader
    from nibabel.spatialimages import HeaderDataError
    from nibabel.spm99analyze import Spm99AnalyzeHeader
    from nibabel.wrapstruct import WrapStructError

    block = start_of(head, SIZE)
    kind = Nifti1PairHeader if block[344:348] == NIFTI_PAIR else Spm99AnalyzeHeader
    try:
        header = kind(block, check=True)
        header["pixdim"][1:4] = np.abs(
            kind(block, check=False)["pixdim"][1:4]
        )  # the check replaces sizes of 0 by 1
        stored = np.dtype(header.get_data_dtype())
    except (HeaderDataError, WrapStructError, ValueError) as error:
        raise FormatError(
            f"{head} has a wrong header: {error}. Copy it again, or write it again from its source."
        ) from error
    if stored.kind not in "iuf":
        raise FormatError(f"{head} describes voxels of type {stored}; expected integers or floats.")
    return header


def _sized(voxels: Path, expected: int) -> None:
    size = voxels.stat().st_size
    if size != expected:
        raise FormatError(
            f"{voxels} has {size} bytes, its header promises {expected}. Copy both files again."
        )


def _shape(header: Any, path: Path) -> tuple[int, int, int, int]:
    dims = [int(n) for n in header.get_data_shape()]
    while len(dims) > 4 and dims[-1] == 1:
        dims.pop()
    dims += [1] * (4 - len(dims))
    if len(dims) != 4 or min(dims) < 1:
        raise FormatError(
            f"{path} has the shape {tuple(dims)}; expected (x, y, z) or (x, y, z, channel), all "
            "positive."
        )
    return dims[0], dims[1], dims[2], dims[3]


def _geometry(
    header: Any, shape: tuple[int, int, int], path: Path
) -> tuple[Geometry, str, list[str]]:
    if "sform_code" in header.keys():  # noqa: SIM118
        return placed_by(header, shape, None, path)
    spacing = np.array(header["pixdim"][1:4], np.float64)
    spacing[(spacing == 0) & (np.array(shape) == 1)] = 1.0
    if not np.isfinite(spacing).all() or spacing.min() <= 0:
        return Geometry.index(shape), "none; neither spacing nor position stated", []
    return by_spacing(shape, spacing, path)
