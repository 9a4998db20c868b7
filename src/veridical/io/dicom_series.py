"""The DICOM series that a result was made from, by their headers: what derived objects refer to,
take over and lie beside.

Pixels stay packed; places of frames come from the same functions that read images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError, InputError
from veridical.io.dicom_file import dataset_of
from veridical.io.dicom_frames import parts_of
from veridical.io.dicom_slice import DAMAGE
from veridical.io.dicom_zip import holds_dicom, unpacked
from veridical.io.guards import BUDGET, start_of
from veridical.types import Array, Geometry

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns RAS into the patient axes of DICOM, and back."""
EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
"""Entries without a value where the source lacks them, as every object has them (type 2)."""
PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
"""SOP class of RT Plan Storage."""
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
NEAR = 0.1
"""Share of a voxel by which a point may lie outside of a grid, or a plane beside another one."""


@dataclass(frozen=True, eq=False)
class PlacedImage:
    """Where one image of a series lies.

    Args:
        header: of its file.
        frame: number of the frame, counted from 1; None where the file has one image.
        position: mm, LPS, of the first voxel.
        axes: `(2, 3)` directions in which the column index and the row index grow, LPS.
        spacing: mm between columns, between rows.
        size: columns, rows.
    """

    header: Any
    frame: int | None
    position: Array
    axes: Array
    spacing: Array
    size: tuple[int, int]

    @property
    def normal(self) -> Array:
        """Unit vector across the plane, LPS."""
        return np.asarray(np.cross(*self.axes))


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """One image series.

    Args:
        headers: of its files, without pixels, by instance number.
        places: of all images in them.
        plan: header of the RT Plan that was among the files; None where there was none, or several.
    """

    headers: tuple[Any, ...]
    places: tuple[PlacedImage, ...]
    plan: Any = None

    @property
    def first(self) -> Any:
        """The header of the first file, which speaks for the series."""
        return self.headers[0]

    @property
    def modality(self) -> str:
        """`CT`, `MR`, `PT`, ..."""
        return str(self.first.get("Modality", ""))

    @cached_property
    def frame(self) -> str:
        """The frame of reference UID; `scanner` where none is stated, as images have it."""
        return str(self.first.get("FrameOfReferenceUID") or "scanner")

    def __str__(self) -> str:
        number = number_of(self.first, "SeriesNumber")
        return f"{self.modality} series {number} ({len(self.places)} images)"

    def holds(self, geometry: Geometry) -> bool:
        """Say whether the middle of a grid lies within the series."""
        middle = LPS @ geometry.affine @ np.array([*(n / 2 - 0.5 for n in geometry.shape), 1.0])
        one = self.places[0]
        across = np.array([(middle[:3] - one.position) @ axis for axis in one.axes]) / one.spacing
        inside = np.all((across > -0.5) & (across < np.array(one.size) - 0.5))
        heights = [float(place.position @ one.normal) for place in self.places]
        thickness = float(np.linalg.norm(geometry.affine[:3, 2]))
        height = float(middle[:3] @ one.normal)
        return bool(inside and min(heights) - thickness <= height <= max(heights) + thickness)

    def same_planes(self, geometry: Geometry) -> bool:
        """Say whether the slices of a grid have size, direction and distance of pixels in common
        with the series, and its first slice lies on one of them.
        """
        one, lps = self.places[0], LPS @ geometry.affine
        steps = (one.axes * one.spacing[:, None]).T
        if one.size != geometry.shape[:2] or np.abs(lps[:3, :2] - steps).max() > 1e-3:
            return False
        apart = min(np.abs(lps[:3, 3] - place.position).max() for place in self.places)
        return bool(apart < NEAR * min(geometry.spacing))

    def near(self, position: Array, normal: Array, thickness: float) -> list[PlacedImage]:
        """Return the images that lie in a slice: those within half a thickness of its plane, else
        the nearest one; all where planes cross.

        Args:
            position: mm, LPS, on the plane.
            normal: of the plane.
            thickness: mm.
        """
        if abs(float(self.places[0].normal @ normal)) < 0.99:
            return list(self.places)
        away = np.array([abs(float((one.position - position) @ normal)) for one in self.places])
        limit = max(float(away.min()) + 1e-3, thickness / 2 - 1e-3)
        return [one for one, distance in zip(self.places, away, strict=True) if distance <= limit]


