"""A folder of objects is de-identified as a whole, with a report that names nobody."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

import veridical
from dicom_sources import disagreements, errors, source_series
from fakes import Jitter
from veridical.apps.cli import main
from veridical.errors import FormatError, InputError
from veridical.io.redact import Redaction
from veridical.tasks.deface import Deface
from veridical.workflow import dicom_results
from veridical.workflow.redaction import REPORT, redact_folder

pytest.importorskip("dicomanonymizer")


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_redacted_series_are_valid_and_read_as_before(tmp_path: Path, modality: str) -> None:
    source = source_series(tmp_path / "in", modality)
    found = redact_folder(source, tmp_path / "out")
    assert len(found.files) == 4
    assert errors(found.files) == []
    assert disagreements(found.files) == []
    before, after = (veridical.read(place, units=None) for place in (source, found.files[0].parent))
    assert after.geometry.matches(before.geometry, 1e-4)
    if modality != "PT":  # SUV need the weight and the times, which are removed
        np.testing.assert_array_equal(after.data, before.data)
    text = "".join(str(pydicom.dcmread(file)) for file in found.files)
    text += (tmp_path / "out" / REPORT).read_text() + " ".join(map(str, found.files))
    for word in ("Doe", "Jane", "12345", "19700101", "A1\n", "2.25.500"):
        assert word not in text, word


def test_suv_survive_where_weight_and_times_are_kept(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "PT")
    how = Redaction("k", characteristics=True, dates=True)
    found = redact_folder(source, tmp_path / "out", how)
    before, after = veridical.read(source), veridical.read(found.files[0].parent)
    assert after.units == before.units == "SUV"
    np.testing.assert_allclose(after.data, before.data, rtol=1e-6)


def test_the_report_lists_what_was_changed_and_what_was_left_out(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    extra = pydicom.dcmread(source / "000.dcm")
    extra.BurnedInAnnotation = "YES"
    extra.save_as(source / "burned.dcm")
    redact_folder(source, tmp_path / "out")
    said = json.loads((tmp_path / "out" / REPORT).read_text())
    assert said["files"] == 4
    assert said["changed"]["PatientName: empty"] == 4
    assert said["left_out"] == {"its pixels show annotations (BurnedInAnnotation YES)": 1}
    assert any("faces" in note for note in said["notes"])
    with pytest.raises(InputError, match="holds a redaction already"):
        redact_folder(source, tmp_path / "out")


def test_a_derived_synthetic_series_keeps_its_mark(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "MR", SyntheticData="YES")
    result = Jitter().apply(veridical.Study.of(veridical.read(source)), 0, lambda *_: None)
    dicom_results.write(result, source, tmp_path / "made")
    found = redact_folder(tmp_path / "made", tmp_path / "out")
    assert {pydicom.dcmread(file).SyntheticData for file in found.files} == {"YES"}
    assert sum(found.left_out.values()) == 1, "the report holds free text"


def test_the_same_key_gives_the_same_files_and_the_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = source_series(tmp_path / "in", "CT")
    (tmp_path / "key").write_text("long secret\n")
    words = ["redact", str(source), "", "--key", str(tmp_path / "key"), "--quiet"]
    for name in ("a", "b"):
        words[2] = str(tmp_path / name)
        assert main(words) == 0
    assert "4 files" in capsys.readouterr().out
    files = [sorted((tmp_path / name).rglob("*.dcm")) for name in ("a", "b")]
    assert len(files[0]) == 4
    for one, other in zip(*files, strict=True):
        assert one.relative_to(tmp_path / "a") == other.relative_to(tmp_path / "b")
        assert one.read_bytes() == other.read_bytes()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT")
    (source / "000.dcm").write_bytes((source / "000.dcm").read_bytes()[:300])
    with pytest.raises(FormatError):
        redact_folder(source, tmp_path / "out")


def test_a_face_is_removed_and_nothing_else_is_changed(tmp_path: Path) -> None:
    """An egg with a neck and a nose; its axes are those of the patient."""
    x, y, z = np.meshgrid(
        np.arange(60) * 3 - 88, np.arange(76) * 3 - 110, np.arange(64) * 3 - 110, indexing="ij"
    )
    solid = (x / 75) ** 2 + (y / 92.5) ** 2 + (z / 75) ** 2 < 1
    solid |= (np.abs(x) < 55) & (y > -75) & (y < 40) & (z < -10) & (z > -100)
    solid |= (np.abs(x) < 9) & (y < -60) & (y > -97) & (np.abs(z + 40) < 14)
    source = source_series(tmp_path / "in", "MR", size=(60, 76, 64))
    for k, file in enumerate(sorted(source.iterdir())):
        one = pydicom.dcmread(file)
        one.PixelSpacing, one.SliceThickness = [3, 3], 3
        one.ImagePositionPatient = [-88, -110, -110 + 3 * k]
        texture = np.random.default_rng(k).integers(80, 120, solid.shape[:2])
        one.PixelData = (solid[:, :, k] * texture).T.astype("<i2").tobytes()
        one.save_as(file)
    before = veridical.read(source)
    found = redact_folder(source, tmp_path / "out", deface=True)
    after = veridical.read(found.files[0].parent)
    expected = Deface().apply(veridical.Study.of(before), 0, lambda *_: None).image
    np.testing.assert_array_equal(after.data, expected.data)
    assert (after.data != before.data).any()
    one = pydicom.dcmread(found.files[0])
    assert one.RecognizableVisualFeatures == "NO"
    assert one.DeidentificationMethodCodeSequence[-1].CodeValue == "113102"
    assert found.notes == []


def test_a_series_that_makes_no_volume_is_left_out_where_faces_are_to_go(tmp_path: Path) -> None:
    source = source_series(tmp_path / "in", "CT", size=(12, 10, 6))
    (source / "002.dcm").unlink()
    found = redact_folder(source, tmp_path / "out", deface=True)
    assert found.files == []
    assert sum(found.left_out.values()) == 5
