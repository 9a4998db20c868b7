"""Tiny made-up data sets, one of each layout: what they are called on disk is real, what is in them
is noise.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RTStructureSetStorage,
    generate_uid,
)
from scipy.io import savemat

sys.path.append(str(Path(__file__).parents[1] / "io"))
from metafiles import write_mha
from rawfiles import cartesian_rows, kspace, write_mrd, xml

SHAPE = (8, 7, 5)
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def seed_of(text: object) -> int:
    return zlib.crc32(str(text).encode())


def picture(seed: object, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """An MR image: positive noise."""
    return np.random.default_rng(seed_of(seed)).integers(1, 1000, shape).astype(np.int16)


def tomogram(seed: object, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A CT image with air about it."""
    data = np.random.default_rng(seed_of(seed)).integers(-100, 1200, shape).astype(np.int16)
    data[:2] = -1000
    return data


def mask(
    seed: object, values: tuple[int, ...] = (0, 1), shape: tuple[int, ...] = SHAPE
) -> np.ndarray:
    return np.random.default_rng(seed_of(seed)).choice(values, shape).astype(np.uint8)


def put(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
    return path


def put_dicom(
    folder: Path,
    stored: np.ndarray,
    patient: str,
    *,
    modality: str = "CT",
    name: str = "",
    **tags: Any,
) -> None:
    """Write `(slice, row, column)` as a series; `z` gives other places of the slices, mm."""
    folder.mkdir(parents=True, exist_ok=True)
    series, places = (
        tags.pop("series", generate_uid()),
        tags.pop("z", [3.0 * k for k in range(len(stored))]),
    )
    for number, (pixels, place) in enumerate(zip(stored, places, strict=True), 1):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        said = {
            "SOPClassUID": meta.MediaStorageSOPClassUID,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "SeriesInstanceUID": series,
            "FrameOfReferenceUID": "2.25.77",
            "Modality": modality,
            "PatientID": patient,
            "StudyDate": "20200101",
            "SeriesDescription": name,
            "SeriesNumber": 1,
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
            "PixelSpacing": [1, 1],
            "SliceThickness": 3,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [0, 0, place],
            "RescaleSlope": 1,
            "RescaleIntercept": 0,
            "PixelData": pixels.astype("<i2").tobytes(),
        }
        for key, value in {**said, **tags}.items():
            setattr(one, key, value)
        pydicom.dcmwrite(folder / f"{number:06d}.dcm", one, enforce_file_format=True)


def put_structures(folder: Path, patient: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        RTStructureSetStorage,
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    one.Modality, one.PatientID, one.StudyDate, one.SeriesInstanceUID = (
        "RTSTRUCT",
        patient,
        "20200101",
        generate_uid(),
    )
    pydicom.dcmwrite(folder / "RS.dcm", one, enforce_file_format=True)


def brats(root: Path) -> None:
    for number in (1, 2, 3):
        case = f"BraTS20_Training_{number:03d}"
        for name in ("t1", "t1ce", "t2", "flair"):
            put(root / case / f"{case}_{name}.nii.gz", picture((case, name)))
        put(root / case / f"{case}_seg.nii.gz", mask(case, (0, 1, 2, 4)))
    ids = "".join(f"HGG,BraTS20_Training_{n:03d}\n" for n in (1, 2, 3))
    (root / "name_mapping.csv").write_text("Grade,BraTS_2020_subject_ID\n" + ids)


def brats_2023(root: Path) -> None:
    for case in ("BraTS-GLI-00000-000", "BraTS-GLI-00000-001", "BraTS-GLI-00002-000"):
        for name in ("t1n", "t1c", "t2w", "t2f"):
            put(root / case / f"{case}-{name}.nii.gz", picture((case, name)))
        put(root / case / f"{case}-seg.nii.gz", mask(case, (0, 1, 2, 3)))


def ixi(root: Path) -> None:
    for subject in ("IXI002-Guys-0828", "IXI012-HH-1211", "IXI035-IOP-0873"):
        for name in ("T1", "T2", "PD"):
            put(root / f"IXI-{name}" / f"{subject}-{name}.nii.gz", picture((subject, name)))


def openms(root: Path) -> None:
    end = "N4_noneck_reduced_winsor_regtoFLAIR"
    for number in (7, 19):
        folder = root / "cross_sectional_MNI" / f"patient{number:02d}"
        for name in ("T1", "T1POST", "T2", "FLAIR"):
            put(folder / f"{name}_{end}_brain_N4_regtoMNI.nii.gz", picture((number, name)))
        put(folder / f"GOLD_STANDARD_{end}_regtoMNI.nii.gz", mask(number))
    for number in (1, 3):
        folder = root / "longitudinal_raw" / f"patient{number:02d}"
        for study in (1, 2):
            for k, name in enumerate(("T1W", "T2W", "FLAIR")):
                put(
                    folder / f"study{study}_{name}.nii.gz",
                    picture((number, study, name), (8, 7, 5 + k)),
                )
            (folder / f"study{study}_FLAIR_to_common_space.txt").write_text(
                "#Insight Transform File V1.0\n"
            )
            for name in ("T1W", "T2W"):
                (folder / f"study{study}_{name}_intrastudy_to_FLAIR.txt").write_text(
                    "#Insight Transform File V1.0\n"
                )
        put(folder / "gt.nii.gz", mask(("gt", number)))
    (root / "demographics.csv").write_text(
        "patient_id,sex,days_between_studies\n1,F,203\n3,M,671\n"
    )


def sarcoma(root: Path) -> None:
    for number in (2, 15, 24):
        case = f"STS_{number:03d}"
        for k, name in enumerate(("CT", "MR_T1", "PET")):
            shape = (8 - k, 7, 5)
            data = tomogram(case, shape) if name == "CT" else picture((case, name), shape)
            data = data // 100 if name == "PET" else data
            put(root / "nifti" / case / f"{name}_image.nii.gz", data)
            put(root / "nifti" / case / f"{name}_mask.nii.gz", mask((case, name), shape=shape))
    put_dicom(root / "dicom/STS_002/CT/image", tomogram("STS_002", (5, 7, 8)), "STS_002")
    put_structures(root / "dicom/STS_002/CT/mask", "STS_002")


def acdc(root: Path) -> None:
    for split, number in (("training", 1), ("training", 2), ("testing", 101)):
        case = f"patient{number:03d}"
        folder = root / split / case
        put(folder / f"{case}_4d.nii.gz", picture((case, "4d"), (*SHAPE, 3)))
        for frame in (1, 12):
            put(folder / f"{case}_frame{frame:02d}.nii.gz", picture((case, frame)))
            put(folder / f"{case}_frame{frame:02d}_gt.nii.gz", mask((case, frame), (0, 1, 2, 3)))
        (folder / "Info.cfg").write_text(
            "ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n"
        )


def mnms(root: Path) -> None:
    for split, case in (
        ("Training/Labeled", "A0S9V9"),
        ("Training/Labeled", "B1G5V2"),
        ("Testing", "C0K2R4"),
    ):
        put(root / split / case / f"{case}_sa.nii.gz", picture(case, (*SHAPE, 3)))
        put(root / split / case / f"{case}_sa_gt.nii.gz", mask(case, (0, 1, 2, 3), (*SHAPE, 3)))
    rows = "".join(f"{case},A,Siemens\n" for case in ("A0S9V9", "B1G5V2", "C0K2R4"))
    (root / "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv").write_text(
        "External code,Vendor,VendorName\n" + rows
    )


def mnms_2(root: Path) -> None:
    for case in ("001", "002", "003"):
        for k, axis in enumerate(("SA", "LA")):
            shape = (8, 7, 5 - 4 * k)
            put(root / case / f"{case}_{axis}_CINE.nii.gz", picture((case, axis), (*shape, 3)))
            for phase in ("ED", "ES"):
                put(
                    root / case / f"{case}_{axis}_{phase}.nii.gz",
                    picture((case, axis, phase), shape),
                )
                put(
                    root / case / f"{case}_{axis}_{phase}_gt.nii.gz",
                    mask((case, axis, phase), (0, 1, 2, 3), shape),
                )


def synthrad(root: Path) -> None:
    for task, region, case, source in (
        ("Task1", "brain", "1BA001", "mr"), ("Task1", "pelvis", "1PA004", "mr"), ("Task2", "brain", "2BB007", "cbct"),  # noqa: E501
    ):  # fmt: skip
        folder = root / task / region / case
        put(
            folder / f"{source}.nii.gz",
            tomogram((case, source)) if source == "cbct" else picture(case),
        )
        put(folder / "ct.nii.gz", tomogram(case))
        put(folder / "mask.nii.gz", mask(case))


def synthrad_2025(root: Path) -> None:
    for number, case in enumerate(("1ABA005", "1HNB010", "1THC021")):
        folder = root / "Task1" / case[1:3] / case
        folder.mkdir(parents=True)
        write_mha(folder / "mr.mha", picture(case), packed=bool(number % 2))
        write_mha(folder / "ct.mha", tomogram(case), packed=bool(number % 2))
        write_mha(folder / "mask.mha", mask(case))


def oasis(root: Path) -> None:
    for number in (1, 2, 3):
        visit = f"OAS1_{number:04d}_MR1"
        for relative, seed in (
            (f"RAW/{visit}_mpr-1_anon.img", "raw"),
            (f"PROCESSED/MPRAGE/SUBJ_111/{visit}_mpr_n4_anon_sbj_111.img", "sbj"),
            (f"PROCESSED/MPRAGE/T88_111/{visit}_mpr_n4_anon_111_t88_masked_gfc.img", "t88"),
            (f"FSL_SEG/{visit}_mpr_n4_anon_111_t88_masked_gfc_fseg.img", ""),
        ):
            path = root / "disc1" / visit / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            data = picture((number, seed)) if seed else mask(number, (0, 1, 2, 3))
            nibabel.AnalyzeImage(data, AFFINE).to_filename(path)
    rows = "".join(f"OAS1_{n:04d}_MR1,F,{70 + n},0.5\n" for n in (1, 2, 3))
    (root / "oasis_cross-sectional.csv").write_text("ID,M/F,Age,CDR\n" + rows)


def oasis_3(root: Path) -> None:
    for subject, days in (("OAS30001", (129, 757)), ("OAS30002", (653,))):
        for day in days:
            session = f"{subject}_MR_d{day:04d}"
            for k, name in enumerate(("T1w", "FLAIR")):
                file = f"sub-{subject}_ses-d{day:04d}_{name}.nii.gz"
                put(root / session / f"anat{k + 1}" / file, picture((subject, day, name)))


def bids(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "Made up", "BIDSVersion": "1.10.0"})
    )
    for subject in ("sub-01", "sub-02", "sub-03"):
        for name, times in (("T1w", (0.0035, 0.9)), ("FLAIR", (0.12, 2.5))):
            stem = root / subject / "anat" / f"{subject}_{name}"
            put(stem.with_name(f"{stem.name}.nii.gz"), picture((subject, name)))
            said = {
                "Modality": "MR",
                "EchoTime": times[0],
                "InversionTime": times[1],
                "SeriesDescription": f"ax {name}",
            }
            stem.with_name(f"{stem.name}.json").write_text(json.dumps(said))
        lesion = (
            root
            / "derivatives"
            / "manual"
            / subject
            / "anat"
            / f"{subject}_label-lesion_mask.nii.gz"
        )
        put(lesion, mask(subject))
    (root / "participants.tsv").write_text(
        "participant_id\tage\nsub-01\t30\nsub-02\t41\nsub-03\tn/a\n"
    )