def series_of(source: str | Path | Iterable[str | Path]) -> list[SourceSeries]:
    """Return the image series among files, or below a folder; other objects are passed over.

    Args:
        source: a folder, a file, or several.

    Raises:
        InputError: there is no image.
        FormatError: a file is damaged, deflated, or says of no study that it belongs there.
    """
    groups: dict[str, list[tuple[Any, list[PlacedImage]]]] = {}
    plans = []
    for file, header in _headers(source):
        if header.get("SOPClassUID") == PLAN:
            plans.append(header)
        if header.get("Rows") is None or not _is_image(header):
            continue
        places = _places(header, file)
        lacking = [tag for tag in UIDS if not header.get(tag)]
        if lacking:
            raise FormatError(
                f"{file} has no {' and no '.join(lacking)}; objects derived from it would belong "
                "to no study. Take the series from the archive again."
            )
        for tag in EMPTY:
            if tag not in header:
                setattr(header, tag, "")
        if places:
            groups.setdefault(str(header.SeriesInstanceUID), []).append((header, places))
    if not groups:
        raise InputError(
            f"No DICOM image lies in {_named(source)}. Give the series that the result was made "
            "from."
        )
    found = []
    for group in groups.values():
        group.sort(key=lambda one: number_of(one[0], "InstanceNumber"))
        found.append(
            SourceSeries(
                tuple(header for header, _ in group),
                tuple(place for _, places in group for place in places),
                plans[0] if len(plans) == 1 else None,
            )
        )
    return sorted(found, key=lambda one: (number_of(one.first, "SeriesNumber"), str(one)))


def number_of(header: Any, tag: str) -> int:
    """Return a whole number that a header states; 0 where it states none."""
    try:
        return int(header.get(tag) or 0)
    except (TypeError, ValueError):
        return 0


def chosen(series: Sequence[SourceSeries], geometry: Geometry, modality: str) -> SourceSeries:
    """Return the series beside which a result belongs: in its frame of reference and around it;
    among several the one with its planes, then with its modality.

    Raises:
        GeometryError: the result lies in none of them.
    """
    known = "." in geometry.frame
    held = [
        one
        for one in series
        if (one.frame == geometry.frame if known else one.same_planes(geometry))
        and one.holds(geometry)
    ]
    if not held:
        listed = "; ".join(f"{one}, frame of reference {one.frame}" for one in series[:6])
        raise GeometryError(
            f"The result ({geometry}, frame of reference {geometry.frame}) lies in none of the "
            f"series given: {listed}. Give the DICOM series that it was made from; a result from "
            "files without a frame of reference fits only where its grid is that of the series."
        )
    return max(held, key=lambda one: (one.same_planes(geometry), one.modality == modality))


def read_header(path: Path) -> Any:
    """Read all entries of a file but its pixels.

    Raises:
        FormatError: damaged, deflated, or not DICOM.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        return dataset_of(path, stop_before_pixels=True)
    except (*DAMAGE, BytesLengthException, InvalidDicomError) as error:
        raise FormatError(
            f"{path} is damaged, truncated or not DICOM ({error}). Copy or export it again."
        ) from error


def files_of(source: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return the DICOM files of folders and those below them; files as they are given.

    Raises:
        InputError: there is no such place.
    """
    if not isinstance(source, str | Path):
        return [file for one in source for file in files_of(one)]
    place = Path(source)
    if not place.exists():
        raise InputError(f"{place} does not exist; expected the DICOM series. Check the path.")
    if place.is_file():
        return [place]
    return sorted(
        one
        for one in place.rglob("*")
        if one.is_file() and one.name != "DICOMDIR" and start_of(one, 132)[128:] == b"DICM"
    )


def _headers(source: str | Path | Iterable[str | Path]) -> Iterator[tuple[Path, Any]]:
    """Yield the DICOM files and their headers; those in zip archives too."""
    for file in files_of(source):
        if holds_dicom(file):
            with unpacked(file, BUDGET) as folder:
                yield from ((one, read_header(one)) for one in sorted(folder.iterdir()))
        else:
            yield file, read_header(file)


def _named(source: str | Path | Iterable[str | Path]) -> str:
    return str(source) if isinstance(source, str | Path) else "the files given"


def _is_image(header: Any) -> bool:
    kind = str(getattr(header.get("SOPClassUID"), "name", ""))
    return kind.endswith("Image Storage") and str(header.get("SeriesInstanceUID", "")) != ""


def _places(header: Any, path: Path) -> list[PlacedImage]:
    """Return the places of the images of a file; none where it states none, as a localizer of
    another kind may.
    """
    found = []
    try:
        parts = parts_of(header, path)
    except (FormatError, GeometryError, *DAMAGE):
        return []
    for entries, part in parts:
        position, axes, spacing = (
            _numbers(entries.get(tag), count)
            for tag, count in (
                ("ImagePositionPatient", 3),
                ("ImageOrientationPatient", 6),
                ("PixelSpacing", 2),
            )
        )
        if position is None or axes is None or spacing is None:
            return []
        size = int(entries.get("Columns")), int(entries.get("Rows"))
        frame = None if part.frame is None else part.frame + 1
        found.append(PlacedImage(header, frame, position, axes.reshape(2, 3), spacing[::-1], size))
    return found


def _numbers(values: Any, count: int) -> Array | None:
    try:
        numbers = np.array([] if values is None else values, float).ravel()
    except (TypeError, ValueError):
        return None
    return numbers if numbers.size == count and np.isfinite(numbers).all() else None
