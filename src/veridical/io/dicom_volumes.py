"""DICOM objects that hold a volume and are no image series: doses, segmentations, parametric maps.

Doses: PS3.3, C.8.8.3. Segmentations and maps are read by highdicom, which places their frames.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError
from veridical.io.dicom_file import dataset_of, panics_caught
from veridical.io.dicom_objects import UCUM, highdicom
from veridical.io.dicom_series import LPS, read_header
from veridical.io.dicom_slice import DAMAGE, check_codestreams
from veridical.io.guards import finite, start_of, within
from veridical.types import Array, Geometry, Image

DOSE = "dose"
"""Channel of a dose."""
DOSE_UNITS = {"GY": "Gy", "RELATIVE": "1"}
EVEN = 1e-3
"""Millimetres by which distances between the planes of a dose may differ."""


def volume_of(path: Path, contrast: str | Sequence[str] | None, budget: int) -> Image | None:
    """Read a dose, segmentation or parametric map; None where the file is none of them.

    Args:
        path: of a file.
        contrast: channel names; those of the object when None.
        budget: bytes of memory that the read may take.

    Returns:
        Dose: `(1, x, y, z)` float32 in Gy, channel `dose`. Segmentation: one label map `(1, x, y,
        z)` in units `label`, with `header["labels"]`; where segments overlap, one channel a
        segment. Parametric map: its real-world values. Frame is the frame of reference UID.

    Raises:
        FormatError: it is damaged.
        GeometryError: its planes make no volume.
        BudgetError: it would take more memory than `budget`.
        MissingExtra: highdicom is not installed.
    """
    from pydicom import config
    from pydicom.errors import BytesLengthException

    if start_of(path, 132)[128:] != b"DICM":
        return None
    header = read_header(path)
    try:
        with config.disable_value_validation(), warnings.catch_warnings(), panics_caught():
            warnings.simplefilter("ignore")
            read = KINDS.get(str(header.get("SOPClassUID", "")))
            if read is None:
                return None
            frames = int(header.get("NumberOfFrames") or 1)
            rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
            if min(frames, rows, columns) < 1:
                raise FormatError(f"{path} has no pixels: {frames} frames of {rows} x {columns}.")
            within(frames * rows * columns * 8, budget, path)
            found = read(path, frames, budget)
    except (*DAMAGE, RuntimeError, BytesLengthException) as error:
        raise FormatError(
            f"{path} is damaged, truncated or not whole ({error}). Copy or export it again."
        ) from error
    finite(found.data, path)
    if contrast is None:
        return found
    names = tuple(contrast.split(",")) if isinstance(contrast, str) else tuple(contrast)
    return Image(found.data, found.geometry, found.units, names, found.header)


def _dose(path: Path, frames: int, _: int) -> Image:
    one = dataset_of(path)
    check_codestreams(one, frames, path)
    row, column = np.array(one.ImageOrientationPatient, float).reshape(2, 3)
    sides = np.array(one.PixelSpacing, float)
    offsets = np.array(one.get("GridFrameOffsetVector") or [0.0], float).ravel()
    if len(offsets) < frames:
        raise FormatError(f"{path} has {frames} planes and {len(offsets)} offsets of them.")
    steps = np.diff(offsets[: max(frames, 2)])
    thickness = float(one.get("SliceThickness") or 0)
    step = float(steps.mean()) if len(steps) else thickness
    if not step or (len(steps) and np.abs(steps - step).max() > EVEN):
        raise GeometryError(
            f"{path}: the planes of the dose lie at {offsets[:8].tolist()} mm; expected one "
            "distance above 0. Export the dose on an even grid."
        )
    affine = np.eye(4)
    affine[:3, :3] = np.stack([row * sides[1], column * sides[0], np.cross(row, column) * step], 1)
    affine[:3, 3] = np.array(one.ImagePositionPatient, float)
    values = np.asarray(one.pixel_array, np.float64) * float(one.DoseGridScaling)
    values = values.reshape(frames, int(one.Rows), int(one.Columns))
    units = DOSE_UNITS.get(str(one.get("DoseUnits")), "Gy")
    header = {
        "modality": "RTDOSE",
        "dose_type": str(one.get("DoseType") or ""),
        "dose_summation": str(one.get("DoseSummationType") or ""),
    }
    return _image(
        values.transpose(2, 1, 0)[None].astype(np.float32), affine, one, units, DOSE, header
    )


def _segmentation(path: Path, frames: int, budget: int) -> Image:
    hd = highdicom()
    given = dataset_of(path)
    check_codestreams(given, frames, path)
    one = hd.seg.Segmentation.from_dataset(given, copy=False)
    _fits(one, budget, path)
    names = {
        int(number): str(one.get_segment_description(number).segment_label)
        for number in one.segment_numbers
    }
    said: dict[str, Any] = {"modality": "SEG"}
    channels: tuple[str, ...] = ("segmentation",)
    try:
        volume = one.get_volume(combine_segments=True, allow_missing_positions=True)
        data = np.asarray(volume.array)[None]
        said["labels"] = {0: "background", **names}
    except RuntimeError:  # segments overlap
        _fits(one, budget // len(names), path)
        volume = one.get_volume(allow_missing_positions=True)
        data = np.moveaxis(np.asarray(volume.array), -1, 0)
        channels = tuple(
            name if list(names.values()).count(name) == 1 else f"{name}.{number}"
            for number, name in names.items()
        )
    upward, affine = _upward(data.transpose(0, 3, 2, 1), volume)
    return _image(upward, affine, one, "label", channels, said)


def _map(path: Path, frames: int, budget: int) -> Image:
    hd = highdicom()
    given = dataset_of(path)
    check_codestreams(given, frames, path)
    one = hd.Image.from_dataset(given, copy=False)
    _fits(one, budget, path)
    volume = one.get_volume(apply_real_world_transform=True)
    data, affine = _upward(np.asarray(volume.array, np.float32).transpose(2, 1, 0)[None], volume)
    mapping = one.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    code = str(mapping.MeasurementUnitsCodeSequence[0].CodeValue)
    units = next((name for name, (value, _) in UCUM.items() if value == code), "a.u.")
    said = {"modality": "PM", "explanation": str(mapping.get("LUTExplanation") or "")}
    return _image(data, affine, one, units, str(mapping.get("LUTLabel") or "map"), said)


def _fits(one: Any, budget: int, path: Path) -> None:
    """Check the size of the whole volume, in which frames may be missing: two of them, far apart,
    may claim any number.

    Raises:
        BudgetError: it is larger than `budget`.
    """
    geometry = one.get_volume_geometry(allow_missing_positions=True)
    if geometry is not None:
        within(int(np.prod(geometry.spatial_shape, dtype=float)) * 4, budget, path)


def _upward(data: Array, volume: Any) -> tuple[Array, Array]:
    """Return `(channel, x, y, z)` and the affine (LPS) of a volume of highdicom's, `(slice, row,
    column)`, with the slices along the normal of their plane, as those of image series.
    """
    affine = np.array(volume.affine, float)[:, [2, 1, 0, 3]]
    if np.cross(affine[:3, 0], affine[:3, 1]) @ affine[:3, 2] < 0:
        affine[:3, 3] += affine[:3, 2] * (data.shape[3] - 1)
        affine[:3, 2] *= -1
        data = data[..., ::-1]
    return np.ascontiguousarray(data), affine


def _image(
    data: Array, affine: Array, one: Any, units: str, channels: Any, header: dict[str, Any]
) -> Image:
    frame = str(one.get("FrameOfReferenceUID") or "scanner")
    return Image(data, Geometry(data.shape[1:], LPS @ affine, frame), units, channels, header)


KINDS: dict[str, Callable[[Path, int, int], Image]] = {
    "1.2.840.10008.5.1.4.1.1.481.2": _dose,
    "1.2.840.10008.5.1.4.1.1.66.4": _segmentation,
    "1.2.840.10008.5.1.4.1.1.66.7": _segmentation,
    "1.2.840.10008.5.1.4.1.1.30": _map,
}
"""SOP classes of RT Dose, Segmentation, Label Map Segmentation and Parametric Map Storage."""
