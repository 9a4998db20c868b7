"""A digital phantom as a DICOM series, to try a node on without a patient."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "veridical.phantom")
CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}
"""Modality -> SOP class."""
SCALES = {"CT": (-1000.0, 40.0, 60.0, 12.0), "MR": (0.0, 300.0, 120.0, 12.0), "PT": (0, 2, 4, 0.2)}
"""Modality -> value outside, in the body, added in the inner parts, and SD of the noise."""
SLOPES = {"CT": (1.0, -1024.0), "MR": (1.0, 0.0), "PT": (0.001, 0.0)}


def phantom_series(
    folder: Path,
    modality: str = "MR",
    *,
    shape: tuple[int, int, int] = (64, 64, 6),
    seed: int = 0,
    description: str = "T1w axial",
    study: str = "",
) -> list[Path]:
    """Write an ellipsoid with two inner parts and noise, one file a slice, and return the files.

    Args:
        folder: where; made when it is missing.
        modality: MR, CT or PT.
        shape: voxels along x, y, z; of 2 x 2 x 4 mm.
        seed: of the noise and the UIDs: the same gives the same bytes.
        description: Series Description.
        study: Study Instance UID; one of its own when empty.
    """
    import numpy as np

    outside, body, inner, noise = SCALES[modality]
    slope, intercept = SLOPES[modality]
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    image = np.where(x**2 + y**2 + 0.4 * z**2 < 0.8, body, outside).astype(np.float64)
    for place, sign in ((0.3, 1.0), (-0.3, -0.5)):
        image += np.where((x - place) ** 2 + (y - place) ** 2 < 0.05, sign * inner, 0.0)
    image += np.random.default_rng(seed).normal(0.0, noise, shape)
    stored = np.clip(np.round((image - intercept) / slope), 0, 4095).astype(np.uint16)
    uid = _uids(modality, shape, seed, description, study)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index in range(shape[2]):
        one = _header(modality, index, description, uid)
        one.Columns, one.Rows = shape[:2]
        one.RescaleSlope, one.RescaleIntercept = slope, intercept
        one.PixelData = stored[:, :, index].T.tobytes()
        files.append(folder / f"{index + 1:05}.dcm")
        one.save_as(files[-1], enforce_file_format=True)
    return files


def _uids(*parts: Any) -> dict[str, str]:
    def uid(*names: Any) -> str:
        return f"2.25.{uuid.uuid5(SPACE, repr((*parts, *names))).int}"

    names = ["series", "frame", *(f"slice {index}" for index in range(parts[1][2]))]
    return {name: uid(name) for name in names} | {"study": parts[4] or uid("study")}


def _header(modality: str, index: int, description: str, uid: dict[str, str]) -> Any:
    """Return one slice without its pixels."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = CLASSES[modality], uid[f"slice {index}"]
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    one.PatientName, one.PatientID = "Phantom^Digital", "PHANTOM"
    one.PatientBirthDate, one.PatientSex = "", "O"
    one.StudyInstanceUID, one.SeriesInstanceUID = uid["study"], uid["series"]
    one.FrameOfReferenceUID, one.PositionReferenceIndicator = uid["frame"], ""
    one.StudyDate, one.StudyTime, one.StudyID = "20000101", "120000", "1"
    one.AccessionNumber, one.ReferringPhysicianName = "", ""
    one.Modality, one.Manufacturer, one.BodyPartExamined = modality, "Phantom", "HEAD"
    one.SeriesDescription, one.SeriesNumber, one.InstanceNumber = description, 1, index + 1
    one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.PatientPosition, one.ImageOrientationPatient = "HFS", [1, 0, 0, 0, 1, 0]
    one.ImagePositionPatient, one.PixelSpacing = [-64, -64, 4 * index], [2, 2]
    one.SliceThickness, one.SpacingBetweenSlices = 4, 4
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
    if modality == "MR":
        one.ScanningSequence, one.SequenceVariant, one.ScanOptions = "SE", "NONE", ""
        one.MRAcquisitionType, one.EchoTrainLength = "2D", 1
        one.RepetitionTime, one.EchoTime, one.MagneticFieldStrength = 500, 10, 3
    elif modality == "CT":
        one.KVP, one.AcquisitionNumber, one.RescaleType = 120, 1, "HU"
    else:
        one.Units, one.CorrectedImage, one.DecayCorrection = "GML", ["ATTN", "DECY"], "START"
        one.CountsSource, one.SeriesType = "EMISSION", ["STATIC", "IMAGE"]
        one.SeriesDate, one.SeriesTime = "20000101", "120000"
        one.AcquisitionDate, one.AcquisitionTime = "20000101", "120000"
        one.NumberOfSlices, one.ImageIndex, one.ActualFrameDuration = 1, index + 1, 600000
    return one
