"""Laws of digital patients in training: each made once, in network units, those of the validation
from other heads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import painted
from veridical.errors import InputError
from veridical.phantoms import label_heads
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.label_heads import LabelHeads
from veridical.phantoms.rendering import PhantomVolume, render
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.preprocessing.style import style_of
from veridical.training import digital_patients as module
from veridical.training.digital_patients import (
    LICENCES,
    PATIENTS,
    VALIDATION,
    DigitalPatients,
    painted_heads,
    phantom_slab,
)
from veridical.training.prepared_visits import Slab

PREPARE = Preprocessing()
NAMES = ("T1w", "FLAIR")


@pytest.fixture(autouse=True)
def heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three small heads be the label maps on disk."""
    monkeypatch.setenv("VERIDICAL_DATA", str(painted.data_root()))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """Let slabs be squares, of three patients of each kind; number and gap of those made."""
    found: list[tuple[int, float]] = []

    def square(
        heads: object,
        index: int,
        names: tuple[str, ...],
        gap: float,
        preprocessing: Preprocessing,
        restyled: str = "",
    ) -> Slab:
        found.append((index, gap))
        image = np.zeros((len(names), 3, 40, 40), np.float32)
        image[:, :, 8:32, 8:32] = np.random.default_rng(index).uniform(0.2, 1, (1, 3, 24, 24))
        return Slab(image, names, (2.0, 2.0))

    monkeypatch.setattr(module, "phantom_slab", square)
    monkeypatch.setattr(module, "PATIENTS", dict.fromkeys(PATIENTS, 3))
    return found


@pytest.mark.parametrize("name", list(LICENCES))
def test_a_patient_is_made_once_and_the_numbers_go_round(
    made: list[tuple[int, float]], name: str
) -> None:
    patients = DigitalPatients(name, 0, NAMES, PREPARE)
    assert len(patients) == 3
    assert patients[1] is patients[4] is patients[1]
    assert [index for index, _ in made] == [1]
    assert all(patients[index].names == NAMES for index in range(6))
    assert sorted(index for index, _ in made) == [0, 1, 2]


def test_painted_slices_lie_1_to_5_mm_apart_and_those_of_the_cohort_2(
    made: list[tuple[int, float]],
) -> None:
    for name in LICENCES:
        patients = DigitalPatients(name, 0, NAMES, PREPARE)
        for index in range(3):
            patients[index]
    gaps = [gap for _, gap in made]
    assert gaps[:3] == [2.0] * 3
    assert len(set(gaps[3:])) == 3
    assert all(1 <= gap <= 5 for gap in gaps[3:])


def test_voxels_to_fit_on_are_of_the_body_and_the_same_every_time(
    made: list[tuple[int, float]],
) -> None:
    patients = DigitalPatients("phantoms", 0, NAMES, PREPARE)
    first, again = (list(patients.voxels(2, each=100)) for _ in range(2))
    assert len(first) == 2
    for one, other in zip(first, again, strict=True):
        assert set(one) == set(NAMES)
        assert one["T1w"].shape == (100,)
        assert np.count_nonzero(one["T1w"]) > 60, "a little more than the body itself"
        np.testing.assert_array_equal(one["T1w"], other["T1w"])


def test_label_maps_held_out_are_never_trained_on_and_are_all_that_is_validated_on() -> None:
    seen, unseen = (painted_heads(5, ("head02",), validation) for validation in (False, True))
    assert [head.name for head in seen.maps] == ["head01", "head03"]
    assert [head.name for head in unseen.maps] == ["head02"]
    assert [head.name for head in painted_heads(5, (), False).maps] == [
        "head01",
        "head02",
        "head03",
    ]
    courses = [
        DigitalPatients("painted", 5, NAMES, PREPARE, ("head02",), validation).heads
        for validation in (False, True)
    ]
    assert all(isinstance(one, LabelHeads) for one in courses)
    assert [one.seed for one in courses] == [5, 5 + VALIDATION]
    assert {head.name for head in courses[1].maps} == {"head02"}  # type: ignore[union-attr]


