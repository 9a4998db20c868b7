"""What DICOM files say of their study, read without pixels and never believed blindly."""

from __future__ import annotations

import sys
from pathlib import Path

import pydicom
import pytest

from veridical.errors import FormatError, InputError
from veridical.workflow.dicom_index import index

sys.path.insert(0, str(Path(__file__).parents[1] / "io"))
import rawfiles

PLACES = [(0.0, 0.0, 3.0 * k) for k in range(3)]


def series(folder: Path, **said: str) -> Path:
    rawfiles.write_series(folder, PLACES, **{"StudyInstanceUID": "1.2.3", **said})
    return folder


def test_instances_are_sorted_by_their_number(tmp_path: Path) -> None:
    found = index(series(tmp_path / "a"))
    assert [one.number for one in found.instances] == [0, 1, 2]
    assert found.uid == "1.2.3"
    assert len(found.series()) == 1


def test_a_file_named_twice_is_one_instance(tmp_path: Path) -> None:
    folder = series(tmp_path / "a")
    assert len(index(folder, sorted(folder.iterdir())).instances) == 3


@pytest.mark.parametrize(
    ("said", "started"),
    [
        ({"StudyDate": "20200102"}, "2020-01-02"),
        ({"StudyDate": "20200102", "StudyTime": "1011"}, "2020-01-02"),
        (
            {"StudyDate": "20200102", "StudyTime": "101112", "TimezoneOffsetFromUTC": "-0530"},
            "2020-01-02T10:11:12-05:30",
        ),
        ({"StudyDate": "2020"}, ""),
        ({}, ""),
    ],
)
def test_a_time_is_told_only_where_its_zone_is_known(
    said: dict[str, str], started: str, tmp_path: Path
) -> None:
    with pydicom.config.disable_value_validation():
        folder = series(tmp_path / "a", **said)
    assert index(folder).started == started


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2/../3", "1..2", "01.2", "1." + "2" * 64])
@pytest.mark.parametrize("tag", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_uid_that_is_none_names_nothing(uid: str, tag: str, tmp_path: Path) -> None:
    folder = series(tmp_path / "a")
    for path in folder.iterdir():
        with pydicom.config.disable_value_validation():
            one = pydicom.dcmread(path)
            setattr(one, tag, uid)
            one.save_as(path)
    with pytest.raises(FormatError, match="UID that is none"):
        index(folder)


def test_files_of_two_studies_are_refused(tmp_path: Path) -> None:
    first, second = series(tmp_path / "a"), series(tmp_path / "b", StudyInstanceUID="1.2.4")
    with pytest.raises(InputError, match="2 studies"):
        index(first, second)


def test_a_place_without_dicom_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no DICOM file"):
        index(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        index(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("no")
    with pytest.raises(InputError, match="no DICOM file"):
        index(tmp_path / "a.txt")


def test_a_truncated_header_is_refused(tmp_path: Path) -> None:
    folder = series(tmp_path / "a")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:180])
    with pytest.raises(FormatError, match="again"):
        index(folder)
