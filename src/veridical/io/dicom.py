"""DICOM series as one volume: single frames, enhanced multi-frame objects, Siemens mosaics (CT, MR,
PET).

One volume: one orientation, even distances, no slice twice. Several in one place are listed, and
one of them is chosen by its number; what makes no volume is refused, because a volume made of it
would be wrong without looking so. The patient axes of DICOM (LPS) are turned to RAS here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, InputError, UnitsError, nearest
from veridical.io.contrast import channel_names
from veridical.io.dicom_series import LPS
from veridical.io.dicom_slice import SAID, Slice, read_slices
from veridical.io.dicom_stacks import affine_of, part_of, stack_of, uneven
from veridical.io.dicom_straight import TILT, straightened, tilt_of
from veridical.io.dicom_units import units_of
from veridical.io.dicom_volumes import volume_of
from veridical.io.dicom_zip import holds_dicom, unpacked
from veridical.io.guards import BUDGET, existing, finite, start_of, within
from veridical.io.sequence import contradiction, of_header
from veridical.types import Geometry, Image

MODALITIES = {"PT": "PET"}
TIMES = {
    "EchoTime": "echo_time",
    "RepetitionTime": "repetition_time",
    "InversionTime": "inversion_time",
}
"""Tag -> entry of the header, in ms."""


def recognises(path: Path) -> bool:
    """Say whether this is a DICOM file, or a folder or zip archive that holds one."""
    if path.is_dir():
        return any(_is_dicom(file) or _called_so(file) for file in path.iterdir() if file.is_file())
    return _is_dicom(path) or path.suffix.lower() == ".dcm" or holds_dicom(path)


def dicom(
    path: str | Path,
    *,
    contrast: str | Sequence[str] | None = None,
    units: str | None = None,
    slices: tuple[int, int] | None = None,
    stack: int | None = None,
    series: str | None = None,
    allow_gaps: bool = False,
    budget: int = BUDGET,
) -> Image:
    """Read one DICOM volume.

    Args: path: a folder or zip archive with one image series (other objects, such as structure
        sets, are left out and counted in the header), or a single file, which may be a dose, a
        segmentation or a parametric map too (see `io.dicom_volumes`). contrast: channel name;
        otherwise the modality (`CT`, `PET`), and of MR what description and sequence times say.
        units: otherwise HU for CT that is rescaled, SUV for PET where they can be computed, else
        what the file states for it, `a.u.` for the rest. slices: first and last slice to read,
        counted from 1 along the slice axis; for series of several slabs. series: instance UID of
        the one series to read, of a folder that holds several. allow_gaps: interpolate where slices
        are missing or lie unevenly. stack: which volume, counted from 1, where echoes,
        orientations, times or series make several. budget: bytes of memory that the read may take.

    Returns: data `(1, x, y, z)` float32, rescaled slice by slice; slices of a tilted gantry on a
        straight grid; affine in mm, RAS+; frame is the frame of reference UID. The header holds
        technical entries only, with the angle of a tilt (`gantry_tilt`, degrees); its `notes` say
        what was chosen, converted, left out or resampled.

    Raises:
        FormatError: not DICOM, truncated, compressed in a way that cannot be decoded, colour.
        InputError: no image, or several volumes.
        GeometryError: gaps, slices twice, no position.
        UnitsError: units or a contrast that contradict the header.
        BudgetError: it would take more memory than `budget`.
    """
    folder = Path(path)
    if folder.is_file() and (held := volume_of(folder, contrast, budget)) is not None:
        return held
    with unpacked(folder, budget) if holds_dicom(folder) else nullcontext(folder) as place:
        images, header, notes = _images(place, budget)
    images = _of_series(images, series, folder)
    images, chosen = stack_of(images, stack, folder)
    images = part_of(images, slices, folder)
    found = volume(
        images, folder, contrast=contrast, units=units, allow_gaps=allow_gaps, budget=budget
    )
    said = (*notes, chosen, *found.header["notes"])
    return replace(
        found, header={**header, **found.header, "notes": tuple(note for note in said if note)}
    )


def volume(
    images: Sequence[Slice],
    path: Path,
    *,
    contrast: str | Sequence[str] | None = None,
    units: str | None = None,
    allow_gaps: bool = False,
    budget: int = BUDGET,
) -> Image:
    """Return the slices of one volume, in the order of their places, as an image.

    Args:
        images: as `stack_of` returns them.
        path: for messages.
        contrast, units, allow_gaps, budget: as `dicom`, as are value and errors.
    """
    first = images[0]
    gaps = allow_gaps and len(images) > 1 and uneven(images)
    affine = np.eye(4) if gaps else affine_of(list(images), path)
    names, source, why = _contrast(first, contrast, path)
    measured = units_of(images, units, path)
    data = np.empty((*first.size[::-1], len(images)), np.float32, order="F")
    for index, one in enumerate(images):
        data[:, :, index] = one.pixels().T
    data *= np.float32(measured.factor)
    finite(data, path)
    header = {**first.header, "contrast_source": source, "units_source": measured.source}
    notes = [*why, *measured.notes]
    if gaps or tilt_of(affine) > TILT:
        straight = straightened(images, data, measured.units, budget, path)
        data, affine = straight.data, straight.affine
        header["gantry_tilt"] = round(straight.tilt, 3)
        header["affine_source"] = "slice positions; resampled onto a straight grid"
        notes = [*straight.notes, *notes]
    header["notes"] = tuple(note for note in notes if note)
    geometry = Geometry(data.shape, LPS @ affine, first.frame)
    return Image(data[None], geometry, measured.units, names, header)


def _of_series(images: list[Slice], series: str | None, path: Path) -> list[Slice]:
    """Return the images of one series; all of them where none is named."""
    found = [one for one in images if series in (None, one.series)]
    if not found:
        held = sorted({one.series for one in images})
        raise InputError(f"{path} holds no series {series}. {nearest(str(series), held)}")
    return found


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
    images, left_out = slices_of(files)
    if not images:
        what = ", ".join(f"{count} {name}" for name, count in left_out.items()) or "no DICOM file"
        raise InputError(
            f"{path} holds no DICOM image ({what}). Give the folder of an image series."
        )
    within(sum(one.size[0] * one.size[1] for one in images) * 8, budget, path)
    return images, {"left_out": dict(left_out)} if left_out else {}, notes


def slices_of(files: Sequence[Path]) -> tuple[list[Slice], Counter[str]]:
    """Return all images of files, and modality -> number of objects that are none.

    Raises:
        FormatError, GeometryError: as `dicom`.
    """
    images, left_out = list[Slice](), Counter[str]()
    for file in files:
        read = read_slices(file)
        if isinstance(read, str):
            left_out[read] += 1
        else:
            images += read
    return images, left_out


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
