"""De-identified objects name nobody at any depth, belong together as before, and say what was
done.
"""

from __future__ import annotations

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from veridical.errors import FormatError
from veridical.io.redact import Redaction, actions, deidentify, refusal

pytest.importorskip("dicomanonymizer")
CT = "1.2.840.10008.5.1.4.1.1.2"
HOW = Redaction("secret")


def named(**changed: object) -> Dataset:
    """An object that names Jane Doe wherever it can."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.SourceApplicationEntityTitle = "DOE"
    one.preamble = b"II*\0 DOE" + b"\0" * 120
    one.SOPClassUID, one.SOPInstanceUID, one.Modality = CT, "1.2.3.4", "CT"
    one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    one.PatientName, one.PatientID, one.PatientBirthDate = "Doe^Jane", "DOE-12345", "19700101"
    one.PatientSex, one.PatientWeight, one.PatientAge = "F", 70, "050Y"
    one.StudyDate, one.StudyTime, one.SeriesDate = "20200110", "110000", "20200111"
    one.AcquisitionDateTime = "20200110110000"
    one.InstitutionName, one.OperatorsName = "DOE Hospital", "DOE^John"
    one.ImageComments = one.StudyDescription = "Mrs DOE"
    one.KVP, one.SliceThickness = 120, 3
    one.SyntheticData = "YES"
    one.add_new(0x60003000, "OW", b"DOE!")
    one.add_new(0x60024000, "LT", "DOE")
    one.private_block(0x0019, "DOE PRIVATE", create=True).add_new(0x10, "LO", "DOE")
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = CT, "1.2.3.5"
    deeper = Dataset()
    deeper.PatientName = "DOE^Deep"
    deeper.ReferencedSOPInstanceUID = "1.2.3.4"
    source.ReferencedImageSequence = [deeper]
    one.SourceImageSequence = [source]
    kept = Dataset()
    kept.CodeValue, kept.CodingSchemeDesignator, kept.CodeMeaning = "T-D1100", "SRT", "Head"
    one.AnatomicRegionSequence = [kept]
    for key, value in changed.items():
        setattr(one, key, value)
    return one


def test_no_name_is_left_at_any_depth_nor_in_meta_and_preamble() -> None:
    one = named()
    deidentify(one, HOW)
    everything = str(one) + str(one.file_meta) + str(one.preamble)
    for word in ("DOE", "Doe", "12345", "1970", "20200110", "Hospital"):
        assert word not in everything, word


def test_what_the_image_needs_stays() -> None:
    one = named()
    deidentify(one, HOW)
    assert (one.KVP, one.SliceThickness, one.Modality, one.SOPClassUID) == (120, 3, "CT", CT)
    assert one.AnatomicRegionSequence[0].CodeMeaning == "Head"


def test_the_synthetic_mark_stays() -> None:
    one = named()
    deidentify(one, HOW)
    assert one.SyntheticData == "YES"


def test_the_object_says_what_was_done_by_code() -> None:
    one = named()
    deidentify(one, Redaction("secret", characteristics=True, dates=True))
    assert one.PatientIdentityRemoved == "YES"
    assert "PS3.15" in one.DeidentificationMethod
    codes = [item.CodeValue for item in one.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113108", "113107"]
    assert one.LongitudinalTemporalInformationModified == "MODIFIED"


def test_uids_are_replaced_consistently_and_only_the_key_tells_how() -> None:
    first, second = named(), named(SOPInstanceUID="1.2.3.5")
    deidentify(first, HOW)
    deidentify(second, HOW)
    assert first.SourceImageSequence[0].ReferencedSOPInstanceUID == second.SOPInstanceUID
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    assert first.SOPInstanceUID != "1.2.3.4"
    other = named()
    deidentify(other, Redaction("another"))
    assert other.SOPInstanceUID != first.SOPInstanceUID
    assert other.PatientID != first.PatientID


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_new_uids_are_valid() -> None:
    from pydicom.uid import UID

    for old in ("1.2.3", "9" * 10, "1.2.840.113619.2.1"):
        new = UID(HOW.uid(old))
        assert new.is_valid
        assert len(new) <= 64
    assert HOW.uid(CT) == CT


def test_dates_move_together_and_stay_days_apart() -> None:
    one = named()
    deidentify(one, Redaction("secret", dates=True))
    assert one.StudyDate != "20200110"
    assert int(one.SeriesDate) - int(one.StudyDate) in (1, 70, 71, 72, 73, 8870, 8871)
    assert one.AcquisitionDateTime == one.StudyDate + "110000"
    assert one.StudyTime == "110000"
    assert one.PatientBirthDate != "19700101"


def test_characteristics_stay_where_asked_for() -> None:
    kept, removed = named(), named()
    deidentify(kept, Redaction("secret", characteristics=True))
    deidentify(removed, HOW)
    assert (kept.PatientSex, kept.PatientWeight) == ("F", 70)
    assert "PatientWeight" not in removed
    assert not removed.PatientSex


def test_patients_stay_apart_and_one_patient_stays_one() -> None:
    jane, again, john = named(), named(), named(PatientID="OTHER")
    for one in (jane, again, john):
        deidentify(one, HOW)
    assert jane.PatientID == again.PatientID
    assert jane.PatientID != john.PatientID


def test_what_was_done_is_counted_without_values() -> None:
    done = deidentify(named(), HOW)
    assert done[("PatientName", "empty")] == 2
    assert done[("private", "remove")] == 2
    assert "DOE" not in str(done)


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({"SOPClassUID": pydicom.uid.ComprehensiveSRStorage}, "free text"),
        ({"SOPClassUID": pydicom.uid.EncapsulatedPDFStorage}, "free text"),
        ({"SOPClassUID": pydicom.uid.SecondaryCaptureImageStorage}, "names in its pixels"),
        ({"BurnedInAnnotation": "YES"}, "annotations"),
    ],
)
def test_what_may_show_a_name_in_text_or_pixels_is_refused(tags: dict[str, str], why: str) -> None:
    one = named(**tags)
    assert why in refusal(one)
    with pytest.raises(FormatError, match=why):
        deidentify(one, HOW)


def test_the_table_is_that_of_the_standard() -> None:
    """Known rows of table E.1-1."""
    table = actions()
    assert len(table) > 600
    assert table[(0x0010, 0x0010)] == "Z_TAGS"
    assert table[(0x0008, 0x0080)] == "X_Z_D_TAGS"
    assert table[(0x0020, 0x000D)] == "U_TAGS"


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(HOW)


def test_an_agent_that_is_removed_does_not_read_as_one() -> None:
    one = named(ContrastBolusAgent="DOE's GADOVIST")
    deidentify(one, HOW)
    assert one.ContrastBolusAgent == ""


def test_attributes_of_unknown_kind_are_removed() -> None:
    one = named()
    one.add_new(0x00091FFE, "UN", b"DOE")
    one.add_new(0x00189FFE, "UN", b"DOE")
    deidentify(one, HOW)
    assert 0x00091FFE not in one
    assert 0x00189FFE not in one
