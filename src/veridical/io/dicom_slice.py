"""One single-frame DICOM image, with the entries that make a volume of it checked and typed.

Nothing that names a person, a place or a time is taken over.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError
from veridical.io.codestream import coded_size
from veridical.types import Array

RLE_LOSSLESS = "1.2.840.10008.1.2.5"
DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")
TECHNICAL = {
    "field": "MagneticFieldStrength",
    "repetition_time": "RepetitionTime",
    "echo_time": "EchoTime",
    "inversion_time": "InversionTime",
    "flip_angle": "FlipAngle",
    "kvp": "KVP",
    "slice_thickness": "SliceThickness",
}
APART = ("AcquisitionNumber", "EchoTime", "TemporalPositionIdentifier", "DiffusionBValue", "ImageType")
"""What tells apart two images of one place."""
TAGS = [
    *TECHNICAL.values(), *APART, "SpecificCharacterSet", "SeriesInstanceUID", "SeriesNumber", "FrameOfReferenceUID", "Modality",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelSpacing", "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "Units", "PixelPaddingValue", "ConvolutionKernel", "PixelData",
]  # fmt: skip
DAMAGE = (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, NotImplementedError, IndexError, struct.error)


@dataclass(frozen=True, eq=False)
class Slice:
    """One image of a series.

    Args:
        path: its file.
        series, frame: UIDs of the series and of the frame of reference.
        label: modality and series number, for messages.
        modality: `CT`, `MR`, `PT`, ...
        size: rows, columns.
        position: mm, LPS, of the first voxel.
        orientation: directions in which the column index and the row index grow, LPS.
        spacing: mm between rows, between columns.
        thickness: mm between slices, or of the slice where only that is stated; 0 when neither is.
        rescale: slope, intercept.
        stated: what the file says of units: `RescaleType` or `Units`.
        apart: what tells it from another image of the same place.
        header: technical entries.
        dataset: pydicom's, for the pixels.
    """

    path: Path
    series: str
    frame: str
    label: str
    modality: str
    size: tuple[int, int]
    position: Array
    orientation: Array
    spacing: Array
    thickness: float
    rescale: tuple[float, float]
    stated: str
    apart: Mapping[str, str]
    header: Mapping[str, Any]
    dataset: Any

    def pixels(self) -> Array:
        """Return the rescaled values `(row, column)`, float32.

        Raises:
            FormatError: the pixel data are damaged.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                stored = self.dataset.pixel_array
        except Exception as error:  # pydicom and its plug-ins raise many kinds for damaged pixel data
            raise FormatError(
                f"{self.path}: the pixel data are damaged or truncated ({error}). Copy or export it again."
            ) from error
        if stored.shape != self.size:
            raise FormatError(f"{self.path}: pixel data are {stored.shape}, the header says {self.size}. Export it again.")
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(stored.astype(np.float32) * np.float32(self.rescale[0]) + np.float32(self.rescale[1]))


def read_slice(path: Path) -> Slice | str:
    """Read one file; the pixels stay packed.

    Returns:
        The slice, or the modality of an object that is not an image.

    Raises:
        FormatError: damaged, deflated, compressed in a way that cannot be decoded, colour, several frames.
        GeometryError: it has no position, orientation or spacing.
    """
    import pydicom
    from pydicom import config
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            meta = pydicom.filereader.read_file_meta_info(path)
            if str(meta.TransferSyntaxUID) in DEFLATED:
                raise FormatError(
                    f"{path} is deflated, which hides its size. Write it uncompressed first: dcmconv +te in.dcm out.dcm."
                )
            found = pydicom.dcmread(path, specific_tags=TAGS)
            for tag in TAGS:
                found.get(tag)
            image = meta.MediaStorageSOPClassUID.name.endswith("Image Storage")
            if not image:
                return str(found.get("Modality", "unknown"))
            _check_kind(found, path)
            return _slice(found, path)
    except (*DAMAGE, BytesLengthException, InvalidDicomError) as error:
        raise FormatError(f"{path} is damaged, truncated or not DICOM ({error}). Copy or export it again.") from error


