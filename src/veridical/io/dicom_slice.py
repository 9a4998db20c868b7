"""DICOM images as slices: single frames, frames of enhanced objects, tiles of a mosaic; what makes
a volume checked and typed.

Nothing that names a person, a place or a time is taken over.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from veridical.errors import FormatError, GeometryError
from veridical.io.codestream import coded_size
from veridical.io.dicom_file import dataset_of, panics_caught
from veridical.io.dicom_frames import Entries, Part, parts_of
from veridical.types import Array

RLE_LOSSLESS = "1.2.840.10008.1.2.5"
TECHNICAL = {
    "field": "MagneticFieldStrength",
    "repetition_time": "RepetitionTime",
    "echo_time": "EchoTime",
    "inversion_time": "InversionTime",
    "flip_angle": "FlipAngle",
    "kvp": "KVP",
    "slice_thickness": "SliceThickness",
}
APART = {
    "stack": "StackID",
    "image type": "ImageType",
    "echo time": "EchoTime",
    "inversion time": "InversionTime",
    "b-value": "DiffusionBValue",
    "diffusion direction": "DiffusionGradientOrientation",
    "time": "TemporalPositionIdentifier",
    "trigger time": "TriggerTime",
    "acquisition": "AcquisitionNumber",
}
"""What may tell apart two images of one place -> its tag."""
SAID = (
    "SeriesDescription",
    "ProtocolName",
    "ScanningSequence",
    "EchoPulseSequence",
    "AcquisitionContrast",
    "ContrastBolusAgent",
)
"""What tells the contrast of MR; read, and not taken over."""
SUV = (
    "Units",
    "SUVType",
    "DecayCorrection",
    "CorrectedImage",
    "PatientWeight",
    "RadiopharmaceuticalInformationSequence",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
)
"""What SUV are computed from; not taken over."""
PRIVATE = (
    (0x0019, 0x0010),
    (0x0019, 0x100A),
    (0x0029, 0x0010),
    (0x0029, 0x1010),
    (0x7053, 0x1000),
    (0x7053, 0x1009),
)
"""Siemens: number of images in a mosaic, CSA header. Philips: scale factors to SUV and to Bq/mL."""
TAGS = [
    *TECHNICAL.values(),
    *APART.values(),
    *SAID,
    *SUV,
    "SpecificCharacterSet",
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "PixelPaddingValue",
    "ConvolutionKernel",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "PixelData",
]
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    NotImplementedError,
    IndexError,
    RecursionError,
    struct.error,
)


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixel data of a file, decoded when asked for; several frames are kept for the next."""

    path: Path
    dataset: Any

    def of(self, part: Part) -> Array:
        """Return the stored values of one part, `(row, column)`.

        Raises:
            FormatError: the pixel data are damaged.
        """
        return np.asarray(part.of(self._decoded() if part == Part() else self._kept))

    @cached_property
    def _kept(self) -> Array:
        return self._decoded()

    def _decoded(self) -> Array:
        try:
            with warnings.catch_warnings(), panics_caught():
                warnings.simplefilter("ignore")
                return np.asarray(self.dataset.pixel_array)
        except (
            Exception
        ) as error:  # pydicom and its plug-ins raise many kinds for damaged pixel data
            raise FormatError(
                f"{self.path}: the pixel data are damaged or truncated ({error}). Copy or export "
                "it again."
            ) from error


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
        apart: what tells it from another image of the same place.
        header: technical entries.
        entries: of the file and of the frame, for units and contrast.
        part: where it lies in the pixel data.
        source: the pixel data.
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
    apart: Mapping[str, str]
    header: Mapping[str, Any]
    entries: Entries
    part: Part
    source: Pixels

    def pixels(self) -> Array:
        """Return the rescaled values `(row, column)`, float32.

        Raises:
            FormatError: the pixel data are damaged.
        """
        stored = self.source.of(self.part)
        if stored.shape != self.size:
            raise FormatError(
                f"{self.path}: pixel data are {stored.shape}, the header says {self.size}. Export "
                "it again."
            )
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(
                stored.astype(np.float32) * np.float32(self.rescale[0])
                + np.float32(self.rescale[1])
            )


def read_slices(path: Path) -> list[Slice] | str:
    """Read one file; the pixels stay packed.

    Returns:
        Its slices, or the modality of an object that is not an image.

    Raises: FormatError: damaged, deflated, compressed in a way that cannot be decoded, colour,
        several frames without places. GeometryError: it has no position, orientation or spacing.
    """
    import pydicom
    from pydicom import config
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = dataset_of(path, specific_tags=[*TAGS, *PRIVATE])
            meta = found.file_meta
            for tag in (*TAGS, *PRIVATE):
                found.get(tag)
            kind = meta.get("MediaStorageSOPClassUID") or found.get("SOPClassUID") or ""
            if not kind:
                raise FormatError(
                    f"{path} is damaged: it does not say what kind of object it is. Copy or export "
                    "it again."
                )
            image = pydicom.uid.UID(str(kind)).name.endswith("Image Storage")
            if not image:
                return str(found.get("Modality", "unknown"))
            parts = parts_of(found, path)
            _check_kind(found, len(parts) if parts[0][1].frame is not None else 1, path)
            pixels = Pixels(path, found)
            return [_slice(entries, part, pixels) for entries, part in parts]
    except (*DAMAGE, BytesLengthException, InvalidDicomError) as error:
        raise FormatError(
            f"{path} is damaged, truncated or not DICOM ({error}). Copy or export it again."
        ) from error


