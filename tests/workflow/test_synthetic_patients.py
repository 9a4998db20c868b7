"""Synthetic patients on disk: BIDS, marked synthetic, resumed, the same bytes again."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

import veridical
from veridical.errors import InputError, ProvenanceError, SettingError
from veridical.layouts import discovery
from veridical.tasks.synthesize import Synthesize
from veridical.types import Image, Result
from veridical.workflow.rerun import rerun
from veridical.workflow.synthetic_patients import Made, synthetic_patients

TASK = Synthesize(spacing=8.0, contrasts="T1w,T1c,CT,PET", pathology="ms")
VOLUMES = (
    "anat/sub-0001_T1w",
    "anat/sub-0001_ce-gadolinium_T1w",
    "anat/sub-0001_dseg",
    "ct/sub-0001_CT",
    "pet/sub-0001_trc-FDG_pet",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Made]]:
    root = tmp_path_factory.mktemp("made") / "set"
    return root, synthetic_patients(TASK, root, 2)


def bytes_of(root: Path) -> dict[str, bytes]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_every_volume_lies_in_bids_with_a_sidecar_that_says_synthetic(
    made: tuple[Path, list[Made]],
) -> None:
    root, found = made
    assert [one.status for one in found] == ["made", "made"]
    for stem in VOLUMES:
        image = nibabel.load(root / "sub-0001" / f"{stem}.nii.gz")
        assert image.shape == (24, 32, 24)
        assert bytes(image.header["descrip"]).startswith(b"synthetic")
        side = json.loads((root / "sub-0001" / f"{stem}.json").read_text())
        assert side["Synthetic"] is True
    described = json.loads((root / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "Veridical"
    assert not list(root.rglob("*.part"))


def test_tables_name_labels_and_patients(made: tuple[Path, list[Made]]) -> None:
    root, found = made
    lines = (root / "dseg.tsv").read_text().splitlines()
    names = dict(line.split("\t") for line in lines[1:])
    assert names["3"] == "lateral ventricle"
    head, *rows = [
        line.split("\t") for line in (root / "participants.tsv").read_text().splitlines()
    ]
    first = dict(zip(head, rows[0], strict=True))
    assert first["participant_id"] == "sub-0001"
    assert first["pathology"] == "ms"
    assert first["synthetic"] == "true"
    assert float(first["nearest_distance"]) == found[0].about["nearest_distance"] > 0
    said = json.loads((root / "participants.json").read_text())
    assert set(said) == set(head) - {"participant_id"}


def test_the_folder_is_read_as_a_data_set_of_patients(made: tuple[Path, list[Made]]) -> None:
    studies = list(discovery.one(made[0]).studies())
    assert len(studies) == 2
    assert {"T1w", "T1c", "CT", "PET"} <= set(studies[0].visit())


def test_a_reader_notes_that_an_image_is_synthetic(made: tuple[Path, list[Made]]) -> None:
    image = veridical.read(made[0] / "sub-0001" / "ct" / "sub-0001_CT.nii.gz")
    assert isinstance(image, Image)
    assert image.units == "HU"
    assert any("is synthetic" in note for note in image.header["notes"])


def test_the_record_makes_the_same_bytes_again(made: tuple[Path, list[Made]]) -> None:
    again = rerun(made[0] / "sub-0002" / "provenance.json")
    assert set(again.steps[-1].outputs) == {"estimate", "labels/estimate"}


def test_the_same_seed_gives_the_same_files(made: tuple[Path, list[Made]], tmp_path: Path) -> None:
    synthetic_patients(TASK, tmp_path / "again", 2)
    assert bytes_of(tmp_path / "again") == bytes_of(made[0])


def test_a_finished_patient_is_kept_and_a_half_written_one_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, task = tmp_path / "set", Synthesize(spacing=8.0, contrasts="T1w")
    synthetic_patients(task, root, 2)
    before = bytes_of(root)
    (root / "sub-0002" / "anat" / "sub-0002_T1w.nii.gz").write_bytes(b"half")
    (root / ".sub-0003.abc.part").mkdir()
    runs: list[int] = []
    whole = Synthesize.apply

    def counted(self: Synthesize, *arguments: object) -> Result:
        runs.append(self.number)
        return whole(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Synthesize, "apply", counted)
    found = synthetic_patients(task, root, 3)
    assert [one.status for one in found] == ["kept", "made", "made"]
    assert runs == [2, 3]
    after = bytes_of(root)
    assert {name: after[name] for name in before if name != "participants.tsv"} == {
        name: content for name, content in before.items() if name != "participants.tsv"
    }
    assert len((root / "participants.tsv").read_text().splitlines()) == 4
    assert not list(root.glob(".sub-*"))


def test_other_settings_are_not_mixed_into_a_folder_unless_they_replace(tmp_path: Path) -> None:
    task = Synthesize(spacing=8.0, contrasts="T1w")
    synthetic_patients(task, tmp_path / "set")
    with pytest.raises(InputError, match="its seed differ"):
        synthetic_patients(task, tmp_path / "set", seed=1)
    (one,) = synthetic_patients(task, tmp_path / "set", seed=1, overwrite=True)
    assert one.status == "made"


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        synthetic_patients(TASK, tmp_path)


def test_what_cannot_be_made_is_refused_before_anything_of_it_is_written(tmp_path: Path) -> None:
    task = Synthesize(spacing=8.0, contrasts="T1w", pathology="tumour", lesion_load=5000.0)
    with pytest.raises(SettingError, match="Ask for less"):
        synthetic_patients(task, tmp_path / "set")
    assert not list((tmp_path / "set").glob("*sub-*"))


def test_a_damaged_record_is_named(made: tuple[Path, list[Made]], tmp_path: Path) -> None:
    record = json.loads((made[0] / "sub-0001" / "provenance.json").read_text())
    record["steps"][0]["outputs"]["labels/estimate"] = "0" * 64
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    with pytest.raises(ProvenanceError, match="labels/estimate"):
        rerun(tmp_path / "provenance.json")


def test_labels_on_disk_are_those_of_the_task(made: tuple[Path, list[Made]]) -> None:
    stored = nibabel.load(made[0] / "sub-0001" / "anat" / "sub-0001_dseg.nii.gz")
    labels = TASK(seed=0).also["labels"].image.data[0]
    np.testing.assert_array_equal(np.asarray(stored.dataobj), labels)
    assert stored.get_data_dtype() == np.uint8
