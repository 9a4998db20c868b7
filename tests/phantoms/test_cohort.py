"""Laws of the digital patients: determinism, fractions, folding-free warps, lesions, and two
simulators that differ.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from veridical import registry
from veridical.errors import SettingError
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.cohort_b import CohortB
from veridical.phantoms.population import Population
from veridical.phantoms.rendering import MODALITIES, PhantomSlice, render
from veridical.phantoms.warp import GRID_ORIGIN, GRID_SPACING, bumps, exponential, growth, velocity
from veridical.physics.tissue import LESIONS, Sequence, TissueClass, spin_echo

BOTH = pytest.mark.parametrize("population", [Cohort(0), CohortB(0)], ids=["cohort", "cohort-b"])


@cache
def a_slice(population: Population, index: int, **settings: Any) -> PhantomSlice:
    return population.slice(index, (96, 96), 2.4, **settings)


@BOTH
def test_the_same_patient_has_the_same_bytes_whatever_came_before(population: Population) -> None:
    first = population.slice(3, (64, 64), 3.6)
    for other in (5, 1, 9, 2, 7):
        population.slice(other, (32, 32), 7.0)
    again = type(population)(0).slice(3, (64, 64), 3.6)
    assert first.tissues.tobytes() == again.tissues.tobytes()
    assert render(first, "T2w").tobytes() == render(again, "T2w").tobytes()


@BOTH
def test_other_patients_and_other_seeds_differ(population: Population) -> None:
    labels = [
        a_slice(p, i, plane="axial").labels
        for p, i in ((population, 0), (population, 1), (type(population)(1), 0))
    ]
    assert all((a != b).mean() > 0.02 for a, b in itertools.combinations(labels, 2))


@BOTH
@pytest.mark.parametrize("thickness", [0.0, 4.0])
def test_fractions_are_positive_and_sum_to_one(population: Population, thickness: float) -> None:
    for index in range(6):
        tissues = a_slice(population, index, thickness=thickness).tissues
        assert tissues.min() >= -1e-6
        np.testing.assert_allclose(tissues.sum(0), 1.0, atol=1e-5)


def jacobians(displacement: np.ndarray) -> np.ndarray:
    """Determinants at the corners of every cell: the map is trilinear in between, so these bound
    its folds.
    """
    grid = np.stack(
        np.meshgrid(*[np.arange(n) * GRID_SPACING for n in displacement.shape[:3]], indexing="ij"),
        -1,
    )
    mapped = grid + displacement
    steps = [np.diff(mapped, axis=axis) / GRID_SPACING for axis in range(3)]
    found = []
    for corner in itertools.product((0, 1), repeat=3):
        cells = []
        for axis, step in enumerate(steps):
            where = [
                slice(None) if a == axis else slice(c, step.shape[a] - 1 + c)
                for a, c in enumerate(corner)
            ]
            cells.append(step[tuple(where)])
        found.append(np.linalg.det(np.stack(cells, -1)))
    return np.stack(found)


@BOTH
def test_the_warp_of_no_patient_folds(population: Population) -> None:
    for index in range(12):
        subject = population.draw(index, ("none", "ms", "tumour")[index % 3])
        assert jacobians(subject.displacement).min() > 0.1
        assert np.linalg.det(subject.affine[:, :3]) > 0.3


def test_the_exponential_of_a_strong_field_does_not_fold_and_the_negative_field_undoes_it() -> None:
    field = velocity(np.random.default_rng(0), 6.0, 36.0) + growth(
        np.array([20.0, 0.0, 10.0]), 6.0, 30.0
    )
    there, back = exponential(field, 6), exponential(-field, 6)
    assert jacobians(there).min() > 0
    grid = np.stack(
        np.meshgrid(*[np.arange(n, dtype=float) for n in field.shape[:3]], indexing="ij")
    )
    moved = grid + np.moveaxis(back, -1, 0) / GRID_SPACING
    again = np.stack(
        [ndimage.map_coordinates(there[..., d], moved, order=1, mode="nearest") for d in range(3)],
        -1,
    )
    inner = (slice(4, -4),) * 3
    assert np.abs(back + again)[inner].max() < 0.08 * np.abs(there[inner]).max()


def test_elastic_bumps_keep_their_bound() -> None:
    field = bumps(np.random.default_rng(0), 40, 0.5)
    assert jacobians(field).min() > 0
    assert max(np.abs(np.diff(field, axis=a)).sum(-1).max() for a in range(3)) / GRID_SPACING <= 0.5


@BOTH
def test_a_point_of_the_template_is_found_again_through_the_warp(population: Population) -> None:
    subject, target = population.draw(2, "none"), np.array([22.0, -30.0, 14.0])
    moved = subject.affine[:, :3] @ subject.locate(target) + subject.affine[:, 3]
    where = ((moved - GRID_ORIGIN) / GRID_SPACING)[:, None]
    shift = [
        ndimage.map_coordinates(subject.displacement[..., d], where, order=1)[0] for d in range(3)
    ]
    np.testing.assert_allclose(moved + shift, target, atol=0.05)


@BOTH
@pytest.mark.parametrize("pathology", ["ms", "tumour"])
def test_lesions_lie_inside_the_brain_and_a_slice_asked_for_shows_one(
    population: Population, pathology: Any
) -> None:
    seen = 0
    for index in range(6):
        head = a_slice(population, index, pathology=pathology, plane="axial")
        assert head.pathology == pathology
        assert not (head.lesions & ~head.brain).any()
        seen += bool(head.tissues[list(LESIONS)].sum() > 1.0)
    assert seen >= 5


@BOTH
def test_healthy_patients_have_no_lesions(population: Population) -> None:
    assert a_slice(population, 0, pathology="none").tissues[list(LESIONS)].max() == 0.0


def test_a_volume_has_adult_tissue_volumes_and_agrees_with_its_truth() -> None:
    volume = Cohort(0).volume(1, spacing=3.0, pathology="tumour")
    millilitres = volume.tissues.reshape(len(TissueClass), -1).sum(1) * 0.027
    assert 450 < millilitres[TissueClass.GREY] < 950
    assert 350 < millilitres[TissueClass.WHITE] < 800
    assert 80 < millilitres[TissueClass.CSF] < 700
    assert 25 < millilitres[TissueClass.DEEP_GREY] < 90
    assert 200 < millilitres[TissueClass.BONE] + millilitres[TissueClass.MARROW] < 1200
    assert volume.geometry.spacing == pytest.approx((3.0, 3.0, 3.0))
    assert volume.lesions.any()
    assert not (volume.lesions & ~volume.brain).any()
    np.testing.assert_array_equal(volume.labels, volume.tissues.argmax(0))


def test_the_volume_grid_is_right_anterior_superior() -> None:
    volume = Cohort(0).volume(0, spacing=4.0, pathology="none")
    eyes = (
        np.argwhere(volume.tissues[TissueClass.VITREOUS] > 0.3) @ volume.geometry.affine[:3, :3].T
    )
    position = eyes.mean(0) + volume.geometry.affine[:3, 3]
    assert position[1] > 40
    assert position[2] < -15
    assert abs(position[0]) < 10


def test_a_patient_has_images_truth_and_covariates() -> None:
    patient = Cohort(0).patient(2, spacing=6.0, pathology="ms")
    visit = patient.visits[0.0]
    assert set(visit) == {"T1w", "T2w", "FLAIR", "PD", "T1c", "labels", "lesions", "tissues"}
    assert visit["tissues"].data.shape[0] == len(TissueClass)
    assert patient.covariates["pathology"] == "ms"
    assert 18 <= patient.covariates["age"] <= 90


@pytest.mark.parametrize("contrast", MODALITIES)
def test_every_contrast_is_finite_and_of_its_range(contrast: str) -> None:
    image = render(a_slice(Cohort(0), 4, plane="axial"), contrast)
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    if contrast == "CT":
        assert image.min() < -900
        assert image.max() > 600
    else:
        assert image.max() > 0
        assert image[0, 0] == pytest.approx(0.0, abs=1e-6)


def test_a_pure_voxel_has_the_signal_of_its_tissue_up_to_texture() -> None:
    head = a_slice(Cohort(0), 4, plane="axial")
    image = render(head, "PD", sequence=Sequence("se", 3000.0, 15.0))
    table = head.relaxation()
    for tissue in (TissueClass.WHITE, TissueClass.GREY, TissueClass.CSF):
        pure = head.tissues[tissue] > 0.999
        expected = spin_echo(table.pd, table.t1, table.t2, 3000.0, 15.0)[tissue]
        assert pure.sum() > 20
        assert np.median(image[pure]) == pytest.approx(expected, rel=0.03)


def test_parameter_maps_are_those_of_the_subject_at_its_field() -> None:
    head = a_slice(Cohort(0), 4, plane="axial")
    white = head.tissues[TissueClass.WHITE] > 0.999
    assert head.t1[white].mean() == pytest.approx(head.relaxation().t1[TissueClass.WHITE], rel=0.03)
    assert (head.t2star[white] <= head.t2[white]).all()
    assert head.pd[white].mean() == pytest.approx(head.relaxation().pd[TissueClass.WHITE], rel=0.03)


@BOTH
def test_a_scan_has_the_noise_of_its_site_and_the_object_of_its_slice(
    population: Population,
) -> None:
    head, raw = population.scan(3, "T1w", (64, 64), 3.6, coils=4, plane="axial")
    relative = raw.noise / np.percentile(render(head, "T1w"), 99)
    assert head.site.noise[0] <= relative <= head.site.noise[1]
    seen = np.sqrt((np.abs(raw.coil_images) ** 2).sum(0))
    assert np.corrcoef(seen.ravel(), render(head, "T1w").ravel())[0, 1] > 0.8


def test_flair_of_the_cohort_darkens_ventricles() -> None:
    for index in range(3):
        head = a_slice(Cohort(0), index, plane="axial", pathology="none")
        image = render(head, "FLAIR")
        fluid, white = head.tissues[TissueClass.CSF] > 0.99, head.tissues[TissueClass.WHITE] > 0.99
        assert np.median(image[fluid]) < 0.35 * np.median(image[white])


def test_the_second_simulator_is_for_testing_only_and_differs_from_the_first() -> None:
    first, second = Cohort(0), CohortB(0)
    assert (first.testing_only, second.testing_only) == (False, True)
    assert first.law != second.law
    assert first.receive != second.receive
    assert not {s.name for s in first.sites} & {s.name for s in second.sites}
    labels = [a_slice(p, 0, plane="axial", pathology="none").labels for p in (first, second)]
    assert (labels[0] != labels[1]).mean() > 0.02


def test_both_cohorts_are_registered() -> None:
    assert registry.get("phantom", "cohort") is Cohort
    assert registry.get("phantom", "cohort-b") is CohortB


def test_wrong_requests_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingError, match="axial"):
        Cohort().slice(0, plane="axal")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="tumour"):
        Cohort().slice(0, pathology="tumor")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="FLAIR"):
        render(a_slice(Cohort(0), 0), "FLARE")
    with pytest.raises(SettingError, match="index of 0 or more"):
        Cohort().slice(-1)
