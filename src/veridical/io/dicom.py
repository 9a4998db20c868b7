"""DICOM series of single-frame images (CT, MR, PET) as one volume.

One series, one orientation, even distances, no slice twice: anything else is refused, because a volume made of it would be
wrong without looking so. The patient axes of DICOM (LPS) are turned to RAS here. A tilted gantry gives a sheared affine.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError, InputError
from veridical.io.contrast import channel_names
from veridical.io.guards import BUDGET, existing, finite, start_of, within
from veridical.types import Array, Geometry, Image

DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")
DICT_NAMES = {
    "field": "MagneticFieldStrength",
    "repetition_time": "RepetitionTime",
    "echo_time": "EchoTime",
    "inversion_time": "InversionTime",
    "flip_angle": "FlipAngle",
    "kernel": "ConvolutionKernel",
    "kvp": "KVP",
    "slice_thickness": "SliceThickness",
}
TAGS = [
    *DICT_NAMES.values(), "SpecificCharacterSet", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "FrameOfReferenceUID",
    "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing", "SpacingBetweenSlices",
    "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "RescaleType", "Units", "PixelPaddingValue",
    "ImagePositionPatient", "GantryDetectorTilt", "AcquisitionNumber", "TemporalPositionIdentifier", "DiffusionBValue",
    "PixelData",
]  # fmt: skip
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
    sets, header = _image_sets(folder, budget)
    first = sets[0]
    sets, affine = _sorted(sets, slices, folder)
    shape = (int(first.Columns), int(first.Rows), len(sets))
    data = np.empty(shape, np.float32, order="F")
    for index, one in enumerate(sets):
        data[:, :, index] = _pixels(one).T
    finite(data, folder)
    modality = {"PT": "PET"}.get(str(first.Modality), str(first.Modality))
    names, source = channel_names(folder, 1, contrast, (modality,))
    chosen, units_source = _units(first, units)
    header |= _technical(first) | {"contrast_source": source, "units_source": units_source}
    tilt = _tilt(affine)
    if tilt > TILT:
        header["gantry_tilt"] = round(tilt, 3)
        header["affine_source"] = "slice positions; sheared, because the gantry was tilted"
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    return Image(
        data[None], Geometry(shape, turn @ affine, str(first.get("FrameOfReferenceUID", "scanner"))), chosen, names, header
    )


def _is_dicom(path: Path) -> bool:
    return start_of(path, 132)[128:] == b"DICM"


def _image_sets(path: Path, budget: int) -> tuple[list[Any], dict[str, Any]]:
    """Return the data sets of the one image series at `path`."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        strange = [file for file in files if file.suffix.lower() == ".dcm" and not _is_dicom(file)]
        if strange:
            raise FormatError(
                f"{strange[0]} is empty or not DICOM, though its name ends in .dcm. Copy it again or move it away."
            )
        files = [file for file in files if _is_dicom(file) and file.name != "DICOMDIR"]
    else:
        files = [existing(path)]
    within(sum(file.stat().st_size for file in files), budget, path)
    sets = [_dataset(file) for file in files]
    images = [one for one in sets if "PixelData" in one and "Rows" in one and "Columns" in one]
    left_out = Counter(str(one.get("Modality", "unknown")) for one in sets if not any(one is image for image in images))
    if not images:
        what = ", ".join(f"{count} {name}" for name, count in left_out.items()) or "no DICOM file"
        raise InputError(f"{path} holds no DICOM image ({what}). Give the folder of an image series.")
    series = Counter(str(one.get("SeriesInstanceUID")) for one in images)
    if len(series) > 1:
        listed = "; ".join(
            f"{count} x {one.get('Modality')} series {one.get('SeriesNumber')}"
            for uid, count in series.items()
            for one in [next(image for image in images if str(image.get("SeriesInstanceUID")) == uid)]
        )
        raise InputError(f"{path} holds {len(series)} series: {listed}. Put each into a folder of its own.")
    for one in images:
        _check_image(one, path)
    within(sum(int(one.Rows) * int(one.Columns) for one in images) * 8, budget, path)
    return images, {"left_out": dict(left_out)} if left_out else {}


