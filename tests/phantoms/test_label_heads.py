"""Laws of patients painted from label maps: the number decides the patient, fractions sum to one,
lesions lie in white matter, and a head without its skull shows nothing outside of the brain.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

import painted
from veridical.phantoms import label_heads as module
from veridical.phantoms.label_heads import STRIPPED, LabelHeads
from veridical.phantoms.label_maps import BRAIN, DEVIATION, NAMES, structure
from veridical.phantoms.label_sampling import TISSUE, sample_structures
from veridical.phantoms.rendering import MODALITIES, PhantomVolume, render
from veridical.physics.tissue import LESIONS, RELAXATION, TissueClass
from veridical.types import Array

INSIDE = [structure(name) for name in BRAIN]
SHAPE, ORIGIN = (34, 34, 34), np.full(3, -33.0)


def heads(seed: int = 0) -> LabelHeads:
    return LabelHeads(painted.maps(), seed)


@cache
def volume(index: int) -> PhantomVolume:
    return heads().cropped(index, ORIGIN, 2.0, SHAPE, fine=2)


def having(what: str) -> list[int]:
    return [index for index in range(20) if heads().pathology(index) == what]


def stripped(index: int) -> bool:
    return bool(module._pose(heads(), index).traits[1] > 0)


def test_seed_and_number_decide_the_patient_whatever_came_before() -> None:
    first = heads().cropped(3, ORIGIN, 2.0, SHAPE)
    for other in range(12):
        heads().structures(other, ORIGIN, 4.0, (17, 17, 17))
    again, further = heads().cropped(3, ORIGIN, 2.0, SHAPE), heads(1).cropped(3, ORIGIN, 2.0, SHAPE)
    assert first.tissues.tobytes() == again.tissues.tobytes()
    assert render(first, "FLAIR").tobytes() == render(again, "FLAIR").tobytes()
    assert first.site == again.site
    assert (first.labels != further.labels).mean() > 0.02
    assert (first.labels != volume(4).labels).mean() > 0.02
    names = {heads().head(index).name for index in range(12)}
    assert names == {"head01", "head02"}


@pytest.mark.parametrize("index", range(4))
def test_fractions_are_positive_and_sum_to_one(index: int) -> None:
    made = volume(index)
    assert made.tissues.min() >= 0
    np.testing.assert_allclose(made.tissues.sum(0), 1.0, atol=1e-5)
    np.testing.assert_array_equal(made.labels, made.tissues.argmax(0))
    assert np.isfinite(made.texture).all()


def test_about_as_many_heads_as_said_have_no_skull_and_show_nothing_outside_of_the_brain() -> None:
    found = [stripped(index) for index in range(120)]
    assert np.mean(found) == pytest.approx(STRIPPED, abs=0.12)
    without, whole = found.index(True), found.index(False)
    for index in (without, whole):
        made = heads().structures(index, ORIGIN, 2.0, SHAPE)
        others = np.setdiff1d(np.unique(made), [0, *INSIDE])
        assert (len(others) == 0) == stripped(index)
    made = volume(without)
    assert not made.tissues[[TissueClass.BONE, TissueClass.FAT, TissueClass.SKIN]].any()
    image = render(made, "T1w")
    outside = ~ndimage.binary_dilation(made.brain, iterations=2)
    assert outside.any()
    assert not image[outside].any(), "but for its chemical shift, nothing is left outside"


@pytest.mark.parametrize("kind", ["ms", "tumour"])
def test_lesions_lie_within_the_brain_those_of_sclerosis_in_its_white_matter(kind: str) -> None:
    seen = 0
    for index in having(kind)[:5]:
        made = heads().structures(index, ORIGIN, 1.0, (66, 66, 66))
        lesion = made == structure("lesion")
        seen += int(lesion.sum())
        healthy = _without_lesions(index)
        under = healthy[lesion & (made != healthy)]
        assert np.isin(under, INSIDE).all()
        if kind == "ms":
            assert set(np.unique(under)) <= {structure("white matter"), structure("thalamus"),
                                             structure("pallidum")}  # fmt: skip
    assert seen > 100


def _without_lesions(
    index: int, spacing: float = 1.0, shape: tuple[int, int, int] = (66, 66, 66)
) -> Array:
    """The structures of a patient before disease."""
    pose, head = module._pose(heads(), index), heads().head(index)
    found = np.zeros(shape, np.uint8)
    sample_structures(
        head.structures, head.centre, pose.matrix, pose.shift, pose.displacement,
        pose.lesions[:0], module._noise(), pose.offsets, pose.traits, ORIGIN.astype(np.float32),
        np.eye(3, dtype=np.float32) * np.float32(spacing), found,
    )  # fmt: skip
    return found


def test_patients_without_disease_have_only_the_lesions_of_their_map() -> None:
    for index in having("none")[:3]:
        assert not volume(index).tissues[[TissueClass.OEDEMA, TissueClass.NECROSIS]].any()
        np.testing.assert_array_equal(
            heads().structures(index, ORIGIN, 1.0, (66, 66, 66)), _without_lesions(index)
        )
    assert any(volume(index).tissues[list(LESIONS)].sum() > 1 for index in having("ms")[:3]), (
        "and others have more"
    )


@pytest.mark.parametrize("index", [0, 1, 2])
def test_structures_alone_are_those_of_the_volume_and_most_of_what_fills_a_voxel(
    index: int,
) -> None:
    fractions, _, structures, brain = heads().sampled(
        index, ORIGIN, 2 * np.eye(3, dtype=np.float32), SHAPE, (1, 1, 1)
    )
    alone = heads().structures(index, ORIGIN, 2.0, SHAPE)
    assert (alone == structures).mean() > 0.9999
    healthy = _without_lesions(index, 2.0, SHAPE)
    assert ((brain > 0.5) == np.isin(healthy, INSIDE)).mean() > 0.9999
    tissue = TISSUE[alone]
    lesion = alone == structure("lesion")
    assert (fractions.argmax(0) == tissue)[~lesion].mean() > 0.9999
    assert fractions[list(LESIONS)].sum(0)[lesion].all()
    finer = heads().sampled(index, ORIGIN, 2 * np.eye(3, dtype=np.float32), SHAPE, (2, 2, 2))[0]
    assert (finer.argmax(0) == tissue)[~lesion].mean() > 0.85


def test_the_pallidum_holds_iron_and_the_thalamus_white_matter() -> None:
    """Over patients the deviation of a structure is that of the table, with a spread of its own."""
    drawn = np.array([module._pose(heads(), index).deviation for index in range(60)])
    for name in ("pallidum", "thalamus", "putamen"):
        values = drawn[:, structure(name)]
        assert values.mean() == pytest.approx(DEVIATION.get(name, 0.0), abs=0.25)
        assert values.std() == pytest.approx(0.5, abs=0.15)
    textures = []
    for index in range(6):
        _, texture, structures, _ = heads().sampled(
            index, ORIGIN, 2 * np.eye(3, dtype=np.float32), SHAPE, (1, 1, 1)
        )
        textures.append(
            [texture[0][structures == structure(n)].mean() for n in ("pallidum", "thalamus")]
        )
    pallidum, thalamus = np.mean(textures, 0)
    assert pallidum < thalamus - 1


def test_a_slab_is_three_slices_a_gap_apart_in_any_plane() -> None:
    for plane in ("axial", "coronal", "sagittal"):
        middle = heads().slab(5, 4.0, (40, 36), 2.0, plane)[1]
        again = heads().slab(5, 4.0, (40, 36), 2.0, plane)[1]
        assert middle.tissues.shape == (len(TissueClass), 40, 36)
        assert (middle.spacing, middle.plane) == (2.0, plane)
        assert middle.tissues.tobytes() == again.tissues.tobytes()
        np.testing.assert_allclose(middle.tissues.sum(0), 1.0, atol=1e-5)
    planes = [heads().slab(index, 4.0, (8, 8), 8.0)[1].plane for index in range(60)]
    assert np.mean([plane == "axial" for plane in planes]) == pytest.approx(0.75, abs=0.15)


def test_slices_go_through_a_lesion_two_times_in_three_where_there_is_one() -> None:
    shown = [
        bool(heads().slab(index, 2.0, (64, 64), 1.0, "axial")[1].tissues[list(LESIONS)].any())
        for index in having("tumour")
    ]
    assert np.mean(shown) > 0.4


@pytest.mark.parametrize("contrast", MODALITIES)
def test_every_contrast_is_finite_and_of_its_range(contrast: str) -> None:
    image = render(volume(1), contrast)
    assert np.isfinite(image).all()
    if contrast == "CT":
        assert image.min() < -900
    else:
        assert image.min() >= 0
        assert image.max() > 0


def test_a_volume_covers_the_head_about_its_middle() -> None:
    made = heads().volume(1, 8.0)
    assert made.geometry.shape == (26, 31, 28)
    assert made.geometry.spacing == (8.0, 8.0, 8.0)
    middle = made.geometry.affine @ [*((np.array(made.geometry.shape) - 1) / 2), 1]
    np.testing.assert_allclose(middle[:3], (0, 0, -18))


def test_scanners_and_tissues_differ_between_patients() -> None:
    sites = [heads().site(index) for index in range(30)]
    assert {site.field for site in sites} == {1.0, 1.5, 3.0}
    assert len({site.name for site in sites}) == 30
    factors = np.array([heads().factors(index) for index in range(400)])
    table = np.array([RELAXATION[tissue].spread for tissue in TissueClass])
    wanted = np.sqrt(table**2 + module.WIDER**2)
    np.testing.assert_allclose(np.log(factors[:, 0]).std(0), wanted, rtol=0.15)
    assert len(NAMES) == len(module._pose(heads(), 0).deviation)