def dicom_collection(root: Path) -> None:
    for number in (1, 2, 3):
        case = f"LIDC-IDRI-{number:04d}"
        put_dicom(
            root / case / f"1.3.6.{number}" / f"1.3.6.{number}.1", tomogram(case, (6, 8, 7)), case
        )
        (root / case / f"1.3.6.{number}" / f"1.3.6.{number}.1" / "158.xml").write_text(
            "<LidcReadMessage/>"
        )


def fastmri(root: Path) -> None:
    for number, split in enumerate(("multicoil_train", "multicoil_train", "multicoil_val")):
        path = root / split / f"file_brain_AXFLAIR_200_600{number:04d}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        with h5py.File(path, "w") as file:
            file["kspace"] = (rng.normal(size=(2, 3, 10, 8)) + 1j).astype(np.complex64)
            file.attrs["acquisition"], file.attrs["patient_id"] = "AXFLAIR", f"hash-{number}"


def ismrmrd(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    header = xml((8, 10, 1), (8, 10, 1), (200, 250, 5), (200, 250, 5))
    for number in (1, 2, 3):
        write_mrd(
            root / f"scan{number}.h5",
            cartesian_rows(kspace((2, 3, 10, 8), number), list(range(10))),
            header,
        )


def medmnist(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        arrays[f"{split}_images"] = picture(split, (count, 28, 28)).astype(np.uint8)
        arrays[f"{split}_labels"] = mask(split, shape=(count, 1))
    np.savez_compressed(root / "breastmnist.npz", **arrays)


def lgg_tcga(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    cases = ("TCGA_CS_4941_19960909", "TCGA_DU_5849_19950405", "TCGA_DU_7013_19860523")
    for number, case in enumerate(cases):
        image = picture(case, (4, 3, 8, 7)).astype(np.uint8)
        if number == 2:
            image[:, 0] = image[:, 2] = image[:, 1]
        np.savez_compressed(
            root / f"{case}.npz", image=image, mask=mask(case, shape=(4, 8, 7)).astype(bool)
        )
    rows = "".join(f"{case},4,{int(k < 2)},1,{int(k < 2)}\n" for k, case in enumerate(cases))
    (root / "index.csv").write_text("case,n_slices,has_t1pre,has_flair,has_t1post\n" + rows)
    ages = "".join(f"{case[:-9]};{50 + k}\n" for k, case in enumerate(cases))
    (root / "data.csv").write_text("Patient;age_at_initial_pathologic\n" + ages)


def koma(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for region, name, values in (
        ("brain2D", "axial", (0, 23, 46)),
        ("pelvis2D", "pelvis3D_slice", (0, 51, 255)),
    ):
        savemat(root / f"{region}.mat", {name: mask(region, values, (9, 8)).astype(np.int32)})


def arrays(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for number in (1, 2, 3):
        np.save(root / f"case{number}_t1.npy", picture(number).astype(np.float32))
    rng = np.random.default_rng(0)
    np.save(root / "kspace.npy", (rng.normal(size=(3, 10, 8)) + 1j).astype(np.complex64))
    np.save(root / "coord.npy", rng.normal(size=(4, 10, 2)))


def volumes(root: Path) -> None:
    for case in ("a", "b", "c"):
        for name in ("t1", "t2", "seg"):
            put(
                root / case / f"{case}_{name}.nii.gz",
                mask(case) if name == "seg" else picture((case, name)),
            )


def table(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "cohort.csv").write_text(
        "patient_id,age,IDH1,report\nA,51.3,1,No change.\nB,,0,Small lesion.\n"
    )


Maker = Callable[[Path], None]
MAKERS: dict[str, tuple[str, Maker, int]] = {
    "brats": ("brats", brats, 3),
    "brats 2023": ("brats", brats_2023, 2),
    "ixi": ("ixi", ixi, 3),
    "openms": ("openms", openms, 4),
    "sarcoma": ("sarcoma", sarcoma, 3),
    "acdc": ("acdc", acdc, 3),
    "mnms": ("mnms", mnms, 3),
    "mnms 2": ("mnms", mnms_2, 3),
    "synthrad 2023": ("synthrad", synthrad, 3),
    "synthrad 2025": ("synthrad", synthrad_2025, 3),
    "oasis 1": ("oasis", oasis, 3),
    "oasis 3": ("oasis", oasis_3, 2),
    "bids": ("bids", bids, 3),
    "dicom": ("dicom-collection", dicom_collection, 3),
    "fastmri": ("fastmri", fastmri, 3),
    "ismrmrd": ("ismrmrd", ismrmrd, 3),
    "medmnist": ("medmnist", medmnist, 9),
    "lgg tcga": ("lgg-tcga", lgg_tcga, 3),
    "koma": ("koma", koma, 2),
    "arrays": ("arrays", arrays, 4),
    "volumes": ("volumes", volumes, 3),
    "table": ("table", table, 2),
}
"""Name -> layout, maker, number of patients."""
