"""Visits as a generator learns from them: one grid, network units, neighbours, masks, and patients
kept apart.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import folders
import toys
from priors import volume
from veridical.errors import BudgetError, InputError
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.training import prepared_visits as module
from veridical.training.prepared_visits import (
    PreparedVisit,
    held_out_of,
    prepared_visits,
    visits_of,
)
from veridical.types import Array, Image, Study

NET = ("T1w", "T2w", "FLAIR")
PREPARE = Preprocessing()


def visits(
    folder: Path, contrasts: tuple[str, ...] = NET, held: tuple[str, ...] = (), unseen: bool = False
) -> list[PreparedVisit]:
    return prepared_visits(str(folder), contrasts, PREPARE, held, unseen)


def near(one: Array, other: Array, tolerance: float) -> bool:
    return float(np.abs(one.astype(float) - other.astype(float)).mean()) < tolerance


def test_every_patient_is_a_visit_with_the_contrasts_that_the_net_has() -> None:
    found = visits(toys.ward())
    assert [visit.patient for visit in found] == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert {tuple(sorted(visit.names)) for visit in found} == {("FLAIR", "T1w")}
    assert {visit.images.shape for visit in found} == {(2, 12, 48, 40)}
    assert {visit.spacing for visit in found} == {(4.0, 2.0, 2.0)}
    assert [visit.names for visit in visits(toys.ward(), ("FLAIR",))] == 4 * [("FLAIR",)]


def test_slices_are_upright_in_network_units_and_clipped() -> None:
    for image in visits(toys.ward())[0].images.astype(float):
        assert image[6, :20].mean() > image[6, 28:].mean(), "the head is brighter in front"
        assert image[8].mean() > image[3].mean(), "and at the top"
        assert np.median(image[5:7, 18:30, 14:26]) == pytest.approx(PREPARE.tissue, rel=0.6)
        assert image.max() <= PREPARE.most


def test_contrasts_are_put_onto_the_grid_of_the_thickest_slices(tmp_path: Path) -> None:
    folders.write(tmp_path / "p1" / "p1_T1w.nii.gz", folders.head(1, (80, 96, 96)), (1.0, 1.0, 0.5))
    folders.write(tmp_path / "p1" / "p1_FLAIR.nii.gz", folders.head(1), (2.0, 2.0, 4.0))
    (visit,) = visits(tmp_path)
    assert visit.images.shape == (2, 12, 48, 40)
    assert near(visit.images[0], visit.images[1], 0.03), (
        "the same head, averaged over the thicker slices"
    )


def test_thick_sagittal_slices_stay_slices_and_stand_upright(tmp_path: Path) -> None:
    folders.write(tmp_path / "p1" / "p1_T2w.nii.gz", folders.head(1, (12, 48, 40)), (5.0, 1.0, 1.0))
    (visit,) = visits(tmp_path)
    assert visit.images.shape == (1, 12, 40, 48)
    middle = visit.images[0, 6].astype(float)
    assert middle[:12].mean() > middle[28:].mean(), "the top is above"


def test_a_folder_in_which_nothing_fits_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected images of CT, PET"):
        visits(toys.ward(), ("CT", "PET"))
    folders.write(tmp_path / "p1" / "p1_T1w.nii.gz", folders.head(1))
    far = nib.load(tmp_path / "p1" / "p1_T1w.nii.gz").affine.copy()
    far[0, 3] += 500
    nib.save(nib.Nifti1Image(folders.head(2), far), tmp_path / "p1" / "p1_FLAIR.nii.gz")
    with pytest.raises(InputError, match="FLAIR"):
        visits(tmp_path)


def test_held_out_patients_are_in_the_validation_alone() -> None:
    held = held_out_of(toys.ward(), (), 1)
    assert len(held) == 1
    both = [
        [visit.patient for visit in visits(toys.ward(), NET, held, unseen)]
        for unseen in (False, True)
    ]
    assert both[1] == list(held)
    assert sorted(both[0] + both[1]) == ["sub-01", "sub-02", "sub-03", "sub-04"]
    with pytest.raises(InputError, match="leave a patient to train on"):
        visits(toys.ward(), NET, ("sub",))
    assert visits(toys.ward(), NET, (), unseen=True) == []


def test_asking_for_more_held_out_patients_keeps_those_that_were(tmp_path: Path) -> None:
    many = folders.bids(tmp_path, 6, ("T1w",))
    held = [held_out_of(many, (), count) for count in range(1, 6)]
    assert [len(names) for names in held] == [1, 2, 3, 4, 5]
    assert all(more[: len(less)] == less for less, more in itertools.pairwise(held))


def test_names_count_more_than_the_number_and_one_patient_is_left_to_train_on(
    tmp_path: Path,
) -> None:
    assert held_out_of(toys.ward(), ("sub-02", "IXI"), 3) == ("sub-02",)
    assert held_out_of(toys.ward(), (), 0) == ()
    assert len(held_out_of(toys.ward(), (), 9)) == 3
    assert held_out_of(folders.bids(tmp_path / "one", 1, ("T1w",)), (), 1) == ()


def test_more_than_memory_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUDGET", 100_000)
    with pytest.raises(BudgetError, match="Train on a part"):
        visits(toys.ward())


def study(**visits_: dict[str, Image]) -> Study:
    return Study("p", {float(day[1:]): visit for day, visit in visits_.items()})  # type: ignore[arg-type]


def test_every_visit_counts_and_masks_of_lesions_and_the_field_come_along() -> None:
    image = volume(("T1w", "FLAIR"), field=3.0)
    lesion = np.zeros((1, *image.geometry.shape), np.uint8)
    lesion[0, 10:14, 10:14, 2] = 5
    marked = Image(lesion, image.geometry, "label", ("lesions",))
    given = study(
        d0={"T1w": image.channel("T1w"), "lesions": marked, "SWI": image.channel("FLAIR")},
        d90={"FLAIR": image.channel("FLAIR")},
        d99={"SWI": image.channel("T1w")},
    )
    first, second = visits_of(given, NET, PREPARE, "set")
    assert (first.names, second.names) == (("T1w",), ("FLAIR",))
    assert (first.patient, first.source, dict(first.attributes)) == ("p", "set", {"field": 3.0})
    mask = first.masks["lesions"]
    assert mask.dtype == bool
    assert mask.sum() == 16
    np.testing.assert_array_equal(
        mask, first.slab(2).masks["lesions"][None] & (np.arange(6) == 2)[:, None, None]
    )
    assert dict(second.masks) == {}


def test_a_slab_is_a_slice_between_its_neighbours_at_its_height() -> None:
    (visit,) = visits_of(study(d0={"T1w": volume(("T1w",))}), NET, PREPARE, "set")
    images = visit.images.astype(np.float32)
    for index, around, height in ((0, [0, 0, 1], -1.0), (3, [3, 2, 4], 0.2), (5, [5, 4, 5], 1.0)):
        slab = visit.slab(index)
        np.testing.assert_array_equal(slab.images, images[:, around])
        assert slab.attributes["height"] == pytest.approx(height)
        assert slab.spacing == (2.0, 2.0)


def test_slices_that_show_too_little_in_one_of_the_contrasts_are_not_used() -> None:
    images = np.zeros((2, 8, 24, 24), np.float16)
    images[0, 1:7, 4:20, 4:20] = 0.4
    images[1, 3:8, 4:20, 4:20] = 0.4
    assert PreparedVisit(images, ("T1w", "FLAIR"), "p", "s", (1, 1, 1)).usable(PREPARE) == [
        3,
        4,
        5,
        6,
    ]
