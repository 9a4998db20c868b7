"""DICOM series that break no rule, small and made up, and the validators that say so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

STORAGE = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}
OWN: dict[str, dict[str, Any]] = {
    "CT": {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "KVP": 120,
        "AcquisitionNumber": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "RescaleType": "HU",
        "PatientPosition": "HFS",
    },
    "MR": {
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        "ScanningSequence": "SE",
        "SequenceVariant": "NONE",
        "ScanOptions": None,
        "MRAcquisitionType": "2D",
        "RepetitionTime": 500,
        "EchoTime": 10,
        "EchoTrainLength": 1,
        "SeriesDescription": "T1 SE",
        "PatientPosition": "HFS",
    },
    "PT": {
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "CountsSource": "EMISSION",
        "SeriesType": ["STATIC", "IMAGE"],
        "Units": "BQML",
        "CollimatorType": "NONE",
        "CorrectedImage": ["DECY", "ATTN"],
        "DecayCorrection": "START",
        "DecayFactor": 1.02,
        "FrameReferenceTime": 0,
        "ActualFrameDuration": 180000,
        "RescaleSlope": 10,
        "RescaleIntercept": 0,
        "PatientWeight": 70,
        "PatientOrientationCodeSequence": [],
        "PatientGantryRelationshipCodeSequence": [],
    },
}


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def tracer() -> Dataset:
    item = Dataset()
    item.RadionuclideCodeSequence = [code("C-111A1", "SRT", "^18^Fluorine")]
    item.RadiopharmaceuticalStartTime = "100000"
    item.RadionuclideTotalDose, item.RadionuclideHalfLife = 350e6, 6586.2
    return item


def source_series(
    folder: Path,
    modality: str = "CT",
    size: tuple[int, int, int] = (12, 10, 4),
    seed: int = 0,
    number: int = 3,
    **changed: Any,
) -> Path:
    """Write a series of `size`, columns, rows, slices, of 1.5 x 2 x 3 mm, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    columns, rows, slices = size
    for k in range(slices):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        tags: dict[str, Any] = {
            "SOPClassUID": STORAGE[modality],
            "SOPInstanceUID": f"2.25.{1000 + 100 * number + k}",
            "StudyInstanceUID": "2.25.500",
            "SeriesInstanceUID": f"2.25.{600 + number}",
            "FrameOfReferenceUID": "2.25.700",
            "PositionReferenceIndicator": "",
            "Modality": modality,
            "Manufacturer": "Maker",
            "ManufacturerModelName": "Scanner 3000",
            "DeviceSerialNumber": "17",
            "SoftwareVersions": "5.1",
            "StationName": "ROOM2",
            "PatientName": "Doe^Jane",
            "PatientID": "12345",
            "PatientBirthDate": "19700101",
            "PatientSex": "F",
            "StudyDate": "20200101",
            "StudyTime": "110000",
            "SeriesDate": "20200101",
            "SeriesTime": "110500",
            "AcquisitionDate": "20200101",
            "AcquisitionTime": "110500",
            "ContentDate": "20200101",
            "ContentTime": "110600",
            "ReferringPhysicianName": "",
            "StudyID": "S1",
            "AccessionNumber": "A1",
            "StudyDescription": "Head",
            "SeriesNumber": number,
            "InstanceNumber": k + 1,
            "BodyPartExamined": "HEAD",
            "ImagePositionPatient": [-8.0, 9.0, 20.0 + 3 * k],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [2, 1.5],
            "SliceThickness": 3,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": rows,
            "Columns": columns,
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
        }
        if modality == "PT":
            tags |= {"NumberOfSlices": slices, "ImageIndex": k + 1}
            tags["RadiopharmaceuticalInformationSequence"] = [tracer()]
        for key, value in {**tags, **OWN[modality], **changed}.items():
            setattr(one, key, value)
        pixels = rng.integers(0, 1000, size=(rows, columns)).astype("<i2")
        one.PixelData = pixels.tobytes()
        one["PixelData"].VR = "OW"
        pydicom.dcmwrite(folder / f"{k:03}.dcm", one, enforce_file_format=True)
    return folder


def enhanced_source(folder: Path) -> Path:
    """Write one multi-frame MR object whose four frames lie in space, and return its folder."""
    frames = [pydicom.dcmread(file) for file in sorted(source_series(folder, "MR").iterdir())]
    whole = pydicom.dcmread(folder / "000.dcm")
    for file in folder.iterdir():
        file.unlink()
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    whole.NumberOfFrames = len(frames)
    whole.PixelData = b"".join(frame.PixelData for frame in frames)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_only(whole, "PixelSpacing", "SliceThickness")]
    shared.PlaneOrientationSequence = [_only(whole, "ImageOrientationPatient")]
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = []
    for frame in frames:
        group = Dataset()
        group.PlanePositionSequence = [_only(frame, "ImagePositionPatient")]
        whole.PerFrameFunctionalGroupsSequence.append(group)
    for tag in ("PixelSpacing", "SliceThickness", "ImageOrientationPatient"):
        del whole[tag]
    del whole.ImagePositionPatient
    pydicom.dcmwrite(folder / "all.dcm", whole, enforce_file_format=True)
    return folder


def _only(one: Dataset, *tags: str) -> Dataset:
    item = Dataset()
    for tag in tags:
        item[tag] = one[tag]
    return item


def errors(files: Iterable[Path]) -> list[str]:
    """What `dciodvfy` finds wrong in files, one run a series; `dcentvfy` is for all together."""
    found = []
    for file in files:
        found += [f"{file.name}: {line}" for line in _said("dciodvfy", [file])]
    return found


def disagreements(files: Sequence[Path]) -> list[str]:
    """What `dcentvfy` finds inconsistent between files of a patient and study."""
    return _said("dcentvfy", files)


def _said(name: str, files: Sequence[Path]) -> list[str]:
    tool = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if tool is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [tool, *map(str, files)], capture_output=True, text=True, timeout=60, check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert lines or name == "dcentvfy", f"{name} looked at nothing"
    return [line for line in lines if line.startswith(("Error", "Abort"))]
