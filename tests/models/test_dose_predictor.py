"""Laws of the dose predictor: mirrored patients get mirrored doses, nothing outside of the body,
grids come back, and structures are found by their usual names.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import plans
from veridical import testing
from veridical.errors import InputError
from veridical.models.dose_anatomy import PlanAnatomy, body_of, named, turned, turned_back
from veridical.models.dose_features import CHANNELS, MIRRORED, UNIT, features
from veridical.models.dose_grid import DoseGrid, fits
from veridical.models.dose_predictor import DosePredictor, mirrored, predicted
from veridical.phantoms.neck import neck
from veridical.types import Array, Geometry, Image


@pytest.fixture(scope="module")
def anatomy() -> PlanAnatomy:
    return DoseGrid.of(neck((8.0, 8.0, 6.0), (-6.0, 0.0, 0.0))).anatomy


@pytest.fixture(scope="module")
def seen(anatomy: PlanAnatomy) -> Array:
    return features(anatomy)


def test_it_keeps_the_promises_of_a_model(tmp_path: Path) -> None:
    testing.check_model(DosePredictor(plans.weights(tmp_path)))


def test_features_are_about_1_in_size_and_0_where_no_dose_may_be(
    seen: Array, anatomy: PlanAnatomy
) -> None:
    assert seen.shape == (len(CHANNELS), *anatomy.ct.shape)
    assert not seen[:, ~anatomy.inside].any()
    assert np.abs(seen).max((1, 2, 3)).min() > 0.3
    assert np.abs(seen).max() < 3


def test_optimized_doses_cover_targets_and_spare_the_cord(
    seen: Array, anatomy: PlanAnatomy
) -> None:
    gentle, strict = UNIT * seen[:2]
    target = anatomy.mask("PTV70")
    cord = anatomy.mask("SpinalCord") & ~anatomy.mask("PTV56", "PTV70")
    for dose in (gentle, strict):
        assert dose[target].mean() == pytest.approx(70, abs=5)
        assert dose[cord].mean() < 30


def test_features_of_a_mirrored_patient_are_the_mirrored_features(
    seen: Array, anatomy: PlanAnatomy
) -> None:
    other = {
        name.replace("Right", "?").replace("Left", "Right").replace("?", "Left"): mask[::-1]
        for name, mask in anatomy.structures.items()
    }
    flipped = PlanAnatomy(
        anatomy.ct[::-1].copy(), other, anatomy.inside[::-1].copy(), anatomy.spacing
    )
    assert [MIRRORED[place] for place in MIRRORED] == list(range(len(CHANNELS)))
    difference = np.abs(features(flipped) - mirrored(seen))
    assert difference.max((1, 2, 3)).max() < 0.06, "but for rounding of rays"
    assert np.quantile(difference, 0.99) < 0.01


def test_a_mirrored_patient_gets_the_mirrored_dose(seen: Array) -> None:
    torch.manual_seed(1)
    net = DosePredictor.build(plans.NET).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    dose, scale = predicted(net, seen)
    other, same = predicted(net, mirrored(seen))
    assert np.allclose(other[::-1], dose, atol=0.3), "of 70 Gy, in half precision"
    assert np.allclose(same[::-1], scale, atol=0.3)
    assert dose.max() > 1


def test_a_volume_comes_back_to_the_grid_of_the_image() -> None:
    image = neck((2.0, 2.0, 4.0))
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = image.geometry.shape[0] - 1
    placed = Geometry(image.geometry.shape, image.geometry.affine @ flip)
    one = replace(image, data=image.data[:, ::-1], geometry=placed)
    grid = DoseGrid.of(one)
    assert not fits(grid.spacing)
    assert fits(grid.anatomy.spacing)
    lines = np.meshgrid(*map(np.arange, grid.anatomy.ct.shape), indexing="ij")
    ramp = sum(float(size) * line for size, line in zip(grid.anatomy.spacing, lines, strict=True))
    back = turned(grid.restored(np.asarray(ramp)), placed)
    inside = body_of(turned(one["CT"], placed))
    assert not back[~inside].any()
    steps = np.diff(back, axis=0)[inside[1:] & inside[:-1]]
    assert np.median(steps) == pytest.approx(2.0, abs=0.01), "a mm of the ramp is a mm"


def test_turning_to_the_patient_and_back_changes_nothing() -> None:
    data = np.random.default_rng(0).random((3, 4, 5))
    affine = np.array([[0, 0, -2.0, 0], [3.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])
    grid = Geometry((3, 4, 5), affine)
    assert np.array_equal(turned_back(turned(data, grid), grid), data)
    assert turned(data, grid).shape == (5, 3, 4)


def test_structures_are_found_by_usual_names_and_by_what_is_said() -> None:
    known = (
        "Brain Stem",
        "Spinal_Cord",
        "Parotid_R",
        "Lt Parotid",
        "PTV_7000",
        "ptv 56Gy",
        "Myelon",
    )
    assert named(known, {}) == {
        "Brainstem": "Brain Stem",
        "SpinalCord": "Spinal_Cord",
        "RightParotid": "Parotid_R",
        "LeftParotid": "Lt Parotid",
        "PTV56": "ptv 56Gy",
        "PTV70": "PTV_7000",
    }
    assert named(known, {"SpinalCord": "Myelon"})["SpinalCord"] == "Myelon"
    for said, match in (({"Cord": "Myelon"}, "No structure"), ({"Larynx": "Voice"}, "There is no")):
        with pytest.raises(InputError, match=match):
            named(known, said)


def test_without_a_target_there_is_nothing_to_plan() -> None:
    image = plans.patient()
    with pytest.raises(InputError, match="No target is outlined"):
        PlanAnatomy.of(
            Image(image.data[:3], image.geometry, "mixed", image.channels[:3], dict(image.header))
        )
