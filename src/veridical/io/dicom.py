"""DICOM series of single-frame images (CT, MR, PET) as one volume.

One series, one orientation, even distances, no slice twice: anything else is refused, because a volume made of it would be
wrong without looking so. The patient axes of DICOM (LPS) are turned to RAS here. A tilted gantry gives a sheared affine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError, InputError
from veridical.io.contrast import channel_names
from veridical.io.dicom_slice import Slice, read_slice
from veridical.io.guards import BUDGET, existing, finite, start_of, within
from veridical.types import Array, Geometry, Image

PET_UNITS = {"BQML": "Bq/mL", "GML": "SUV", "CNTS": "counts", "PROPCNTS": "counts"}
TILT = 0.1
"""Degrees between the slice axis and the normal above which an affine is called sheared."""


def recognises(path: Path) -> bool:
    """Say whether this is a DICOM file, or a folder that holds one."""
    if path.is_dir():
        return any(_is_dicom(file) or file.suffix.lower() == ".dcm" for file in path.iterdir() if file.is_file())
    return _is_dicom(path) or path.suffix.lower() == ".dcm"


def dicom(
    path: str | Path,
    *,
    contrast: str | Sequence[str] | None = None,
    units: str | None = None,
    slices: tuple[int, int] | None = None,
    budget: int = BUDGET,
) -> Image:
    """Read one DICOM series.

    Args:
        path: a folder with one image series (other objects, such as structure sets, are left out and counted in the header),
            or a single file.
        contrast: channel name; otherwise the modality (`CT`, `MR`, `PET`).
        units: otherwise HU for CT, what the file states for PET (`Bq/mL`, `SUV`), `a.u.` for the rest.
        slices: first and last slice to read, counted from 1 along the slice axis; for series of several slabs.
        budget: bytes of memory that the read may take.

    Returns:
        data `(1, x, y, z)` float32, rescaled slice by slice; affine in mm, RAS+, sheared when the gantry was tilted
        (`header["gantry_tilt"]`, degrees); frame is the frame of reference UID. The header holds technical entries only.

    Raises:
        FormatError: not DICOM, truncated, compressed in a way that cannot be decoded, colour, several frames.
        InputError: no or several series.
        GeometryError: gaps, slices twice, several orientations or sizes, no position.
        BudgetError: it would take more memory than `budget`.
    """
    folder = Path(path)
    images, header = _series(folder, budget)
    images = _ordered(images, slices, folder)
    first = images[0]
    affine = _affine(images, folder)
    data = np.empty((*first.size[::-1], len(images)), np.float32, order="F")
    for index, one in enumerate(images):
        data[:, :, index] = one.pixels().T
    finite(data, folder)
    names, source = channel_names(folder, 1, contrast, ("PET" if first.modality == "PT" else first.modality,))
    chosen, units_source = _units(first, units)
    header |= {**first.header, "contrast_source": source, "units_source": units_source}
    tilt = _tilt(affine)
    if tilt > TILT:
        header["gantry_tilt"] = round(tilt, 3)
        header["affine_source"] = "slice positions; sheared, because the gantry was tilted"
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return Image(data[None], Geometry(data.shape, ras, first.frame), chosen, names, header)


def _is_dicom(path: Path) -> bool:
    return start_of(path, 132)[128:] == b"DICM"


def _series(path: Path, budget: int) -> tuple[list[Slice], dict[str, Any]]:
    """Return the images of the one series at `path`."""
    if not path.is_dir():
        files = [existing(path)]
    else:
        files = sorted(file for file in path.iterdir() if file.is_file() and file.name != "DICOMDIR")
        strange = [file for file in files if file.suffix.lower() == ".dcm" and not _is_dicom(file)]
        if strange:
            raise FormatError(f"{strange[0]} is empty or not DICOM, though its name says so. Copy it again or move it away.")
        files = [file for file in files if _is_dicom(file)]
    within(sum(file.stat().st_size for file in files), budget, path)
    read = [read_slice(file) for file in files]
    images = [one for one in read if isinstance(one, Slice)]
    left_out = dict(Counter(one for one in read if isinstance(one, str)))
    if not images:
        what = ", ".join(f"{count} {name}" for name, count in left_out.items()) or "no DICOM file"
        raise InputError(f"{path} holds no DICOM image ({what}). Give the folder of an image series.")
    series = Counter(one.series for one in images)
    if len(series) > 1:
        labels = {one.series: one.label for one in images}
        listed = "; ".join(f"{count} x {labels[uid]}" for uid, count in series.items())
        raise InputError(f"{path} holds {len(series)} series: {listed}. Put each into a folder of its own.")
    within(sum(one.size[0] * one.size[1] for one in images) * 8, budget, path)
    return images, {"left_out": left_out} if left_out else {}


def _ordered(images: list[Slice], slices: tuple[int, int] | None, path: Path) -> list[Slice]:
    """Return the images along the normal of their common plane, or say why they have none."""
    sizes = {one.size for one in images}
    if len(sizes) > 1:
        raise GeometryError(f"{path}: slices have several sizes (rows, columns): {sorted(sizes)}. Move the odd ones away.")
    turns, gaps = np.array([one.orientation for one in images]), np.array([one.spacing for one in images])
    frames = {one.frame for one in images}
    if np.abs(turns - turns[0]).max() > 1e-3 or np.abs(gaps - gaps[0]).max() > 1e-4 or len(frames) > 1:
        raise GeometryError(
            f"{path}: slices have several orientations ({len(np.unique(turns.round(3), axis=0))}), pixel spacings "
            f"({len(np.unique(gaps.round(4), axis=0))}) or frames of reference ({len(frames)}); a localizer may be among them. "
            "Move it away."
        )
    axes = turns[0].reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=2e-3) or gaps.min() <= 0:
        raise GeometryError(
            f"{path}: orientation {turns[0].tolist()} with pixel spacing {gaps[0].tolist()}; expected two perpendicular unit "
            "vectors and positive spacing."
        )
    normal = np.cross(*axes)
    ordered = sorted(images, key=lambda one: float(one.position @ normal))
    if slices is None:
        return ordered
    first, last = slices
    if not 1 <= first <= last <= len(ordered):
        raise InputError(f"{path} has slices 1 to {len(ordered)}; {first} to {last} were asked for.")
    return ordered[first - 1 : last]


def _affine(images: list[Slice], path: Path) -> Array:
    """Return the affine (LPS) from the positions of the first and the last slice."""
    row, column = images[0].orientation.reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * images[0].spacing[1], column * images[0].spacing[0]
    affine[:3, 2] = _step(images, np.cross(row, column), path)
    affine[:3, 3] = images[0].position
    return affine


def _step(images: list[Slice], normal: Array, path: Path) -> Array:
    """Return the vector from slice to slice, or say where it changes."""
    if len(images) == 1:
        if images[0].thickness <= 0:
            raise GeometryError(f"{path} is one slice without a thickness; its voxels have no size. Add SliceThickness.")
        return np.asarray(normal * images[0].thickness)
    steps = np.diff([one.position for one in images], axis=0)
    along = steps @ normal
    if along.min() < 1e-3:
        twice = int(np.argmin(along))
        one, other = images[twice].apart, images[twice + 1].apart
        differs = [tag for tag in one if one[tag] != other[tag]]
        hint = f"They differ in {', '.join(differs)}: keep one of these." if differs else "Remove the copies."
        raise GeometryError(
            f"{path}: {int((along < 1e-3).sum())} slices lie at the place of another, the first is number {twice + 1}. {hint}"
        )
    if np.abs(steps - steps.mean(0)).max() > max(0.01 * np.median(along), 0.01):
        raise GeometryError(
            f"{path}: slices are not evenly spaced: {_slabs(along)}. "
            "A slice is missing, or the series is made of several slabs. Complete it, or read one slab: slices=(first, last)."
        )
    return np.asarray((images[-1].position - images[0].position) / (len(images) - 1))


def _slabs(along: Array) -> str:
    """Return runs of equal distance in words, `slices 1-14 every 4.00 mm`."""
    runs: list[tuple[int, int, float]] = []
    for number, step in enumerate(along.tolist(), 1):
        if runs and abs(runs[-1][2] - step) < max(0.01 * step, 0.01):
            runs[-1] = (runs[-1][0], number + 1, runs[-1][2])
        else:
            runs.append((number, number + 1, step))
    said = [f"slices {first}-{last} every {step:.2f} mm" for first, last, step in runs[:6]]
    return ", ".join(said) + (f" and {len(runs) - 6} more runs" if len(runs) > 6 else "")


def _tilt(affine: Array) -> float:
    """Return the angle between the slice axis and the normal of the slices, in degrees."""
    row, column, step = (affine[:3, k] / np.linalg.norm(affine[:3, k]) for k in range(3))
    return float(np.degrees(np.arccos(np.clip(np.cross(row, column) @ step, -1, 1))))


def _units(one: Slice, given: str | None) -> tuple[str, str]:
    if given:
        return given, "given"
    if one.modality == "CT":
        return (one.stated, "RescaleType") if one.stated else ("HU", "modality CT")
    if one.modality == "PT":
        return PET_UNITS.get(one.stated, one.stated or "a.u."), "Units" if one.stated else "not stated"
    return "a.u.", "modality MR" if one.modality == "MR" else "not stated"
