"""Builders of tiny made-up trees of images, in every usual layout and with every usual mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from veridical.io.bids import save
from veridical.io.nifti import write_nifti
from veridical.types import Geometry, Image, Interval, Result

SHAPE = (20, 18, 12)
AFFINE = np.array([[2.0, 0, 0, -20], [0, 2.0, 0, -18], [0, 0, 3.0, -10], [0, 0, 0, 1]])


def scene(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A head without symmetry, float32 from 0 to about 100: the same for all seeds but for its
    inside.
    """
    inside = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    x, y, *_ = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    head = ((x + 0.1) ** 2 + (y * 1.2 - 0.1) ** 2 < 0.6) * (1 + 0.4 * x + 0.3 * y)
    return np.asarray(50 * head * (1 + 0.25 * inside / inside.std()).clip(0.1), np.float32)


def fake(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """What a fair generator makes of `scene(seed)`."""
    return np.asarray(
        scene(seed, shape) + np.random.default_rng(1000 + seed).normal(0, 2, shape), np.float32
    )


def image(
    array: np.ndarray,
    affine: np.ndarray = AFFINE,
    units: str = "a.u.",
    channels: tuple[str, ...] = ("T1w",),
) -> Image:
    data = array if array.ndim == 4 else array.reshape(1, *array.shape, *(1,) * (3 - array.ndim))
    return Image(data, Geometry(data.shape[1:], affine), units, channels)


def put(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE, **said: Any) -> Path:
    """Write a NIfTI file of ours, units and channel in its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(image(array, affine, **said), path)
    return path


def foreign(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write a NIfTI file as others do: nothing is said of units and channels."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def flat(root: Path, names: list[str] | range, make: Any = scene, **said: Any) -> Path:
    """A flat folder `<name>.nii.gz`; names of a range are `case00` ..."""
    for seed, name in enumerate(names):
        put(
            root / (f"case{name:02d}.nii.gz" if isinstance(name, int) else f"{name}.nii.gz"),
            make(seed),
            **said,
        )
    return root


def result(root: Path, name: str, array: np.ndarray, draws: int = 0) -> Path:
    """A result of Veridical in a folder of its own, with an interval and draws."""
    estimate = image(array)
    interval = Interval(estimate.data - 5, estimate.data + 5, 0.9, 20, "made up", "nothing")
    several = np.stack([estimate.data + n for n in range(draws)]) if draws else None
    save(Result(estimate, "posterior mean", several, interval), root / name, name)
    return root


def series(folder: Path, array: np.ndarray) -> Path:
    """A DICOM series of CT slices; returns the folder."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    uid, frame = generate_uid(), generate_uid()
    for number, plane in enumerate(np.moveaxis(array, 2, 0)):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = CTImageStorage
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        one.SeriesInstanceUID, one.FrameOfReferenceUID, one.Modality = uid, frame, "CT"
        one.ImagePositionPatient, one.ImageOrientationPatient = (
            [0, 0, 3.0 * number],
            [1, 0, 0, 0, 1, 0],
        )
        one.PixelSpacing, one.SliceThickness = [2.0, 2.0], 3.0
        one.Rows, one.Columns = plane.shape[1], plane.shape[0]
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation, one.SamplesPerPixel = 15, 0, 1
        one.PhotometricInterpretation, one.RescaleSlope, one.RescaleIntercept = (
            "MONOCHROME2",
            1,
            -1024,
        )
        one.PixelData = np.ascontiguousarray(plane.T.round().astype("<u2")).tobytes()
        one.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return folder
