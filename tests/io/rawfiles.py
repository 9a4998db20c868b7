"""Small raw-data and DICOM files for the reader tests, written with h5py, numpy and pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("number_of_samples", "<u2"),
        ("available_channels", "<u2"),
        ("active_channels", "<u2"),
        ("channel_mask", "<u8", (16,)),
        ("discard_pre", "<u2"),
        ("discard_post", "<u2"),
        ("center_sample", "<u2"),
        ("encoding_space_ref", "<u2"),
        ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        (
            "idx",
            [
                (n, "<u2")
                for n in (
                    "kspace_encode_step_1",
                    "kspace_encode_step_2",
                    "average",
                    "slice",
                    "contrast",
                    "phase",
                    "repetition",
                    "set",
                    "segment",
                )
            ]
            + [("user", "<u2", (8,))],
        ),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)
ROW = np.dtype(
    [("head", HEAD), ("traj", h5py.vlen_dtype(np.float32)), ("data", h5py.vlen_dtype(np.float32))]
)


def kspace(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Complex numbers without an exact zero."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def xml(
    encoded: tuple[int, int, int],
    recon: tuple[int, int, int],
    fov: tuple[float, float, float] = (400.0, 200.0, 5.0),
    recon_fov: tuple[float, float, float] = (200.0, 200.0, 5.0),
    trajectory: str = "cartesian",
    extra: str = "",
) -> str:
    """An ISMRMRD header."""

    def space(name: str, matrix: tuple[int, ...], mm: tuple[float, ...]) -> str:
        sizes = "".join(f"<{a}>{n}</{a}>" for a, n in zip("xyz", matrix, strict=True))
        lengths = "".join(f"<{a}>{n}</{a}>" for a, n in zip("xyz", mm, strict=True))
        return f"<{name}><matrixSize>{sizes}</matrixSize><fieldOfView_mm>{lengths}</fieldOfView_mm></{name}>"  # noqa: E501

    limits = "".join(
        f"<kspace_encoding_step_{k}><minimum>0</minimum><maximum>{n - 1}</maximum><center>{n // 2}</center>"  # noqa: E501
        f"</kspace_encoding_step_{k}>"
        for k, n in ((1, encoded[1]), (2, encoded[2]))
    )
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        "<subjectInformation><patientName>DOE^JANE</patientName></subjectInformation>"
        "<acquisitionSystemInformation><systemFieldStrength_T>2.89</systemFieldStrength_T></acquisitionSystemInformation>"
        f"<encoding>{space('encodedSpace', encoded, fov)}{space('reconSpace', recon, recon_fov)}"
        f"<encodingLimits>{limits}</encodingLimits><trajectory>{trajectory}</trajectory></encoding>"
        f"<sequenceParameters><TR>500</TR><TE>12</TE></sequenceParameters>{extra}</ismrmrdHeader>"
    )


def acquisition(
    line: np.ndarray, *, bits: tuple[int, ...] = (), traj: np.ndarray | None = None, **values: Any
) -> Any:
    """One row: `line` is `(coil, sample)`; values are head fields or counters."""
    row = np.zeros(1, ROW)
    head = row["head"][0]
    head["number_of_samples"], head["active_channels"] = line.shape[1], line.shape[0]
    head["center_sample"] = line.shape[1] // 2
    head["sample_time_us"] = 2.0
    head["read_dir"], head["phase_dir"], head["slice_dir"] = np.eye(3)
    head["flags"] = sum(1 << (bit - 1) for bit in bits)
    head["trajectory_dimensions"] = 0 if traj is None else traj.shape[1]
    for key, value in values.items():
        if key in HEAD.names:
            head[key] = value
        else:
            head["idx"][key] = value
    row["traj"][0] = np.zeros(0, np.float32) if traj is None else traj.astype(np.float32).ravel()
    row["data"][0] = line.astype(np.complex64).ravel().view(np.float32)
    return row[0]


def write_mrd(path: Path, rows: list[Any], header: str) -> Path:
    """An ISMRMRD file."""
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("dataset/data", (len(rows),), ROW)
        for index, row in enumerate(rows):
            stored[index] = row
        file.create_dataset("dataset/xml", (1,), h5py.string_dtype())[0] = header
    return path


def cartesian_rows(full: np.ndarray, lines: list[int], **values: Any) -> list[Any]:
    """The lines of `(slice, coil, ky, kx)` as acquisitions."""
    return [
        acquisition(
            full[s, :, ky], slice=s, kspace_encode_step_1=ky, position=(0, 0, 6.0 * s), **values
        )
        for s in range(len(full))
        for ky in lines
    ]


def write_fastmri(
    path: Path, data: np.ndarray, header: str | None = None, mask: np.ndarray | None = None
) -> Path:
    """A fastMRI file."""
    with h5py.File(path, "w") as file:
        file["kspace"] = data
        if header is not None:
            file["ismrmrd_header"] = header
        if mask is not None:
            file["mask"] = mask
        file.attrs["acquisition"] = "AXFLAIR"
        file.attrs["patient_id"] = "secret-patient"
    return path


def write_bart(base: Path, array: np.ndarray) -> Path:
    """A BART pair."""
    base.with_name(base.name + ".hdr").write_text(
        "# Dimensions\n" + " ".join(map(str, array.shape)) + " \n# Command\nphantom\n"
    )
    base.with_name(base.name + ".cfl").write_bytes(array.astype(np.complex64).tobytes(order="F"))
    return base


def ct_slice(
    series: str,
    number: int,
    pixels: np.ndarray,
    position: tuple[float, float, float],
    **changed: Any,
) -> FileDataset:
    """One CT slice; `changed` overrides tags by keyword."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    tags = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": series,
        "FrameOfReferenceUID": "2.25.77",
        "SeriesNumber": 3,
        "InstanceNumber": number,
        "Modality": "CT",
        "PatientName": "DOE^JANE",
        "PatientID": "12345",
        "PatientBirthDate": "19700101",
        "InstitutionName": "Nowhere",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "PixelSpacing": [0.5, 0.75],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": list(position),
        "RescaleSlope": 2,
        "RescaleIntercept": -1024,
        "SliceThickness": 3,
        "KVP": 120,
        "ConvolutionKernel": "H30",
        "PixelData": pixels.astype("<i2").tobytes(),
    }
    for key, value in {**tags, **changed}.items():
        setattr(one, key, value)
    return one


def write_series(
    folder: Path, positions: list[tuple[float, float, float]], seed: int = 0, **changed: Any
) -> np.ndarray:
    """A CT series in shuffled order; returns the stored values `(slice, row, column)` in the order
    of `positions`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    stored = rng.integers(-100, 1000, size=(len(positions), 5, 7)).astype(np.int16)
    series = generate_uid()
    for name, index in enumerate(rng.permutation(len(positions))):
        one = ct_slice(series, int(index), stored[index], positions[index], **changed)
        pydicom.dcmwrite(folder / f"{name:03d}.dcm", one, enforce_file_format=True)
    return stored
