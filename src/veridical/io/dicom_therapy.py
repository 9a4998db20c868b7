"""Label maps as RT Structure Sets, and doses as RT Dose, beside the series they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from veridical.errors import FormatError, InputError
from veridical.io.dicom_images import real
from veridical.io.dicom_maps import Where
from veridical.io.dicom_objects import ascii_text, frame_of, header_of, moment, references
from veridical.io.dicom_series import LPS
from veridical.io.dicom_structures import PLANAR, STRUCTURE_SET, outlined
from veridical.types import Array, Geometry

DOSE_STORAGE = "1.2.840.10008.5.1.4.1.1.481.2"
COLOURS = ((230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48),
           (145, 30, 180), (70, 240, 240), (240, 50, 230))  # fmt: skip
LARGEST = 2**32 - 1


def structure_set(labels: Array, geometry: Geometry, names: Mapping[int, str], where: Where) -> Any:
    """Return a label map as an RT Structure Set with one structure a label; 0 is background.

    Args:
        labels: `(x, y, z)` integers.
        geometry: its grid.
        names: label -> name.
        where: it belongs.

    Raises:
        InputError: there is no label above 0.
    """
    held = [int(label) for label in np.unique(labels) if label > 0]
    if not held:
        raise InputError(f"{where.role} holds background only; there is no structure to write.")
    job, series = where.job, where.series
    one = _object(where, STRUCTURE_SET, "RTSTRUCT")
    one.StructureSetLabel = ascii_text(where.role, 16)
    one.StructureSetDate, one.StructureSetTime = moment(series)
    frame = frame_of(job, series)
    one.ReferencedFrameOfReferenceSequence = [_frame(where, frame)]
    one.StructureSetROISequence, one.ROIContourSequence = [], []
    one.RTROIObservationsSequence = []
    for number, label in enumerate(held, 1):
        name = ascii_text(names.get(label, f"label {label}"), 64)
        one.StructureSetROISequence.append(
            _item(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=frame,
                ROIName=name,
                ROIGenerationAlgorithm="AUTOMATIC",
            )
        )
        contours = [_contour(points) for _, points in outlined(labels == label, geometry)]
        one.ROIContourSequence.append(
            _item(
                ReferencedROINumber=number,
                ROIDisplayColor=list(COLOURS[label % len(COLOURS)]),
                ContourSequence=contours,
            )
        )
        one.RTROIObservationsSequence.append(
            _item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType="",
                ROIInterpreter="",
            )
        )
    one.ApprovalStatus = "UNAPPROVED"
    return one


def dose(data: Array, geometry: Geometry, plan: Any, where: Where) -> Any:
    """Return a dose as RT Dose, in 32-bit integers.

    Args:
        data: `(x, y, z)` Gy, not negative.
        geometry: its grid, with right angles.
        plan: header of the RT Plan that it belongs to.
        where: it belongs.

    Raises:
        FormatError: there are NaN, infinities or negative doses.
    """
    values = real(data, where.role).astype(np.float64)
    if values.min() < 0:
        raise FormatError(f"{where.role} falls to {values.min():g} Gy; expected no negative dose.")
    one = _object(where, DOSE_STORAGE, "RTDOSE")
    lps = LPS @ geometry.affine
    axes = [lps[:3, k] / np.linalg.norm(lps[:3, k]) for k in range(2)]
    step = float(np.cross(*axes) @ lps[:3, 2])
    scaling = float(f"{max(float(values.max()) / LARGEST, 1e-12) * (1 + 1e-7):.9e}")
    one.ImagePositionPatient = _decimals(lps[:3, 3])
    one.ImageOrientationPatient = _decimals(np.concatenate(axes))
    one.PixelSpacing = _decimals([geometry.spacing[1], geometry.spacing[0]])
    one.SliceThickness = _decimals([abs(step)])[0]
    one.GridFrameOffsetVector = _decimals(np.arange(geometry.shape[2]) * step)
    one.FrameIncrementPointer = 0x3004000C
    one.NumberOfFrames = geometry.shape[2]
    one.Columns, one.Rows = geometry.shape[:2]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 32
    one.HighBit, one.PixelRepresentation = 31, 0
    one.DoseUnits, one.DoseType, one.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    one.DoseGridScaling = _decimals([scaling])[0]
    one.ReferencedRTPlanSequence = [
        _item(ReferencedSOPClassUID=plan.SOPClassUID, ReferencedSOPInstanceUID=plan.SOPInstanceUID)
    ]
    stored = np.rint(values / scaling).astype("<u4")
    one.PixelData = np.ascontiguousarray(stored.transpose(2, 1, 0)).tobytes()
    one["PixelData"].VR = "OW"
    return one


def _object(where: Where, storage: str, modality: str) -> Any:
    one = header_of(
        where.job, where.series, storage, modality, where.role, where.offset, where.channels
    )
    one.SOPInstanceUID, one.InstanceNumber = where.job.uid(where.role, 0), 1
    one.OperatorsName = ""
    for tag in ("PatientPosition", "ContentDate", "ContentTime"):
        one.pop(tag, None)
    return one


def _frame(where: Where, frame: str) -> Any:
    """Return the images that a structure set was drawn on."""
    from pydicom.sr.codedict import codes

    series = where.series
    images = references(series.places, codes.DCM.SourceImageForSegmentation)
    for image in images:
        del image.PurposeOfReferenceCodeSequence
    study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=series.first.StudyInstanceUID,
        RTReferencedSeriesSequence=[
            _item(SeriesInstanceUID=series.first.SeriesInstanceUID, ContourImageSequence=images)
        ],
    )
    return _item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])


def _contour(points: Array) -> Any:
    return _item(
        ContourGeometricType=PLANAR[0],
        NumberOfContourPoints=len(points),
        ContourData=_decimals(points.ravel()),
    )


def _decimals(values: Any) -> list[Any]:
    from pydicom.valuerep import DSfloat

    return [DSfloat(float(value) + 0.0, auto_format=True) for value in values]


def _item(**entries: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in entries.items():
        setattr(item, keyword, value)
    return item
