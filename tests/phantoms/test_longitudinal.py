"""Patients with a life: regional rates come about, lesions come and go, tumours answer to
treatment, and what is stable stays.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from veridical.errors import InputError, SettingError
from veridical.phantoms import volume_change
from veridical.phantoms.ageing import HIPPOCAMPUS, VENTRICLE, Ageing, lost
from veridical.phantoms.glioma import Glioma
from veridical.phantoms.glioma_biology import CENTRE, GENES, drawn_genes, population, shift
from veridical.phantoms.head_labels import LABELS
from veridical.phantoms.longitudinal import YEAR
from veridical.phantoms.multiple_sclerosis import MultipleSclerosis, course
from veridical.physics.treatment import Treatment, radiotherapy, standard

COARSE = 4.0


@cache
def aged() -> Ageing:
    return Ageing(1, 0, COARSE, group="Alzheimer")


def patient(treatment: Treatment | None = None, **given: str) -> Glioma:
    return Glioma(3, 1, COARSE, treatment=treatment or Treatment(), **given)  # type: ignore[arg-type]


def test_a_velocity_has_the_divergence_that_is_asked_for_and_stays_inside() -> None:
    inside = np.zeros((20, 20, 20), bool)
    inside[2:18, 2:18, 2:18] = True
    rate = np.zeros(inside.shape, np.float32)
    rate[5:10, 5:10, 5:10], rate[11:16, 11:16, 11:16] = -0.1, 0.1
    velocity = volume_change.velocity_of(rate, inside, 2.0)
    assert not velocity[~inside].any()
    slope = sum(np.gradient(velocity[..., d], 2.0, axis=d) for d in range(3))
    assert slope[6:9, 6:9, 6:9].mean() == pytest.approx(-0.1, rel=0.1)
    assert abs(slope[inside].mean()) < 2e-3


def test_a_flow_back_undoes_the_flow_forward() -> None:
    inside = np.zeros((20, 20, 20), bool)
    inside[2:18, 2:18, 2:18] = True
    noise = np.random.default_rng(0).normal(0, 1, inside.shape)
    rate = (ndimage.gaussian_filter(noise, 2.0) * inside).astype(np.float32)
    velocity = volume_change.velocity_of(rate, inside, 2.0)
    there, back = (volume_change.flow_of(velocity, way, 2.0) for way in (1.0, -1.0))
    both = there + volume_change.moved(back, there, 2.0)
    assert np.abs(both).max() < 0.1 * np.abs(there).max()
    assert volume_change.jacobian(there, 2.0).min() > 0


def test_structures_lose_what_was_published_and_fluid_takes_the_room() -> None:
    head = aged()
    before, after = head.volumes(0.0), head.volumes(YEAR)
    change = {name: 100 * (after[name] / before[name] - 1) for name in before if before[name] > 2}
    for name in (HIPPOCAMPUS, "cortex", "white matter"):
        assert change[name] == pytest.approx(-lost(name, "Alzheimer") * head.pace, rel=0.25)
    assert change[VENTRICLE] > 5
    assert abs(change["caudate"]) < 1
    assert sum(after.values()) == pytest.approx(sum(before.values()), rel=3e-3)


def test_more_time_is_more_loss_and_no_time_is_none() -> None:
    head = aged()
    assert not head.displacement(0.0).any()
    scores = [head.scores(years * YEAR) for years in (0.0, 1.0, 3.0)]
    assert scores[0]["hippocampus_ml"] > scores[1]["hippocampus_ml"] > scores[2]["hippocampus_ml"]
    assert scores[0]["mmse"] > scores[2]["mmse"]
    assert volume_change.jacobian(head.displacement(3 * YEAR), COARSE).min() > 0


def test_images_follow_the_deformation_and_stay_where_nothing_moves() -> None:
    head = aged()
    first, later = (head.head(day)[0] for day in (0.0, 2 * YEAR))
    np.testing.assert_allclose(later.tissues.sum(0), 1, atol=1e-4)
    still = np.abs(head.displacement(2 * YEAR)).max(-1) == 0
    changed = np.abs(later.tissues - first.tissues).max(0)
    assert changed[~still].max() > 0.2
    assert (changed[still] > 0.01).mean() < 0.02


def test_a_lesion_appears_grows_and_shrinks() -> None:
    days = np.array([-5.0, 5.0, 30.0, 90.0, 400.0])
    size = course(days, np.full(5, 0.6), np.zeros(5))
    assert size[0] == 0
    assert size[0] < size[1] < size[2]
    assert size[2] > size[3] > size[4]
    assert size[4] == pytest.approx(0.6, abs=0.03)
    creeping = course(np.array([400.0, 1400.0]), np.full(2, 0.6), np.full(2, 0.03))
    assert creeping[1] > creeping[0]


def test_treatment_prevents_new_lesions_of_the_same_patient() -> None:
    untreated = [MultipleSclerosis(1, n, COARSE) for n in range(2)]
    treated = [replace(one, treated=0.0) for one in untreated]
    new = [[int((one.sizes(10 * YEAR) > 0).sum() - (one.sizes(0.0) > 0).sum()) for one in group]
           for group in (untreated, treated)]  # fmt: skip
    assert all(few <= many for many, few in zip(*new, strict=True))
    assert sum(new[1]) < 0.5 * sum(new[0])
    np.testing.assert_array_equal(untreated[0].sizes(0.0), treated[0].sizes(0.0))
    with pytest.raises(SettingError, match="effect"):
        MultipleSclerosis(effect=2.0)


def test_the_same_patient_has_the_same_tumour_whatever_is_done_later() -> None:
    none, treated = patient(), patient(standard(21.0))
    assert none.biology == treated.biology
    assert none.extents([0.0, 20.0]) == treated.extents([0.0, 20.0])
    later = [one.extents([150.0])[0].visible for one in (none, treated)]
    assert later[1] < 0.8 * later[0]
    ladder = [
        patient(radiotherapy(1.0, n, 2.0)).extents([90.0])[0].visible for n in (0, 10, 20, 30)
    ]
    assert (np.diff(ladder) <= 1e-6).all()


def test_a_visit_shows_tumour_in_its_images_and_labels() -> None:
    study = patient().study([0.0], ("T1c", "FLAIR"))
    visit = study.visit(0.0)
    labels = visit["structures"].data[0]
    tumour = [LABELS.index(name) for name in ("oedema", "enhancing tumour", "necrosis")]
    counted = np.isin(labels, tumour).sum() * COARSE**3 / 1000
    assert counted == pytest.approx(study.covariates["scores"][0.0]["visible_ml"], rel=0.35)
    bright = visit["FLAIR"].data[0][np.isin(labels, tumour)].mean()
    assert bright > 1.2 * visit["FLAIR"].data[0][labels == LABELS.index("white matter")].mean()
    assert set(study.genes) == set(GENES)


def test_mass_effect_pushes_the_brain_and_its_truth_is_kept() -> None:
    pushed = patient(mismatch="mass effect")
    shift_ = pushed.displacement(0.0)
    assert 0.3 < np.abs(shift_).max() < 15
    assert not patient().displacement(0.0).any()
    assert pushed.extents([0.0])[0].visible > patient().extents([0.0])[0].visible


def test_the_other_mismatches_change_what_happens() -> None:
    done = radiotherapy(1.0, 30, 2.0)
    plain, two, delay = (
        replace(patient(done), mismatch=kind) for kind in ("none", "two clones", "delay")
    )
    seen = [one.extents([45.0])[0].visible for one in (plain, delay)]
    assert seen[1] > seen[0]
    alive = [one.state(100.0).total.sum() for one in (plain, two)]
    assert alive[1] > 1.5 * alive[0]


def test_genes_shift_what_is_documented_and_null_genes_nothing() -> None:
    usual = {name: gene.usual for name, gene in GENES.items()}
    for name, gene in GENES.items():
        moved = shift({**usual, name: gene.altered})
        assert bool(moved.any()) == bool(gene.effect)
    assert not shift(usual).any()
    mean, spread = population(None)
    drawn = [shift(drawn_genes(np.random.default_rng(n))) for n in range(2000)]
    np.testing.assert_allclose(CENTRE + np.mean(drawn, 0), mean, atol=0.05)
    assert (spread >= population(usual)[1]).all()


def test_wrong_days_and_groups_are_refused() -> None:
    with pytest.raises(InputError, match="before the first visit"):
        patient().state(-1.0)
    with pytest.raises(SettingError, match="healthy"):
        Ageing(group="well")  # type: ignore[arg-type]
