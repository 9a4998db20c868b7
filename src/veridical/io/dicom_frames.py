"""The parts of a DICOM file: its one image, the frames of an enhanced object, or the tiles of a
Siemens mosaic.

Enhanced objects: DICOM PS3.3, C.7.6.16, functional groups. Mosaic: `ImageType` holds MOSAIC, the
number of tiles stands in the CSA header; `ImagePositionPatient` is that of the first voxel of a
slice as large as the whole mosaic around the same centre.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError
from veridical.types import Array

GROUPS = (
    "FrameContentSequence",
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "MREchoSequence",
    "MRTimingAndRelatedParametersSequence",
    "MRModifierSequence",
    "MRDiffusionSequence",
    "MRImageFrameTypeSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "CardiacSynchronizationSequence",
    "CTXRayDetailsSequence",
)
"""Functional groups whose entries are taken; those of a frame go before those that all share."""
SAME = {
    "EffectiveEchoTime": "EchoTime",
    "InversionTimes": "InversionTime",
    "FrameType": "ImageType",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "NominalCardiacTriggerDelayTime": "TriggerTime",
}
"""Entry of a functional group -> the entry of a single-frame object that means the same."""
UCUM = {
    "bq/ml": "BQML",
    "g/ml": "GML",
    "g/ml{suvbw}": "GML",
    "{suvbw}g/ml": "GML",
    "{counts}": "CNTS",
}
"""Units of a real-world value mapping, in small letters -> the values of `Units`."""
NUMBER_OF_TILES, CSA = (0x0019, 0x100A), (0x0029, 0x1010)


@dataclass(frozen=True)
class Entries:
    """What is said of one image: entries of its own, then those of the file."""

    own: Mapping[str, Any]
    file: Any

    def get(self, tag: Any, absent: Any = None) -> Any:
        """Return the value of a keyword, or of a private tag given as two numbers."""
        if isinstance(tag, tuple):
            element = self.file.get(tag)
            return absent if element is None else element.value
        value = self.own.get(tag)
        return self.file.get(tag, absent) if value is None or value == "" else value


@dataclass(frozen=True)
class Part:
    """Where an image lies in the pixel data of its file.

    Args:
        frame: index of the frame; None: there is one.
        tile: first and last row, first and last column, the last not included; None: the whole.
    """

    frame: int | None = None
    tile: tuple[int, int, int, int] | None = None

    def of(self, whole: Array) -> Array:
        """Return the part `(row, column)` of decoded pixel data, `(row, column)` or `(frame, row,
        column)`.
        """
        one = whole if self.frame is None or whole.ndim == 2 else whole[self.frame]
        return (
            one
            if self.tile is None
            else one[self.tile[0] : self.tile[1], self.tile[2] : self.tile[3]]
        )


def parts_of(one: Any, path: Path) -> list[tuple[Entries, Part]]:
    """Return all images of a file with their entries.

    Args:
        one: pydicom's dataset.
        path: for messages.

    Raises: FormatError: several frames without functional groups, or a mosaic whose number of tiles
        is not stated. GeometryError: a mosaic without orientation or spacing.
    """
    frames = int(one.get("NumberOfFrames") or 1)
    each = one.get("PerFrameFunctionalGroupsSequence")
    if each:
        if len(each) != frames:
            raise FormatError(
                f"{path} has {frames} frames and functional groups of {len(each)}; expected as "
                "many."
            )
        shared = _flat((one.get("SharedFunctionalGroupsSequence") or [{}])[0])
        return [
            (Entries({**shared, **_flat(group)}, one), Part(index))
            for index, group in enumerate(each)
        ]
    if frames != 1:
        raise FormatError(
            f"{path} is a multi-frame object of {frames} frames that does not state where they "
            "lie; expected an enhanced "
            "object, whose frames have positions, or single frames. Export it as one of these."
        )
    if "MOSAIC" in (one.get("ImageType") or ()):
        return _tiles(one, path)
    return [(Entries({}, one), Part())]


def _flat(groups: Any) -> dict[str, Any]:
    """Return the entries of the functional groups of one frame by keyword."""
    found: dict[str, Any] = {}
    for group in GROUPS:
        for item in (groups.get(group) or ())[:1]:
            found |= {
                element.keyword: element.value
                for element in item
                if element.keyword and element.VR != "SQ"
            }
            for direction in (item.get("DiffusionGradientDirectionSequence") or ())[:1]:
                found["DiffusionGradientOrientation"] = direction.get(
                    "DiffusionGradientOrientation"
                )
    if found.get("InversionTimes") is not None:
        found["InversionTimes"] = np.ravel(found["InversionTimes"])[0]
    found = {SAME.get(name, name): value for name, value in found.items()}
    for mapping in (groups.get("RealWorldValueMappingSequence") or ())[:1]:
        found |= _mapped(mapping)
    return found


def _mapped(mapping: Any) -> dict[str, Any]:
    """Return the rescaling to units of PET, where a real-world value mapping states one."""
    codes = mapping.get("MeasurementUnitsCodeSequence") or ()
    units = UCUM.get(str(codes[0].get("CodeValue")).lower()) if codes else None
    slope, intercept = mapping.get("RealWorldValueSlope"), mapping.get("RealWorldValueIntercept")
    if units is None or slope is None:
        return {}
    return {"Units": units, "RescaleSlope": slope, "RescaleIntercept": intercept or 0.0}


def _tiles(one: Any, path: Path) -> list[tuple[Entries, Part]]:
    """Return the tiles of a mosaic in the order of the slices."""
    count, normal = _mosaic(one, path)
    wide = int(np.ceil(np.sqrt(count)))
    rows, columns = int(one.Rows) // wide, int(one.Columns) // wide
    if wide * rows != int(one.Rows) or wide * columns != int(one.Columns):
        raise FormatError(
            f"{path} is a mosaic of {one.Rows} x {one.Columns} pixels, which {wide} x {wide} tiles "
            f"({count} images) do not "
            "fill. Export it again."
        )
    turn = np.array(one.get("ImageOrientationPatient") or [], float)
    gaps = np.array(one.get("PixelSpacing") or [], float)
    corner = np.array(one.get("ImagePositionPatient") or [], float)
    step = float(one.get("SpacingBetweenSlices") or one.get("SliceThickness") or 0)
    if turn.size != 6 or gaps.size != 2 or corner.size != 3 or step <= 0:
        raise GeometryError(
            f"{path} is a mosaic without position, orientation or spacing of its slices. Export it "
            "again."
        )
    across, down = turn.reshape(2, 3)
    corner = (
        corner
        + across * gaps[1] * (int(one.Columns) - columns) / 2
        + down * gaps[0] * (int(one.Rows) - rows) / 2
    )
    upward = np.cross(across, down)
    upward = -upward if normal is not None and normal @ upward < 0 else upward
    found = []
    for index in range(count):
        row, column = divmod(index, wide)
        part = Part(None, (row * rows, (row + 1) * rows, column * columns, (column + 1) * columns))
        own = {
            "Rows": rows,
            "Columns": columns,
            "ImagePositionPatient": (corner + index * step * upward).tolist(),
        }
        found.append((Entries(own, one), part))
    return found


def _mosaic(one: Any, path: Path) -> tuple[int, Array | None]:
    """Return the number of tiles and, where it is stated, the direction in which they follow each
    other, LPS.
    """
    from nibabel.nicom import csareader

    count, normal = 0, None
    if one.get(CSA) is not None:
        try:
            header = csareader.read(one.get(CSA).value)
            count, normal = (
                int(csareader.get_n_mosaic(header) or 0),
                csareader.get_slice_normal(header),
            )
        except (csareader.CSAReadError, ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{path} is a mosaic whose CSA header cannot be read ({error}). Export it again."
            ) from error
    if not count and one.get(NUMBER_OF_TILES) is not None:
        count = int(one.get(NUMBER_OF_TILES).value)
    if count < 1:
        raise FormatError(
            f"{path} is a Siemens mosaic, and nothing says of how many images (CSA header, "
            "NumberOfImagesInMosaic); it was "
            "probably lost with the private tags. Export it with them, or convert it at the "
            "scanner."
        )
    return count, normal
