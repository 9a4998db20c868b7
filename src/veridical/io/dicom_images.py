"""An estimate as a derived DICOM series: one single-frame CT, MR or PET image a slice.

The stored integers have a step of 1 HU for CT; for all else the range of the estimate is spread
over 16 bits, and RescaleSlope and RescaleIntercept bring it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from veridical.errors import FormatError, UnitsError
from veridical.io.dicom_objects import DerivedJob, ascii_text, header_of, references, take
from veridical.io.dicom_series import LPS, SourceSeries
from veridical.types import Array, Image

CT, MR, PET = "CT", "MR", "PT"
STORAGE = {
    CT: "1.2.840.10008.5.1.4.1.1.2",
    MR: "1.2.840.10008.5.1.4.1.1.4",
    PET: "1.2.840.10008.5.1.4.1.1.128",
}
"""SOP classes of CT, MR and PET Image Storage."""
OF_SLICE = (
    "FrameReferenceTime",
    "ActualFrameDuration",
    "AcquisitionDate",
    "AcquisitionTime",
    "DecayFactor",
)
"""Of PET, from the nearest slice of the source."""
ACQUIRED: Mapping[str, tuple[str, ...]] = {
    CT: ("KVP", "ConvolutionKernel", "GantryDetectorTilt", "ReconstructionDiameter"),
    MR: (
        "ScanningSequence",
        "SequenceVariant",
        "ScanOptions",
        "MRAcquisitionType",
        "RepetitionTime",
        "EchoTime",
        "EchoTrainLength",
        "InversionTime",
        "FlipAngle",
        "MagneticFieldStrength",
        "ImagedNucleus",
    ),
    PET: (
        "CountsSource",
        "SeriesType",
        "CollimatorType",
        "CorrectedImage",
        "DecayCorrection",
        "RadiopharmaceuticalInformationSequence",
        *OF_SLICE,
        "RandomsCorrectionMethod",
        "AttenuationCorrectionMethod",
        "ScatterCorrectionMethod",
        "PatientOrientationCodeSequence",
        "PatientGantryRelationshipCodeSequence",
    ),
}
"""How an image was measured: taken over, but not for contrasts that were not measured."""
NEEDED: Mapping[str, Mapping[str, Any]] = {
    CT: {"KVP": None, "AcquisitionNumber": None},
    MR: {
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": None,
        "MRAcquisitionType": None,
        "RepetitionTime": None,
        "EchoTime": None,
        "EchoTrainLength": None,
    },
    PET: {
        "CountsSource": "EMISSION",
        "SeriesType": ["STATIC", "IMAGE"],
        "CollimatorType": None,
        "CorrectedImage": [],
        "DecayCorrection": "NONE",
        "RadiopharmaceuticalInformationSequence": [],
        "FrameReferenceTime": 0,
        "ActualFrameDuration": None,
        "DecayFactor": 1,
        "PatientOrientationCodeSequence": [],
        "PatientGantryRelationshipCodeSequence": [],
    },
}
"""What an object of the modality must have, where nothing was taken over: RM is research mode."""
PET_UNITS = {"SUV": "GML", "Bq/mL": "BQML", "counts": "CNTS", "counts/s": "CPS", "1": "NONE"}
FLAVOUR = {CT: "AXIAL", MR: "OTHER"}
"""Third value of ImageType."""
WINDOW = {"HU": (40.0, 400.0)}
"""Units -> window centre and width; otherwise the middle 99 % of the values."""
LARGEST = 2**16 - 1
MARK = "RESEARCH\nONLY"
SYNTHETIC_MARK = f"SYNTHETIC\n{MARK}"
EXACT = "LINEAR_EXACT"
"""VOI LUT function whose width is that of the values, however narrow."""


@dataclass(frozen=True)
class Stored:
    """An estimate as integers: `value = slope * stored + intercept`.

    Args:
        data: `(x, y, z)` int16 or uint16.
        slope, intercept: as the file states them, in decimal strings of 16 characters.
    """

    data: Array
    slope: float
    intercept: float


def modality_of(channel: str, units: str, series: SourceSeries) -> str:
    """Return the modality in which a channel is written.

    Raises:
        UnitsError: there is none for it.
    """
    if channel == "CT" or units == "HU":
        return CT
    if channel == "PET" or units.startswith("SUV"):
        return PET
    if series.modality in (MR, CT):
        return MR
    if series.modality == PET and units in PET_UNITS:
        return PET
    raise UnitsError(
        f"{channel} in {units} beside {series}: written as DICOM are CT (HU), PET (SUV, Bq/mL) and "
        "MR. Write it as NIfTI."
    )


def derived_series(
    image: Image, channel: str, job: DerivedJob, series: SourceSeries, offset: int, mark: bool
) -> list[Any]:
    """Return one channel as the objects of a series, slice by slice.

    Args:
        image: the estimate; complex ones by their magnitude.
        channel: which.
        job: that made it.
        series: beside which it lies; the slices refer to its images.
        offset: of the series number.
        mark: burn `RESEARCH ONLY` into the upper left corner, under `SYNTHETIC` where it is.

    Raises:
        FormatError: it holds NaN or infinities, or HU beyond 16 bits.
        UnitsError: no modality is known for it.
    """
    units = image.units_of(channel)
    modality = modality_of(channel, units, series)
    data = real(image[channel], channel)
    window = window_of(data, units)
    if mark:
        data = marked(data, window, SYNTHETIC_MARK if job.synthetic([channel]) else MARK)
    stored = stored_values(data, units, channel)
    common = _common(image, channel, job, series, modality, offset)
    common.BurnedInAnnotation = "YES" if mark else "NO"
    common.RescaleSlope = _decimal(stored.slope)
    common.RescaleIntercept = _decimal(stored.intercept)
    if modality != PET:
        common.RescaleType = "HU" if units == "HU" else "US"
    common.WindowCenter, common.WindowWidth = (_decimal(value) for value in window)
    if window[1] < 1:  # a linear window must not be narrower
        common.VOILUTFunction = EXACT
    return [
        _slice(common, image, stored, index, job.uid("estimate", channel, index), series)
        for index in range(image.geometry.shape[2])
    ]


def stored_values(data: Array, units: str, name: str) -> Stored:
    """Return values as integers of 16 bits.

    Raises:
        FormatError: HU beyond 16 bits.
    """
    low, high = float(data.min()), float(data.max())
    if units == "HU":
        if low < -32768 or high > 32767:
            raise FormatError(
                f"{name} reaches from {low:g} to {high:g} HU; expected -32768 to 32767. Are these "
                "HU?"
            )
        return Stored(np.rint(data).astype(np.int16), 1.0, 0.0)
    signed = units in PET_UNITS or units.startswith("SUV")  # whose intercept must be 0
    low = min(low, 0.0)
    top = max(-low, high) / 32767 if signed and low < 0 else (high - low) / LARGEST
    slope = float(_decimal(top * (1 + 1e-9))) or 1.0
    intercept = 0.0 if signed else float(_decimal(low))
    integers = np.rint((data.astype(np.float64) - intercept) / slope)
    return Stored(integers.astype(np.int16 if signed and low < 0 else np.uint16), slope, intercept)


def window_of(data: Array, units: str) -> tuple[float, float]:
    """Return centre and width of the grey values to be shown."""
    if units in WINDOW:
        return WINDOW[units]
    low, high = np.percentile(data, [0.5, 99.5])
    return float(low + high) / 2, float(high - low) or 1.0


def marked(data: Array, window: tuple[float, float], text: str = MARK) -> Array:
    """Return a copy with a text in the upper left corner of every slice, white on black in the
    window.
    """
    from PIL import Image as Picture
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(max(10, data.shape[0] // 24))
    sketch = ImageDraw.Draw(Picture.new("L", (1, 1)))
    left, top, right, bottom = (int(end) for end in sketch.multiline_textbbox((0, 0), text, font))
    picture = Picture.new("L", (right - left + 4, bottom - top + 4))
    ImageDraw.Draw(picture).multiline_text((2 - left, 2 - top), text, fill=255, font=font)
    across, down = (min(size, n) for size, n in zip(picture.size, data.shape[:2], strict=True))
    share = np.asarray(picture.resize((across, down)), np.float32).T[..., None] / 255
    low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    found = np.array(data)
    found[:across, :down] = low + share * (high - low)
    return found


def real(data: Array, name: str) -> Array:
    """Return magnitudes of complex values, float32.

    Raises:
        FormatError: there are NaN or infinities.
    """
    found = np.abs(data) if np.iscomplexobj(data) else np.asarray(data)
    bad = found.size - int(np.isfinite(found).sum())
    if bad:
        raise FormatError(
            f"{name} holds {bad} values that are NaN or infinite; DICOM has no place for them. "
            "Write a number there."
        )
    return np.asarray(found, np.float32)


def _common(
    image: Image, channel: str, job: DerivedJob, series: SourceSeries, modality: str, offset: int
) -> Any:
    """Return what all slices share."""
    geometry = image.geometry
    one = header_of(
        job, series, STORAGE[modality], modality, f"{channel} estimate", offset, (channel,)
    )
    measured = channel not in job.synthesized and series.modality == modality
    if measured:
        take(one, series.first, ACQUIRED[modality])
    for tag, value in NEEDED[modality].items():
        if tag not in one:
            setattr(one, tag, value)
    one.PatientPosition = one.get("PatientPosition", "")
    lps = LPS @ geometry.affine
    axes = [lps[:3, k] / np.linalg.norm(lps[:3, k]) for k in range(2)]
    one.ImageOrientationPatient = [_decimal(value) for value in np.concatenate(axes)]
    one.PixelSpacing = [_decimal(geometry.spacing[1]), _decimal(geometry.spacing[0])]
    one.SliceThickness = _decimal(abs(float(np.cross(*axes) @ lps[:3, 2])))
    if modality == MR:
        one.SpacingBetweenSlices = one.SliceThickness
    flavour = FLAVOUR.get(modality)
    second = "PRIMARY" if modality == PET else "SECONDARY"
    one.ImageType = ["DERIVED", second, *([flavour] if flavour else [])]
    one.DerivationDescription = job.description()
    one.ImageComments = ascii_text(_comment(channel, image.units_of(channel), job), 10240)
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.Rows, one.Columns = geometry.shape[1], geometry.shape[0]
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit = 15
    if modality == PET:
        del one.PatientPosition  # two code sequences state it instead
        one.Units = PET_UNITS.get(image.units_of(channel), "GML")
        if one.Units == "GML":
            one.SUVType = "BW"
        one.NumberOfSlices = geometry.shape[2]
    return one


def _comment(channel: str, units: str, job: DerivedJob) -> str:
    how = "made by a model, not measured" if channel in job.synthesized else "processed by a model"
    return f"{channel} in {units}, {how}. {job.description()}"


def _slice(
    common: Any, image: Image, stored: Stored, index: int, uid: str, series: SourceSeries
) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    one = Dataset()
    one.update(common)
    one.file_meta = common.file_meta.copy()
    lps = LPS @ image.geometry.affine
    position = (lps @ np.array([0, 0, index, 1.0]))[:3]
    axes = np.array([float(value) for value in common.ImageOrientationPatient]).reshape(2, 3)
    normal = np.cross(*axes)
    one.SOPInstanceUID, one.InstanceNumber = uid, index + 1
    one.ImagePositionPatient = [_decimal(value) for value in position]
    one.SliceLocation = _decimal(float(position @ normal))
    near = series.near(position, normal, float(common.SliceThickness))
    one.SourceImageSequence = references(near, codes.DCM.SourceImageForImageProcessingOperation)
    if common.Modality == PET:
        one.ImageIndex = index + 1
        if series.modality == PET:
            take(one, near[0].header, OF_SLICE)
    one.PixelRepresentation = int(stored.data.dtype == np.int16)
    one.PixelData = np.ascontiguousarray(stored.data[:, :, index].T).tobytes()
    one["PixelData"].VR = "OW"
    return one


def _decimal(value: float) -> Any:
    """Return a number as DICOM's decimal string of at most 16 characters."""
    from pydicom.valuerep import DSfloat

    return DSfloat(float(value) + 0.0, auto_format=True)