def _check_kind(one: Any, frames: int, path: Path) -> None:
    """Refuse what is not grey images that can be decoded."""
    from pydicom.pixels import get_decoder

    if "PixelData" not in one:
        raise FormatError(
            f"{path} is an image without pixel data; it is truncated. Copy or export it again."
        )
    kind = str(one.get("PhotometricInterpretation"))
    if int(one.get("SamplesPerPixel", 1)) != 1 or kind != "MONOCHROME2":
        raise FormatError(f"{path} is {kind}; expected grey values (MONOCHROME2).")
    syntax = one.file_meta.TransferSyntaxUID
    try:
        decodes = not syntax.is_compressed or (
            syntax.is_encapsulated and get_decoder(syntax).is_available
        )
    except NotImplementedError:
        decodes = False
    if not decodes:
        raise FormatError(
            f"{path} is compressed ({syntax.name}); it cannot be decoded here. Install the "
            "extra clinical, or write it uncompressed first: gdcmconv --raw."
        )
    check_codestreams(one, frames, path)


def check_codestreams(one: Any, frames: int, path: Path) -> None:
    """Refuse compressed frames that claim another size than the header, before anything decodes
    them.
    """
    syntax = one.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax != RLE_LOSSLESS:
        for index in range(frames):
            _check_codestream(one, index, frames, path)


def _check_codestream(one: Any, index: int, frames: int, path: Path) -> None:
    from pydicom.encaps import get_frame

    claimed = coded_size(get_frame(one.PixelData, index, number_of_frames=frames))
    expected = (int(one.Rows), int(one.Columns), 1)
    if claimed != expected:
        raise FormatError(
            f"{path}: the compressed image claims {claimed} (rows, columns, components), the "
            f"header says {expected}. "
            "It is damaged or built to exhaust memory."
        )


def _slice(one: Entries, part: Part, pixels: Pixels) -> Slice:
    path = pixels.path
    slope, intercept = (
        _number(one, "RescaleSlope", 1.0, path),
        _number(one, "RescaleIntercept", 0.0, path),
    )
    modality = str(one.get("Modality"))
    header: dict[str, Any] = {
        name: _number(one, tag, 0.0, path)
        for name, tag in TECHNICAL.items()
        if one.get(tag) not in (None, "")
    }
    header |= {"modality": modality} | (
        {"kernel": str(one.get("ConvolutionKernel"))} if one.get("ConvolutionKernel") else {}
    )
    if one.get("PixelPaddingValue") is not None:
        header["padding_value"] = _number(one, "PixelPaddingValue", 0.0, path) * slope + intercept
    size = int(one.get("Rows")), int(one.get("Columns"))
    if min(size) < 1:
        raise FormatError(
            f"{path} has {size[0]} rows and {size[1]} columns; expected at least one of each. "
            "Export it again."
        )
    return Slice(
        path=path,
        series=str(one.get("SeriesInstanceUID")),
        frame=str(one.get("FrameOfReferenceUID") or "scanner"),
        label=f"{modality} series {one.get('SeriesNumber')}",
        modality=modality,
        size=size,
        position=_vector(one, "ImagePositionPatient", 3, path),
        orientation=_vector(one, "ImageOrientationPatient", 6, path),
        spacing=_vector(one, "PixelSpacing", 2, path),
        thickness=_number(one, "SpacingBetweenSlices", 0.0, path)
        or _number(one, "SliceThickness", 0.0, path),
        rescale=(slope, intercept),
        apart={name: str(one.get(tag) or "") for name, tag in APART.items()},
        header=header,
        entries=one,
        part=part,
        source=pixels,
    )


def _number(one: Entries, tag: str, absent: float, path: Path) -> float:
    value = one.get(tag)
    number = absent if value is None or value == "" else float(value)
    if not np.isfinite(number):
        raise FormatError(f"{path}: {tag} is {value}; expected a finite number. Export it again.")
    return number


def _vector(one: Entries, tag: str, count: int, path: Path) -> Array:
    values = one.get(tag)
    numbers = np.array([] if values is None else values, float).ravel()
    if numbers.size != count or not np.isfinite(numbers).all():
        raise GeometryError(
            f"{path}: {tag} is {values}; expected {count} numbers. Without it the image has no "
            "place."
        )
    return numbers