@pytest.mark.parametrize("held_out", [("head",), ("head01", "head02", "head03")])
def test_a_head_must_be_left_to_train_on(held_out: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="No label map is left"):
        painted_heads(0, held_out, False)
    with pytest.raises(InputError, match="No label map is left"):
        painted_heads(0, (), True)


def test_label_maps_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("VERIDICAL_DATA", str(tmp_path / "data"))
    with pytest.raises(InputError, match=r"synthseg_labels is not there.*leave that source out"):
        DigitalPatients("painted", 0, NAMES, PREPARE)
    assert isinstance(DigitalPatients("phantoms", 0, NAMES, PREPARE).heads, Cohort)


@pytest.mark.parametrize(
    ("heads", "spacing"),
    [(Cohort(0), 4.4), (LabelHeads(painted.maps()), 1.5)],
    ids=["cohort", "maps"],
)
def test_a_slab_is_in_network_units_and_the_same_for_the_same_number(
    heads: Any, spacing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_heads, "REACH", dict.fromkeys(label_heads.REACH, (-8.0, 8.0)))
    made, again = (
        phantom_slab(heads, 2, (*NAMES, "CT", "PET"), 2.0, PREPARE, (48, 40), spacing)
        for _ in range(2)
    )
    assert made.images.shape == (4, 3, 48, 40)
    assert made.names == (*NAMES, "CT", "PET")
    np.testing.assert_array_equal(made.images, again.images)
    assert made.spacing == (spacing, spacing)
    assert 0.2 < float(made.attributes["field"]) < 8
    t1w, flair, ct, pet = made.images.astype(np.float32)
    for image in (t1w, flair):
        assert 0.3 < np.percentile(image, 99) <= PREPARE.most
    assert not np.array_equal(t1w[0], t1w[1])
    assert ct.min() == pytest.approx(-1, abs=0.05)
    assert 0.02 < ct.max() < 2.5, "bone, or a brain without its skull"
    assert 0.2 < pet.max() < 4
    for mask in made.masks.values():
        assert mask.shape == (48, 40)


def inner(whole: PhantomVolume, name: str) -> float:
    """What one network unit is: grey and white matter have a mean of 0.4."""
    image = render(whole, name)
    levels = [np.median(image[whole.brain & (whole.labels == kind)]) for kind in (2, 3)]
    return float(np.mean(levels)) / PREPARE.tissue


def test_the_scale_of_an_image_is_that_of_the_whole_head_not_of_the_slice() -> None:
    """The cohort's grey and white matter lie about the tissue level in the volume that slices are
    cut from.
    """
    heads = Cohort(0)
    ratios = []
    for index in range(3):
        slab = phantom_slab(heads, index, ("T1w",), 2.0, PREPARE, (48, 40), 4.4)
        raw = module._imaged(heads.slab(index, 2.0, (48, 40), 4.4)[1], "T1w", 4.4, index)
        made = slab.images[0, 0].astype(np.float32)
        scale = float(raw[made > 0.1].mean() / made[made > 0.1].mean())
        whole = heads.volume(index, module.COARSE)
        ratios.append(scale / inner(whole, "T1w"))
    np.testing.assert_allclose(ratios, 1, rtol=0.01)


def test_the_style_of_an_image_is_that_of_the_whole_head() -> None:
    """Slices at the ends of the head show little; their style is that of the volume."""
    heads = Cohort(0)
    slab = phantom_slab(heads, 1, ("T1w", "FLAIR"), 2.0, PREPARE, (48, 40), 4.4)
    assert set(slab.styles) == {"T1w", "FLAIR"}
    for name, style in slab.styles.items():
        whole = heads.volume(1, module.COARSE)
        image = render(whole, name).transpose(2, 1, 0) / np.float32(inner(whole, name))
        np.testing.assert_allclose(style, style_of(image, name), atol=1e-4)
