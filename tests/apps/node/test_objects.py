"""What arrives may be built to do harm: claimed sizes are held against limits before decoding."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.encaps import encapsulate

from veridical.apps.node.job_store import Received
from veridical.apps.node.network import DEFLATED
from veridical.apps.node.objects import examined, facts_of_series, inflated, lay_out
from veridical.apps.node.phantom_series import phantom_series
from veridical.errors import BudgetError, FormatError

J2K = "1.2.840.10008.1.2.4.90"


@pytest.fixture
def one(tmp_path: Path) -> Any:
    return pydicom.dcmread(phantom_series(tmp_path / "in", shape=(16, 16, 1))[0])


def stored(one: Any, path: Path) -> tuple[Path, Received]:
    """Write an object, and return its file and its row."""
    one.save_as(path)
    syntax = str(one.file_meta.TransferSyntaxUID)
    return path, Received(str(one.SOPInstanceUID), str(one.SOPClassUID), syntax, "", "", 0, "CT1")


def deflate(one: Any, path: Path, data: bytes | None = None) -> tuple[Path, Received]:
    one.file_meta.TransferSyntaxUID = DEFLATED
    path, row = stored(one, path)
    if data is not None:
        machine = zlib.compressobj(9, zlib.DEFLATED, -15)
        start = 144 + int(
            pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength
        )
        path.write_bytes(path.read_bytes()[:start] + machine.compress(data) + machine.flush())
    return path, row


def test_a_header_says_where_it_belongs_and_what_routes_ask(one: Any, tmp_path: Path) -> None:
    one.SeriesDescription = "t1 axial"
    path, row = stored(one, tmp_path / "a.dcm")
    study, series, facts = examined(path, row, 1)
    assert (study, series) == (one.StudyInstanceUID, one.SeriesInstanceUID)
    assert facts["modality"] == "MR"
    assert facts["description"] == "t1 axial"
    assert facts["thickness"] == 4.0
    assert facts["image_type"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert facts["caller"] == "CT1"
    assert not facts["ours"]


def test_a_series_says_what_its_first_image_says_and_how_many_it_has() -> None:
    each = [{"number": float(n), "description": f"{n}", "ours": n == 3} for n in (2, 1, 3)]
    assert facts_of_series(each)["description"] == "1"
    assert facts_of_series(each)["images"] == 3.0
    assert facts_of_series(each)["ours"], "one of ours is enough"


def test_results_of_ours_are_known_by_their_equipment(one: Any, tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.Manufacturer = "Veridical"
    one.ContributingEquipmentSequence = [item]
    assert examined(*stored(one, tmp_path / "a.dcm"), 1)[2]["ours"]


@pytest.mark.parametrize("name", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_uids_of_the_data_set_are_validated_too(one: Any, tmp_path: Path, name: str) -> None:
    with pydicom.config.disable_value_validation():
        setattr(one, name, "../../x")
        path, row = stored(one, tmp_path / "a.dcm")
        with pytest.raises(FormatError, match=f"{name} is no UID"):
            examined(path, row, 1)


def test_a_data_set_of_another_object_than_its_command_is_refused(one: Any, tmp_path: Path) -> None:
    path, row = stored(one, tmp_path / "a.dcm")
    with pytest.raises(FormatError, match="names another object"):
        examined(path, Received("1.2.3", *list(vars(row).values())[1:]), 1)


def test_a_header_that_claims_more_pixels_than_the_budget_is_refused(
    one: Any, tmp_path: Path
) -> None:
    one.Rows = one.Columns = 60000
    with pytest.raises(BudgetError, match=r"6\.71 GiB"):
        examined(*stored(one, tmp_path / "a.dcm"), 1)
    one.Rows = one.Columns = 512
    one.NumberOfFrames = 10**7
    with pytest.raises(BudgetError):
        examined(*stored(one, tmp_path / "a.dcm"), 1)


def test_a_codestream_that_claims_another_size_than_the_header_is_refused(
    one: Any, tmp_path: Path
) -> None:
    bomb = b"\xff\x4f\xff\x51" + (47).to_bytes(2, "big") + b"\0\0"
    bomb += b"".join(n.to_bytes(4, "big") for n in (2**31 - 1, 2**31 - 1, 0, 0, 16, 16, 0, 0))
    bomb += (1).to_bytes(2, "big") + b"\x0b\x01\x01" + b"\xff\xd9"
    one.file_meta.TransferSyntaxUID = J2K
    one.PixelData = encapsulate([bomb])
    one["PixelData"].is_undefined_length = True
    path, row = stored(one, tmp_path / "a.dcm")
    with pytest.raises(FormatError, match="2147483647 x 2147483647"):
        examined(path, row, 1)


def test_a_deflated_bomb_is_stopped_at_the_limit(one: Any, tmp_path: Path) -> None:
    path, row = deflate(one, tmp_path / "bomb.dcm", b"\0" * 200_000_000)
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    with pytest.raises(BudgetError, match="raise largest"):
        examined(path, row, 0.01)
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()


def test_a_deflated_object_is_laid_out_inflated_and_equal(one: Any, tmp_path: Path) -> None:
    pixels = one.PixelData
    path, row = deflate(one, tmp_path / "a.dcm")
    assert examined(path, row, 1)[0] == one.StudyInstanceUID
    lay_out(path, tmp_path / "plain.dcm", 1)
    plain = pydicom.dcmread(tmp_path / "plain.dcm")
    assert plain.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert plain.PixelData == pixels


def test_a_damaged_deflated_object_is_refused(one: Any, tmp_path: Path) -> None:
    path, _ = deflate(one, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-40] + b"\xff" * 40)
    with pytest.raises((FormatError, BudgetError)):
        inflated(path, 100)


def test_what_is_plain_is_linked_and_takes_no_room(one: Any, tmp_path: Path) -> None:
    path, _ = stored(one, tmp_path / "a.dcm")
    lay_out(path, tmp_path / "b.dcm", 1)
    assert (tmp_path / "b.dcm").samefile(path)
