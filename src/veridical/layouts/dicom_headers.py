"""The headers of a DICOM series, all of its files, without their pixels: how many, where, and
whether they make one volume.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError
from veridical.io.dicom_file import dataset_of
from veridical.types import Array, Geometry

TAGS = (
    *(
        "PatientID",
        "StudyDate",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "FrameOfReferenceUID",
        "Modality",
        "SeriesDescription",
    ),
    *(
        "ProtocolName",
        "Rows",
        "Columns",
        "PixelSpacing",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "SliceThickness",
    ),
    *("SpacingBetweenSlices", "EchoTime", "InversionTime", "SeriesNumber"),
)
EVEN = 0.01
"""Share of a distance by which two distances may differ, as the reader has it."""


@dataclass(frozen=True, eq=False)
class Series:
    """What the headers of a folder say.

    Args: images: number of images of the largest series. series: instance UID of each image series
        -> its files. objects: modality -> number of files that are no images (RTSTRUCT, RTPLAN,
        SEG, ...). broken: files that are no DICOM or are damaged. repeated: number of images whose
        instance UID another has too. first: tag -> value, of the first image. geometry: of the
        largest series, None where positions are missing or differ in orientation. tilt: degrees
        between slice axis and normal. slabs: first and last slice, counted from 1, of each run of
        even distances; several when a series is not even. gaps: distances between slices along the
        normal, mm, in order. sizes: number of different sizes of the images.
    """

    images: int
    series: dict[str, tuple[str, ...]]
    objects: dict[str, int]
    broken: tuple[str, ...]
    repeated: int
    first: dict[str, Any]
    geometry: Geometry | None
    tilt: float
    slabs: tuple[tuple[int, int], ...]
    gaps: Array
    sizes: int


def header_of(path: Path) -> dict[str, Any] | None:
    """Return the tags of one file, None where it is no DICOM or damaged; an object that is no image
    has no `Rows`.
    """
    from pydicom import config
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        found = dataset_of(path, stop_before_pixels=True, specific_tags=list(TAGS))
        with config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = {tag: found.get(tag) for tag in TAGS}
            return said if any(value is not None for value in said.values()) else None
    except (
        FormatError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        InvalidDicomError,
        BytesLengthException,
    ):
        return None


def series_of(root: Path, files: Sequence[str]) -> Series:
    """Read the headers of all files of a folder."""
    headers = {file: header_of(root / file) for file in files}
    broken = tuple(file for file, header in headers.items() if header is None)
    known = [header for header in headers.values() if header is not None]
    images = [header for header in known if header["Rows"]]
    objects = Counter(str(header["Modality"]) for header in known if not header["Rows"])
    by_series: dict[str, list[str]] = {}
    for file, header in headers.items():
        if header is not None and header["Rows"]:
            by_series.setdefault(str(header["SeriesInstanceUID"]), []).append(file)
    largest = max(by_series, key=lambda uid: len(by_series[uid]), default="")
    chosen = [header for header in images if str(header["SeriesInstanceUID"]) == largest]
    uids = Counter(str(header["SOPInstanceUID"]) for header in chosen)
    geometry, tilt, slabs, gaps = _placed(chosen)
    return Series(
        images=len(chosen),
        series={uid: tuple(members) for uid, members in by_series.items()},
        objects=dict(objects),
        broken=broken,
        repeated=len(chosen) - len(uids),
        first=chosen[0] if chosen else {},
        geometry=geometry,
        tilt=tilt,
        slabs=slabs,
        gaps=gaps,
        sizes=len({(header["Rows"], header["Columns"]) for header in chosen}),
    )


def _placed(
    chosen: list[dict[str, Any]],
) -> tuple[Geometry | None, float, tuple[tuple[int, int], ...], Array]:
    """Return grid, tilt, slabs and distances; no grid where the headers do not give one."""
    nothing = (None, 0.0, ((1, len(chosen)),), np.zeros(0))
    try:
        positions = np.array([header["ImagePositionPatient"] for header in chosen], float)
        turns = np.array([header["ImageOrientationPatient"] for header in chosen], float)
        pixel = np.array(chosen[0]["PixelSpacing"], float)
        thick = float(chosen[0]["SpacingBetweenSlices"] or chosen[0]["SliceThickness"] or 0)
    except (TypeError, ValueError, IndexError):
        return nothing
    if (
        positions.shape != (len(chosen), 3)
        or turns.shape != (len(chosen), 6)
        or pixel.shape != (2,)
    ):
        return nothing
    if np.abs(turns - turns[0]).max() > 1e-3:
        return nothing
    row, column = turns[0].reshape(2, 3)
    normal = np.cross(row, column)
    positions = positions[np.argsort(positions @ normal, kind="stable")]
    steps = np.diff(positions, axis=0)
    gaps = steps @ normal
    step = (positions[-1] - positions[0]) / len(steps) if len(steps) else normal * thick
    length = float(np.linalg.norm(step))
    if length < 1e-6 or pixel.min() <= 0:
        return (None, 0.0, ((1, len(chosen)),), gaps)
    tilt = float(np.degrees(np.arccos(np.clip(normal @ step / length, -1, 1))))
    affine = np.eye(4)
    affine[:3, :3] = np.stack([row * pixel[1], column * pixel[0], step], 1)
    affine[:3, 3] = positions[0]
    shape = (int(chosen[0]["Columns"]), int(chosen[0]["Rows"]), len(chosen))
    grid = Geometry(
        shape,
        np.diag([-1.0, -1, 1, 1]) @ affine,
        str(chosen[0]["FrameOfReferenceUID"] or "scanner"),
    )
    return grid, tilt, _slabs(gaps), gaps


def _slabs(gaps: Array) -> tuple[tuple[int, int], ...]:
    """Return runs of slices at even distances, first and last counted from 1; the last slice of one
    run begins no other.
    """
    runs, first = [], 0
    while first <= len(gaps):
        last = first
        while last < len(gaps) and abs(gaps[last] - gaps[first]) <= max(
            EVEN * abs(gaps[first]), 0.01
        ):
            last += 1
        if last == first + 1 and last < len(gaps):
            last = first
        runs.append((first + 1, last + 1))
        first = last + 1
    return tuple(runs)
