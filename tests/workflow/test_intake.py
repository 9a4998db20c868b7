"""What files are that somebody hands in, and what a task is given of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import veridical
from fakes import Change, Compose, Jitter
from veridical.errors import InputError
from veridical.io.files import write
from veridical.tasks.reconstruct import Reconstruct
from veridical.types import Geometry, Image
from veridical.workflow.intake import results_in, take_in


def image(name: str, value: float = 1.0) -> Image:
    data = np.random.default_rng(0).uniform(value, value + 1, (1, 6, 5, 4)).astype(np.float32)
    return Image(data, Geometry((6, 5, 4), np.diag([2.0, 2.0, 2.0, 1.0])), "a.u.", (name,))


def test_one_file_is_one_patient_with_one_image(tmp_path: Path) -> None:
    path = write(image("T1w"), tmp_path / "sub-1_T1w.nii.gz")
    (found,) = take_in([path])
    (part,) = found.parts
    assert (part.name, part.kind, part.day) == ("T1w", "image", 0.0)
    assert part.about == "a.u.; 6 x 5 x 4 voxels of 2 x 2 x 2 mm"
    np.testing.assert_array_equal(
        found.subject(Jitter()).image()["T1w"], veridical.read(path)["T1w"]
    )


def test_several_files_are_the_images_of_one_patient(tmp_path: Path) -> None:
    paths = [write(image(name), tmp_path / f"a_{name}.nii.gz") for name in ("T1w", "T2w")]
    (found,) = take_in(paths)
    assert [part.name for part in found.parts] == ["T1w", "T2w"]
    assert set(found.subject(Compose()).visit()) == {"T1w", "T2w"}
    assert set(found.subject(Jitter()).visit()) == {"T1w"}
    assert set(found.subject(Jitter(), [(0.0, "T2w")]).visit()) == {"T2w"}


def test_a_folder_of_patients_is_a_data_set_whose_images_are_read_when_asked_for(
    tmp_path: Path,
) -> None:
    for subject in ("sub-01", "sub-02"):
        for visit in ("ses-1", "ses-2"):
            where = tmp_path / subject / visit / "anat"
            where.mkdir(parents=True)
            write(image("T1w"), where / f"{subject}_{visit}_T1w.nii.gz")
    found = take_in([tmp_path])
    assert [one.name for one in found] == ["sub-01", "sub-02"]
    assert [part.about for part in found[0].parts] == ["", ""]
    assert len(found[1].subject(Change()).visits) == 2
    assert found[1].subject(Jitter()).image().channels == ("T1w",)
    assert isinstance(found[0].part(found[0].parts[0].day, "T1w"), Image)
    with pytest.raises(InputError, match="no 'FLAIR'"):
        found[0].part(found[0].parts[0].day, "FLAIR")


def test_raw_data_say_what_measured_them_and_only_a_task_for_raw_data_takes_them(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "scan.npy", np.ones((4, 24, 20), np.complex64))
    (found,) = take_in(
        [tmp_path / "scan.npy"], {"axes": "coil,y,x", "contrast": "T1w", "units": ""}
    )
    assert found.parts[0].kind == "raw"
    assert "cartesian-mri, 1 x 4 x 24 x 20" in found.parts[0].about
    assert found.subject(Reconstruct()).measurement().data.shape == (1, 4, 24, 20)
    with pytest.raises(InputError, match="jitter takes images; this holds T1w"):
        found.subject(Jitter())


def test_options_are_for_files_and_refused_for_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "sub-1").mkdir()
    with pytest.raises(InputError, match="Options are for one file"):
        take_in([tmp_path], {"contrast": "T1w"})


def test_stored_results_are_found_in_a_folder_and_right_below_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Jitter(draws=1)(image("T1w")).save(tmp_path / name, name)
    assert results_in(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert results_in(tmp_path / "a") == [tmp_path / "a"]
