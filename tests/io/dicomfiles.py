"""Enhanced multi-frame DICOM objects, Siemens mosaics and PET series, small and made up."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    EnhancedMRImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    generate_uid,
)
from rawfiles import ct_slice, write_series

PLACES = [(-10.0, 20.0, 30.0 + 3 * k) for k in range(5)]


def group(**entries: Any) -> Sequence:
    """A functional group of one item."""
    item = Dataset()
    for key, value in entries.items():
        setattr(item, key, value)
    return Sequence([item])


def write_enhanced(
    path: Path,
    stored: np.ndarray,
    frames: list[dict[str, Any]],
    storage: str = EnhancedMRImageStorage,
) -> None:
    """An enhanced object of `stored`, `(frame, row, column)`; `frames` says of each its position
    and what else it has.
    """
    one = ct_slice(generate_uid(), 1, stored.reshape(-1, stored.shape[2]), (0, 0, 0), Modality="MR")
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = storage
    one.NumberOfFrames, one.Rows, one.Columns = len(stored), *stored.shape[1:]
    for tag in (
        "PixelSpacing",
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(one, tag)
    shared = Dataset()
    shared.PixelMeasuresSequence = group(PixelSpacing=[0.5, 0.75], SliceThickness=3)
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    one.SharedFunctionalGroupsSequence, each = Sequence([shared]), []
    for said in frames:
        item = Dataset()
        item.PlanePositionSequence = group(ImagePositionPatient=list(said["position"]))
        item.PixelValueTransformationSequence = group(
            RescaleSlope=said.get("slope", 1),
            RescaleIntercept=said.get("intercept", 0),
            RescaleType="US",
        )
        item.MREchoSequence = group(EffectiveEchoTime=said.get("echo", 10.0))
        if "orientation" in said:
            item.PlaneOrientationSequence = group(ImageOrientationPatient=said["orientation"])
        item.FrameContentSequence = group(StackID=said.get("stack", "1"))
        each.append(item)
    one.PerFrameFunctionalGroupsSequence = Sequence(each)
    pydicom.dcmwrite(path, one, enforce_file_format=True)


def mosaic(tiles: np.ndarray, wide: int, corner: tuple[float, float, float], **changed: Any) -> Any:
    """A Siemens mosaic of `tiles`, `(slice, row, column)`, whose first tile lies at `corner`; 3 mm
    from slice to slice.
    """
    count, rows, columns = tiles.shape
    whole = np.zeros((wide * rows, wide * columns), np.int16)
    for k, tile in enumerate(tiles):
        row, column = divmod(k, wide)
        whole[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = tile
    half = np.array([0.75 * (wide - 1) * columns / 2, 0.5 * (wide - 1) * rows / 2, 0])
    one = ct_slice(
        "2.25.8", 1, whole, tuple(np.array(corner) - half), Modality="MR", SpacingBetweenSlices=3.0
    )
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = MRImageStorage
    one.ImageType, one.RescaleSlope, one.RescaleIntercept = (
        ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
        1,
        0,
    )
    block = one.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0A, "US", count)
    for key, value in changed.items():
        setattr(one, key, value)
    return one


def write_pet(
    folder: Path, tracer: dict[str, Any] | None = None, places: Any = PLACES, **changed: Any
) -> np.ndarray:
    """A PET series in Bq/mL with all that SUV need: 70 kg, 350 MBq, FDG, 3600 s before the scan;
    returns the values.
    """
    said = {
        "Modality": "PT",
        "Units": "BQML",
        "RescaleSlope": 10,
        "RescaleIntercept": 0,
        "PatientWeight": 70,
        "DecayCorrection": "START",
        "SeriesDate": "20200101",
        "SeriesTime": "110000",
        "AcquisitionDate": "20200101",
        "AcquisitionTime": "110000",
        "SOPClassUID": PositronEmissionTomographyImageStorage,
        "RadiopharmaceuticalInformationSequence": group(
            **{
                "RadionuclideTotalDose": 350e6,
                "RadionuclideHalfLife": 6586.2,
                "RadiopharmaceuticalStartTime": "100000.00",
                **(tracer or {}),
            }
        ),
    }
    stored = write_series(folder, places, **{**said, **changed})
    return stored.transpose(2, 1, 0) * 10.0


def of_nibabel(name: str, folder: Path) -> Path:
    """A DICOM file that nibabel's own tests use, unpacked."""
    source = Path(nibabel.__file__).parent / "nicom" / "tests" / "data" / name
    if not source.exists():
        pytest.skip(f"this build of nibabel comes without {name}")
    content = source.read_bytes()
    target = folder / name.removesuffix(".gz")
    target.write_bytes(gzip.decompress(content) if name.endswith(".gz") else content)
    return target