def _check_kind(one: Any, path: Path) -> None:
    """Refuse what is not one grey image that can be decoded."""
    from pydicom.pixels import get_decoder

    if "PixelData" not in one:
        raise FormatError(f"{path} is an image without pixel data; it is truncated. Copy or export it again.")
    frames = int(one.get("NumberOfFrames") or 1)
    if frames != 1:
        raise FormatError(f"{path} is a multi-frame object of {frames} frames; single-frame series are read. Split it first.")
    kind = str(one.get("PhotometricInterpretation"))
    if int(one.get("SamplesPerPixel", 1)) != 1 or kind != "MONOCHROME2":
        raise FormatError(f"{path} is {kind}; expected grey values (MONOCHROME2).")
    syntax = one.file_meta.TransferSyntaxUID
    if syntax.is_compressed and (not syntax.is_encapsulated or not get_decoder(syntax).is_available):
        raise FormatError(
            f"{path} is compressed ({syntax.name}); it cannot be decoded here. Write it uncompressed first: gdcmconv --raw."
        )
    if syntax.is_encapsulated and syntax != RLE_LOSSLESS:
        _check_codestream(one, path)


def _check_codestream(one: Any, path: Path) -> None:
    """Refuse a compressed frame that claims another size than the header, before anything decodes it."""
    from pydicom.encaps import get_frame

    claimed = coded_size(get_frame(one.PixelData, 0, number_of_frames=1))
    expected = (int(one.Rows), int(one.Columns), 1)
    if claimed != expected:
        raise FormatError(
            f"{path}: the compressed image claims {claimed} (rows, columns, components), the header says {expected}. "
            "It is damaged or built to exhaust memory."
        )


def _slice(one: Any, path: Path) -> Slice:
    slope, intercept = _number(one, "RescaleSlope", 1.0, path), _number(one, "RescaleIntercept", 0.0, path)
    header: dict[str, Any] = {
        name: _number(one, tag, 0.0, path) for name, tag in TECHNICAL.items() if one.get(tag) not in (None, "")
    }
    header |= {"modality": str(one.Modality)} | ({"kernel": str(one.ConvolutionKernel)} if one.get("ConvolutionKernel") else {})
    if one.get("PixelPaddingValue") is not None:
        header["padding_value"] = _number(one, "PixelPaddingValue", 0.0, path) * slope + intercept
    size = int(one.Rows), int(one.Columns)
    if min(size) < 1:
        raise FormatError(f"{path} has {size[0]} rows and {size[1]} columns; expected at least one of each. Export it again.")
    return Slice(
        path=path,
        series=str(one.get("SeriesInstanceUID")),
        frame=str(one.get("FrameOfReferenceUID", "scanner")),
        label=f"{one.Modality} series {one.get('SeriesNumber')}",
        modality=str(one.Modality),
        size=size,
        position=_vector(one, "ImagePositionPatient", 3, path),
        orientation=_vector(one, "ImageOrientationPatient", 6, path),
        spacing=_vector(one, "PixelSpacing", 2, path),
        thickness=_number(one, "SpacingBetweenSlices", 0.0, path) or _number(one, "SliceThickness", 0.0, path),
        rescale=(slope, intercept),
        stated=str(one.get("RescaleType" if one.Modality == "CT" else "Units") or ""),
        apart={tag: str(one.get(tag)) for tag in APART},
        header=header,
        dataset=one,
    )


def _number(one: Any, tag: str, absent: float, path: Path) -> float:
    value = one.get(tag)
    number = absent if value is None or value == "" else float(value)
    if not np.isfinite(number):
        raise FormatError(f"{path}: {tag} is {value}; expected a finite number. Export it again.")
    return number


def _vector(one: Any, tag: str, count: int, path: Path) -> Array:
    values = one.get(tag)
    numbers = np.array([] if values is None else values, float).ravel()
    if numbers.size != count or not np.isfinite(numbers).all():
        raise GeometryError(f"{path}: {tag} is {values}; expected {count} numbers. Without it the image has no place.")
    return numbers
