"""Identifiers are found by tag, key, column or kind, and no finding repeats their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from veridical.audit.audited_study import known
from veridical.audit.identifiers import identifiers, kinds
from veridical.testing import check_audit
from veridical.testing.subjects import image
from veridical.types import Finding, Result, Study

SECRET = "Okonkwo^Adaeze"


def judged(*files: Path) -> Finding:
    study = known(Study("", {0.0: {}}), files=files)
    found = check_audit(identifiers, study, Result(image(), "image", absent=ABSENT))
    assert found is not None
    assert "Okonkwo" not in json.dumps([found.reason, dict(found.evidence)])
    return found


ABSENT = dict.fromkeys(("draws", "interval", "evidence"), "another generator made it")


def dicom(path: Path, **tags: Any) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    one = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in tags.items():
        setattr(one, name, value)
    one.save_as(path, enforce_file_format=True)
    return path


def nifti(path: Path, descrip: str = "") -> Path:
    header = nibabel.Nifti1Header()
    header["descrip"] = descrip.encode()
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4), header), path)
    return path


def test_a_patients_name_in_dicom_fails_and_a_pseudonym_of_a_cleaned_file_passes(
    tmp_path: Path,
) -> None:
    found = judged(dicom(tmp_path / "a.dcm", PatientName=SECRET, StudyDate="20200131"))
    assert found.verdict == "fail"
    assert found.evidence["direct"] == {"PatientName": 1}
    assert found.evidence["indirect"] == {"StudyDate": 1}
    clean = dicom(
        tmp_path / "b.dcm",
        PatientName="sub-01",
        PatientIdentityRemoved="YES",
        StudyInstanceUID=generate_uid(),
        StudyDate="",
    )
    assert judged(clean).verdict == "pass"


def test_private_tags_and_tags_in_sequences_are_seen(tmp_path: Path) -> None:
    inner = pydicom.Dataset()
    inner.RequestingPhysician = SECRET
    path = dicom(tmp_path / "a.dcm", RequestAttributesSequence=[inner])
    one = pydicom.dcmread(path)
    one.private_block(0x11, "Veridical test", create=True).add_new(1, "LO", SECRET)
    one.save_as(path)
    found = judged(path)
    assert set(found.evidence["indirect"]) == {"RequestingPhysician", "private tags"}


def test_nifti_headers_and_file_names_are_read(tmp_path: Path) -> None:
    assert judged(nifti(tmp_path / "sub-01_T1w.nii.gz", "FSL5.0")).verdict == "pass"
    found = judged(nifti(tmp_path / "scan_20200131.nii.gz", SECRET))
    assert set(found.evidence["direct"]) == {"NIfTI descrip: a name in DICOM form"}
    assert set(found.evidence["indirect"]) == {"file name: a date"}


def test_keys_of_sidecars_and_columns_of_tables_are_read(tmp_path: Path) -> None:
    side, table = tmp_path / "sub-01_T1w.json", tmp_path / "participants.tsv"
    side.write_text(
        json.dumps({"EchoTime": 0.004, "Deep": {"PatientBirthDate": "19620714"}, "Note": "x"})
    )
    table.write_text(f"participant_id\tsurname\tage\nsub-01\t{SECRET}\t93\n")
    found = judged(side, table)
    assert set(found.evidence["direct"]) == {"PatientBirthDate", "surname"}
    assert set(found.evidence["indirect"]) == {"age above 89"}
    side.write_text(json.dumps({"EchoTime": 0.004, "PatientName": "anonymous"}))
    assert judged(side).verdict == "pass"


def test_a_file_that_cannot_be_read_does_not_pass(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert judged(broken).verdict == "warn"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("scanned 2020-01-31", "a date"),
        ("20200131", "a date"),
        (SECRET, "a name in DICOM form"),
        ("a.okonkwo@ward.example", "an e-mail address"),
        ("call +44 20 7946 0000", "a telephone number"),
        ("St. Mary's Hospital", "a hospital"),
        ("TE=3.4;Time=103024.350", "a time of acquisition"),
    ],
)
def test_kinds_of_text_are_told(text: str, kind: str) -> None:
    assert kinds(text) == [kind]


@pytest.mark.parametrize("text", ["FSL5.0", "TE=3.4", "1.2.840.20200131.5", "0.20210305", "MPRAGE"])
def test_versions_and_numbers_are_no_identifiers(text: str) -> None:
    assert kinds(text) == []


def test_what_is_in_memory_has_no_files() -> None:
    assert check_audit(identifiers) is None
