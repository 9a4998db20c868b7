"""DICOM series as one volume: single frames, enhanced multi-frame objects, Siemens mosaics (CT, MR,
PET).

One volume: one orientation, even distances, no slice twice. Several in one place are listed, and
one of them is chosen by its number; what makes no volume is refused, because a volume made of it
would be wrong without looking so. The patient axes of DICOM (LPS) are turned to RAS here. A tilted
gantry gives a sheared affine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, InputError, UnitsError
from veridical.io.contrast import channel_names
from veridical.io.dicom_slice import SAID, Slice, read_slices
from veridical.io.dicom_stacks import affine_of, part_of, stack_of
from veridical.io.dicom_units import units_of
from veridical.io.guards import BUDGET, existing, finite, start_of, within
from veridical.io.sequence import contradiction, of_header
from veridical.types import Array, Geometry, Image

MODALITIES = {"PT": "PET"}
TIMES = {
    "EchoTime": "echo_time",
    "RepetitionTime": "repetition_time",
    "InversionTime": "inversion_time",
}
"""Tag -> entry of the header, in ms."""
TILT = 0.1
"""Degrees between the slice axis and the normal above which an affine is called sheared."""


def recognises(path: Path) -> bool:
    """Say whether this is a DICOM file, or a folder that holds one."""
    if path.is_dir():
        return any(_is_dicom(file) or _called_so(file) for file in path.iterdir() if file.is_file())
    return _is_dicom(path) or path.suffix.lower() == ".dcm"


def dicom(
    path: str | Path,
    *,
    contrast: str | Sequence[str] | None = None,
    units: str | None = None,
    slices: tuple[int, int] | None = None,
    stack: int | None = None,
    series: str | None = None,
    budget: int = BUDGET,
) -> Image:
    """Read one DICOM volume.

    Args: path: a folder with one image series (other objects, such as structure sets, are left out
        and counted in the header), or a single file. contrast: channel name; otherwise the modality
        (`CT`, `PET`), and of MR what description and sequence times say. units: otherwise HU for CT
        that is rescaled, SUV for PET where they can be computed, else what the file states for it,
        `a.u.` for the rest. slices: first and last slice to read, counted from 1 along the slice
        axis; for series of several slabs. series: instance UID of the one series to read, of a
        folder that holds several. stack: which volume, counted from 1, where echoes, orientations,
        times or series make several. budget: bytes of memory that the read may take.

    Returns: data `(1, x, y, z)` float32, rescaled slice by slice; affine in mm, RAS+, sheared when
        the gantry was tilted (`header["gantry_tilt"]`, degrees); frame is the frame of reference
        UID. The header holds technical entries only; `header["notes"]` says what was chosen or
        converted.

    Raises:
        FormatError: not DICOM, truncated, compressed in a way that cannot be decoded, colour.
        InputError: no image, or several volumes.
        GeometryError: gaps, slices twice, no position.
        UnitsError: units or a contrast that contradict the header.
        BudgetError: it would take more memory than `budget`.
    """
    folder = Path(path)
    images, header, notes = _images(folder, budget)
    images = [one for one in images if series in (None, one.series)]
    images, chosen = stack_of(images, stack, folder)
    images = part_of(images, slices, folder)
    first = images[0]
    affine = affine_of(images, folder)
    names, source, why = _contrast(first, contrast, folder)
    measured = units_of(images, units, folder)
    data = np.empty((*first.size[::-1], len(images)), np.float32, order="F")
    for index, one in enumerate(images):
        data[:, :, index] = one.pixels().T
    data *= np.float32(measured.factor)
    finite(data, folder)
    header |= {**first.header, "contrast_source": source, "units_source": measured.source}
    tilt = _tilt(affine)
    if tilt > TILT:
        header["gantry_tilt"] = round(tilt, 3)
        header["affine_source"] = "slice positions; sheared, because the gantry was tilted"
        notes.append(
            f"{folder.name}: the gantry was tilted by {tilt:.1f} degrees; the affine is sheared."
        )
    header["notes"] = tuple(note for note in (*notes, chosen, *why, *measured.notes) if note)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return Image(data[None], Geometry(data.shape, ras, first.frame), measured.units, names, header)


def _is_dicom(path: Path) -> bool:
    return start_of(path, 132)[128:] == b"DICM"


def _called_so(path: Path) -> bool:
    return path.suffix.lower() == ".dcm" and not path.name.startswith("._")


def _images(path: Path, budget: int) -> tuple[list[Slice], dict[str, Any], list[str]]:
    """Return all images at `path`, the count of other objects, and a sentence about what could not
    be opened.
    """
    notes = []
    if not path.is_dir():
        files = [existing(path)]
    else:
        held = sorted(file for file in path.iterdir() if file.name != "DICOMDIR")
        files = [file for file in held if file.is_file()]
        dangling = [file.name for file in held if file.is_symlink() and not file.exists()]
        if dangling:
            listed = ", ".join(dangling[:3]) + (", ..." if len(dangling) > 3 else "")
            notes.append(
                f"{path.name}: {len(dangling)} symbolic links to files that are not there were "
                f"left out: {listed}."
            )
        strange = [file for file in files if _called_so(file) and not _is_dicom(file)]
        if strange:
            raise FormatError(
                f"{strange[0]} is empty or not DICOM, though its name says so. Copy it again or "
                "move it away."
            )
        files = [file for file in files if _is_dicom(file)]
    within(sum(file.stat().st_size for file in files), budget, path)
    images, left_out = list[Slice](), Counter[str]()
    for file in files:
        read = read_slices(file)
        if isinstance(read, str):
            left_out[read] += 1
        else:
            images += read
    if not images:
        what = ", ".join(f"{count} {name}" for name, count in left_out.items()) or "no DICOM file"
        raise InputError(
            f"{path} holds no DICOM image ({what}). Give the folder of an image series."
        )
    within(sum(one.size[0] * one.size[1] for one in images) * 8, budget, path)
    return images, {"left_out": dict(left_out)} if left_out else {}, notes


def _contrast(
    first: Slice, given: str | Sequence[str] | None, path: Path
) -> tuple[tuple[str, ...], str, list[str]]:
    """Return the channel's name, where it comes from, and what is to be said of it."""
    said = {tag: first.entries.get(tag) for tag in SAID} | {"Modality": first.modality}
    times = {tag: first.header.get(name) for tag, name in TIMES.items()}
    stored, basis = MODALITIES.get(first.modality, first.modality), ""
    if first.modality == "MR":
        stored, basis = of_header({**said, **times})
    names, source = channel_names(path, 1, given, (stored,) if stored else ())
    seconds = {tag: value / 1000 for tag, value in times.items() if value is not None}
    against = contradiction(names[0], {**said, **seconds})
    if against and source == "given" and against.startswith("the modality"):
        raise UnitsError(
            f"{path} has {against}; --contrast {names[0]} contradicts it. Leave it out."
        )
    notes = [f"{path.name} is called {names[0]}, and its header has {against}."] if against else []
    if source == "file header" and basis:
        notes.append(f"{path.name} is taken for {names[0]} by {basis}; --contrast says otherwise.")
    if source == "not stated":
        notes.append(
            f"{path.name}: its header does not tell the contrast. Say which it is, for instance "
            "--contrast T1w."
        )
    return names, source, notes


def _tilt(affine: Array) -> float:
    """Return the angle between the slice axis and the normal of the slices, in degrees."""
    row, column, step = (affine[:3, k] / np.linalg.norm(affine[:3, k]) for k in range(3))
    return float(np.degrees(np.arccos(np.clip(np.cross(row, column) @ step, -1, 1))))