def _dataset(path: Path) -> Any:
    """Read one file without interpreting more than the tags needed; refuse what unpacks to unknown sizes."""
    import pydicom
    from pydicom import config
    from pydicom.errors import InvalidDicomError

    try:
        with config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            syntax = str(pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID", ""))
            if syntax in DEFLATED:
                raise FormatError(
                    f"{path} is deflated, which hides its size. Write it uncompressed first: dcmconv +te in.dcm out.dcm."
                )
            found = pydicom.dcmread(path, specific_tags=TAGS)
    except (
        InvalidDicomError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        NotImplementedError,
    ) as error:
        raise FormatError(f"{path} is damaged, truncated or not DICOM ({error}). Copy or export it again.") from error
    found.filename = str(path)
    return found


def _check_image(one: Any, path: Path) -> None:
    from pydicom.pixels import get_decoder

    file = one.filename
    if int(one.get("NumberOfFrames") or 1) > 1:
        raise FormatError(
            f"{file} is a multi-frame object of {one.NumberOfFrames} frames; single-frame series are read. Split it first."
        )
    if int(one.get("SamplesPerPixel", 1)) != 1 or str(one.get("PhotometricInterpretation")) != "MONOCHROME2":
        raise FormatError(f"{file} is {one.get('PhotometricInterpretation')}; expected grey values (MONOCHROME2).")
    syntax = one.file_meta.TransferSyntaxUID
    if syntax.is_compressed and (not syntax.is_encapsulated or not get_decoder(syntax).is_available):
        raise FormatError(
            f"{file} is compressed ({syntax.name}); it cannot be decoded here. Write it uncompressed first: gdcmconv --raw."
        )
    for tag, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        values = one.get(tag)
        if values is None or len(values) != count or not np.isfinite(np.array(values, float)).all():
            raise GeometryError(f"{file}: {tag} is {values}; expected {count} numbers. Without it the image has no place.")


def _sorted(sets: list[Any], slices: tuple[int, int] | None, path: Path) -> tuple[list[Any], Array]:
    """Return the data sets in the order of their position and the affine (LPS)."""
    keys = {(int(one.Rows), int(one.Columns)) for one in sets}
    if len(keys) > 1:
        raise GeometryError(f"{path}: slices have several sizes (rows, columns): {sorted(keys)}. Move the odd ones away.")
    turns = np.array([[float(v) for v in one.ImageOrientationPatient] for one in sets])
    gaps = np.array([[float(v) for v in one.PixelSpacing] for one in sets])
    frames = {str(one.get("FrameOfReferenceUID")) for one in sets}
    if np.abs(turns - turns[0]).max() > 1e-3 or np.abs(gaps - gaps[0]).max() > 1e-4 or len(frames) > 1:
        raise GeometryError(
            f"{path}: slices have several orientations ({len(np.unique(turns.round(3), axis=0))}), pixel spacings "
            f"({len(np.unique(gaps.round(4), axis=0))}) or frames of reference ({len(frames)}); a localizer may be among them. "
            "Move it away."
        )
    row, column = turns[0, :3], turns[0, 3:]
    if abs(row @ column) > 1e-3 or abs(np.linalg.norm(row) - 1) > 1e-3 or abs(np.linalg.norm(column) - 1) > 1e-3:
        raise GeometryError(f"{path}: the orientation {turns[0].tolist()} is not a pair of perpendicular unit vectors.")
    places = np.array([[float(v) for v in one.ImagePositionPatient] for one in sets])
    order = np.argsort(places @ np.cross(row, column), kind="stable")
    if slices is not None:
        first, last = slices
        if not 1 <= first <= last <= len(order):
            raise InputError(f"{path} has slices 1 to {len(order)}; {first} to {last} were asked for.")
        order = order[first - 1 : last]
    ordered = [sets[k] for k in order]
    step = _even_step(ordered, places[order], np.cross(row, column), path)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * gaps[0, 1], column * gaps[0, 0], step
    affine[:3, 3] = places[order[0]]
    return ordered, affine


def _even_step(sets: list[Any], places: Array, normal: Array, path: Path) -> Array:
    """Return the vector from slice to slice, or say where it changes."""
    if len(sets) == 1:
        thickness = sets[0].get("SpacingBetweenSlices") or sets[0].get("SliceThickness")
        if not thickness or float(thickness) <= 0:
            raise GeometryError(f"{path} is one slice without a thickness; its voxels have no size. Add SliceThickness.")
        return np.asarray(normal * float(thickness))
    steps = np.diff(places, axis=0)
    along = steps @ normal
    if along.min() < 1e-3:
        twice = int(np.argmin(along))
        differs = [
            tag
            for tag in ("AcquisitionNumber", "EchoTime", "TemporalPositionIdentifier", "DiffusionBValue", "ImageType")
            if sets[twice].get(tag) != sets[twice + 1].get(tag)
        ]
        hint = f"They differ in {', '.join(differs)}: keep one of these." if differs else "Remove the copies."
        raise GeometryError(
            f"{path}: {int((along < 1e-3).sum())} slices lie at the place of another, the first is number {twice + 1}. {hint}"
        )
    typical = np.median(along)
    if np.abs(steps - steps.mean(0)).max() > max(0.01 * typical, 0.01):
        raise GeometryError(
            f"{path}: slices are not evenly spaced: {_slabs(along)}. "
            "A slice is missing, or the series is made of several slabs. Complete it, or read one slab: slices=(first, last)."
        )
    return np.asarray((places[-1] - places[0]) / (len(places) - 1))


def _slabs(along: Array) -> str:
    """Return runs of equal distance in words, `slices 1-14 every 4.00 mm`."""
    runs: list[list[float]] = []
    for index, step in enumerate(along):
        if runs and abs(runs[-1][2] - step) < max(0.01 * step, 0.01):
            runs[-1][1] = index + 2
        else:
            runs.append([index + 1, index + 2, float(step)])
    said = [f"slices {int(a)}-{int(b)} every {step:.2f} mm" for a, b, step in runs[:6]]
    return ", ".join(said) + (f" and {len(runs) - 6} more runs" if len(runs) > 6 else "")


def _pixels(one: Any) -> Array:
    """Return the rescaled grey values `(row, column)` of one slice."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = one.pixel_array
    except Exception as error:  # pydicom and its plug-ins raise many kinds for damaged pixel data
        raise FormatError(
            f"{one.filename}: the pixel data are damaged or truncated ({error}). Copy or export it again."
        ) from error
    if stored.shape != (int(one.Rows), int(one.Columns)):
        raise FormatError(f"{one.filename}: pixel data are {stored.shape}, the header says {(one.Rows, one.Columns)}.")
    slope, intercept = (
        float(one.get(tag) if one.get(tag) is not None else default)
        for tag, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    return np.asarray(stored.astype(np.float32) * np.float32(slope) + np.float32(intercept))


def _tilt(affine: Array) -> float:
    """Return the angle between the slice axis and the normal of the slices, in degrees."""
    row, column, step = (affine[:3, k] / np.linalg.norm(affine[:3, k]) for k in range(3))
    return float(np.degrees(np.arccos(np.clip(np.cross(row, column) @ step, -1, 1))))


def _units(one: Any, given: str | None) -> tuple[str, str]:
    if given:
        return given, "given"
    if one.Modality == "CT":
        stated = str(one.get("RescaleType") or "HU")
        return (stated, "RescaleType") if stated != "HU" else ("HU", "modality CT")
    if one.Modality == "PT":
        stated = str(one.get("Units", ""))
        return PET_UNITS.get(stated, stated or "a.u."), "Units" if stated else "not stated"
    return "a.u.", "modality MR" if one.Modality == "MR" else "not stated"


def _technical(one: Any) -> dict[str, Any]:
    """Return what the physics needs; nothing that names a person, a place or a time."""
    found: dict[str, Any] = {"modality": str(one.Modality)}
    for name, tag in DICT_NAMES.items():
        value = one.get(tag)
        if value not in (None, ""):
            found[name] = str(value) if name == "kernel" else float(value)
    if one.get("PixelPaddingValue") is not None:
        padding = float(one.PixelPaddingValue) * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
        found["padding_value"] = padding
    return found
