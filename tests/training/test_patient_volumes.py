"""Volumes from folders: contrasts on one grid, what the net has no channel for left out, patients apart."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import folders
from veridical.errors import BudgetError, GeometryError, InputError
from veridical.training import patient_volumes as module
from veridical.training.patient_volumes import held_out_of, patient_volumes
from veridical.types import Array

NET = ("T1w", "T2w", "FLAIR")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.bids(tmp_path_factory.mktemp("bids"))


def near(one: Array, other: Array, tolerance: float) -> bool:
    return float(np.abs(one.astype(float) - other.astype(float)).mean()) < tolerance


def test_every_patient_is_a_volume_with_the_contrasts_that_the_net_has(tree: Path) -> None:
    found = patient_volumes(tree, NET, (), False)
    assert [volume.patient for volume in found] == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert {volume.names for volume in found} == {("T1w", "FLAIR")}
    assert {volume.images.shape for volume in found} == {(2, 12, 48, 40)}
    assert {(volume.pixel, volume.gap) for volume in found} == {(2.0, 4.0)}
    assert [v.names for v in patient_volumes(tree, ("FLAIR",), (), False)] == 4 * [("FLAIR",)]


def test_slices_are_upright_with_the_front_on_top(tree: Path) -> None:
    image = patient_volumes(tree, NET, (), False)[0].images[0].astype(float)
    assert image[6, :20].mean() > image[6, 28:].mean(), "the head is brighter in front"
    assert image[8].mean() > image[3].mean(), "and at the top"


def test_contrasts_are_put_onto_the_grid_of_the_thickest_slices(tmp_path: Path) -> None:
    folders.write(tmp_path / "p1" / "p1_T1w.nii.gz", folders.head(1, (80, 96, 96)), (1.0, 1.0, 0.5))
    folders.write(tmp_path / "p1" / "p1_FLAIR.nii.gz", folders.head(1), (2.0, 2.0, 4.0))
    (volume,) = patient_volumes(tmp_path, NET, (), False)
    assert volume.images.shape == (2, 12, 48, 40)
    assert near(volume.images[0], volume.images[1], 0.03), "the same head, averaged over the thicker slices"


def test_without_thick_slices_the_finest_grid_is_taken(tmp_path: Path) -> None:
    folders.write(tmp_path / "p1" / "p1_T1w.nii.gz", folders.head(1, (40, 48, 40)), (2.0, 2.0, 2.0))
    folders.write(tmp_path / "p1" / "p1_FLAIR.nii.gz", folders.head(1, (20, 24, 20)), (4.0, 4.0, 4.0))
    (volume,) = patient_volumes(tmp_path, NET, (), False)
    assert volume.images.shape == (2, 40, 48, 40)


def test_thick_sagittal_slices_stay_slices_and_stand_upright(tmp_path: Path) -> None:
    folders.write(tmp_path / "p1" / "p1_T2w.nii.gz", folders.head(1, (12, 48, 40)), (5.0, 1.0, 1.0))
    (volume,) = patient_volumes(tmp_path, NET, (), False)
    assert volume.images.shape == (1, 12, 40, 48)
    middle = volume.images[0, 6].astype(float)
    assert middle[:12].mean() > middle[28:].mean(), "the top is above"
    assert middle[:, :16].mean() > middle[:, 32:].mean(), "the front is on the left"


def test_images_that_do_not_overlap_are_refused(tmp_path: Path) -> None:
    folders.write(tmp_path / "p1" / "p1_T1w.nii.gz", folders.head(1), (2.0, 2.0, 4.0))
    far = nib.load(tmp_path / "p1" / "p1_T1w.nii.gz").affine.copy()
    far[0, 3] += 500
    nib.save(nib.Nifti1Image(folders.head(2), far), tmp_path / "p1" / "p1_FLAIR.nii.gz")
    with pytest.raises(GeometryError, match=r"FLAIR.*Register"):
        patient_volumes(tmp_path, NET, (), False)


def test_a_folder_in_which_nothing_fits_is_refused_with_what_it_holds(tree: Path) -> None:
    with pytest.raises(InputError, match=r"FLAIR, T1w; this net has channels for CT, PET: nothing fits"):
        patient_volumes(tree, ("CT", "PET"), (), False)


def test_held_out_patients_are_in_the_validation_alone(tree: Path) -> None:
    held = held_out_of(tree, (), 1)
    assert len(held) == 1
    both = [[volume.patient for volume in patient_volumes(tree, NET, held, validation)] for validation in (False, True)]
    assert both[1] == list(held)
    assert sorted(both[0] + both[1]) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    with pytest.raises(InputError, match="held out"):
        patient_volumes(tree, NET, ("sub-01", "sub-02", "sub-03", "sub-04"), False)


def test_asking_for_more_held_out_patients_keeps_those_that_were(tmp_path: Path) -> None:
    many = folders.bids(tmp_path, 6, ("T1w",))
    held = [held_out_of(many, (), count) for count in range(1, 6)]
    assert [len(names) for names in held] == [1, 2, 3, 4, 5]
    assert all(more[: len(less)] == less for less, more in itertools.pairwise(held))


def test_names_count_more_than_the_number_and_one_patient_is_left_to_train_on(tree: Path, tmp_path: Path) -> None:
    assert held_out_of(tree, ("sub-02", "IXI"), 3) == ("sub-02",)
    assert held_out_of(tree, (), 0) == ()
    assert len(held_out_of(tree, (), 9)) == 3
    assert held_out_of(folders.bids(tmp_path / "one", 1, ("T1w",)), (), 1) == ()


def test_more_than_memory_holds_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUDGET", 100_000)
    with pytest.raises(BudgetError, match="part of the folder"):
        patient_volumes(tree, NET, (), False)
