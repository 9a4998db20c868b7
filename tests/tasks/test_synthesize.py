"""Laws of synthesis: labels follow the map that was given, paired images show one anatomy, the same
seed gives the same bytes, what is asked for is what comes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from label_balls import ball
from veridical.errors import BudgetError, InputError, SettingError
from veridical.phantoms.head_labels import LABELS, LESIONS
from veridical.phantoms.label_maps import structure
from veridical.tasks.synthesize import Synthesize
from veridical.types import Geometry, Image, Result

COARSE = 8.0


@cache
def made(seed: int = 0, **settings: Any) -> Result:
    return Synthesize(**{"spacing": COARSE, "contrasts": "T1w", **settings})(seed=seed)


def labels(result: Result) -> np.ndarray:
    return np.asarray(result.also["labels"].image.data[0])


def about(result: Result) -> dict[str, Any]:
    return dict(result.image.header["synthetic"])


@cache
def mask() -> Image:
    """The ball on a grid of its own, in our numbers, as a reader gives it."""
    grid = ball().geometry
    affine = np.asarray(grid.affine) @ np.diag([1.0, -1.0, 1.5, 1.0])
    data = ball().labels[None].astype(np.float32)
    return Image(data, Geometry(grid.shape, affine, "mni"), "label", ("structures",))


def test_the_same_seed_and_number_give_the_same_bytes_and_others_another_patient() -> None:
    first = made()
    again = Synthesize(spacing=COARSE, contrasts="T1w")(seed=0)
    assert first.steps[-1].outputs == again.steps[-1].outputs
    assert "labels/estimate" in first.steps[-1].outputs
    for other in (made(1), made(number=2)):
        assert (labels(other) != labels(first)).mean() > 0.03


def test_an_image_does_not_depend_on_which_others_are_made() -> None:
    both = made(contrasts="CT,T1w")
    np.testing.assert_array_equal(both.image["T1w"], made().image["T1w"])
    np.testing.assert_array_equal(labels(both), labels(made()))


def test_one_wish_does_not_change_the_rest() -> None:
    usual, younger = made(), made(age=25.0)
    assert about(younger)["age"] == 25
    for name in ("sex", "site", "pathology"):
        assert about(younger)[name] == about(usual)[name]


def test_paired_images_show_one_anatomy_in_their_own_units() -> None:
    result = made(contrasts="T1w,T2w,CT,PET", pathology="none", spacing=4.0)
    assert [result.image.units_of(c) for c in result.image.channels] == [
        "a.u.",
        "a.u.",
        "HU",
        "SUV",
    ]
    where = labels(result)
    fluid, white = where == structure("lateral ventricle"), where == structure("white matter")
    means = {c: [result.image[c][w].mean() for w in (fluid, white)] for c in result.image.channels}
    assert means["T1w"][0] < means["T1w"][1]
    assert means["T2w"][0] > means["T2w"][1]
    assert means["CT"][0] < means["CT"][1]
    bone = result.image["CT"][where == structure("compact bone")]
    assert np.median(bone) > 400
    assert result.image["CT"][where == 0].mean() < -900


def test_nothing_is_measured_and_the_result_says_so() -> None:
    result = made()
    assert result.evidence is None
    assert "evidence is 0" in result.absent["evidence"]
    verdicts = {finding.check: finding.verdict for finding in result.findings}
    assert verdicts["memorization"] == "pass"
    assert verdicts["consistency"] == "not_run"
    assert result.steps[-1].inputs == {}
    assert result.steps[-1].model == "head-shapes"


def test_labels_follow_the_map_that_was_given_voxel_by_voxel() -> None:
    result = Synthesize(contrasts="T2w", numbering="veridical")(mask())
    np.testing.assert_array_equal(labels(result), ball().labels)
    assert result.image.geometry == mask().geometry
    assert about(result)["anatomy"] == "label map given"
    assert about(result)["age"] is None


def test_lesions_are_added_to_a_map_only_when_asked_for() -> None:
    result = Synthesize(contrasts="FLAIR", numbering="veridical", lesion_load=1.5)(mask())
    changed = labels(result) != ball().labels
    assert set(labels(result)[changed]) == {structure("lesion")}
    assert about(result)["lesions_ml"] == pytest.approx(1.5, rel=0.1)
    image, white = result.image["FLAIR"], labels(result) == structure("white matter")
    assert image[changed].mean() > image[white].mean()


@pytest.mark.parametrize(("pathology", "load"), [("ms", 15.0), ("tumour", 40.0)])
def test_lesions_of_an_imagined_head_have_the_load_that_was_asked_for(
    pathology: str, load: float
) -> None:
    result = made(pathology=pathology, lesion_load=load, spacing=4.0)
    assert about(result)["lesions_ml"] == pytest.approx(load, rel=0.1)
    present = {LABELS[n] for n in np.unique(labels(result)) if n in LESIONS}
    assert ("lesion" in present) == (pathology == "ms")


def test_a_lesion_load_alone_makes_lesions() -> None:
    for number in (1, 2):
        assert about(made(number=number, lesion_load=12.0))["pathology"] != "none"


def test_ventricles_of_the_old_are_wider() -> None:
    young, old = (
        sum(
            about(made(number=n, age=age, pathology="none"))["lateral_ventricles_ml"]
            for n in (1, 2)
        )
        for age in (25.0, 80.0)
    )
    assert old > 1.8 * young


def test_site_and_field_are_those_that_were_asked_for() -> None:
    result = made(site="clyde", field=7.0)
    assert about(result)["site"] == "clyde"
    assert result.facts["scans"]["T1w"]["MagneticFieldStrength"] == 7
    assert (made(site="clyde").image.data != result.image.data).any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"contrasts": "T1w,FLAR"}, "FLAIR"),
        ({"contrasts": "T1w,T1w"}, "each once"),
        ({"contrasts": ""}, "one or more"),
        ({"spacing": 0.1}, "0.5 to 10 mm"),
        ({"age": 7.0}, "18 to 95"),
        ({"sex": "male "}, "'male'"),
        ({"pathology": "mss"}, "'ms'"),
        ({"field": 12.0}, "0.2 to 7"),
        ({"number": 0}, "from 1 on"),
        ({"lesion_load": 3.0, "pathology": "none"}, "exclude one another"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Synthesize(**settings)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"age": 60.0}, SettingError, "Leave --age out"),
        ({"spacing": 2.0}, SettingError, "Leave --spacing out"),
        ({"numbering": "freesurfer"}, InputError, "does not name"),
        ({"lesion_load": 900.0}, SettingError, "Ask for less"),
    ],
)
def test_what_does_not_go_with_a_label_map_is_refused(
    settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Synthesize(**{"contrasts": "T1w", "numbering": "veridical", **settings})(mask())


def test_an_image_that_is_no_label_map_is_refused() -> None:
    with pytest.raises(InputError, match="one label map"):
        Synthesize(numbering="veridical")(replace(mask(), units="a.u."))


def test_a_grid_beyond_the_memory_is_refused_before_it_is_made() -> None:
    grid = Geometry((700, 700, 700), np.eye(4))
    data = np.broadcast_to(np.uint8(2), (1, 700, 700, 700))
    with pytest.raises(BudgetError, match="larger voxels"):
        Synthesize()(Image(data, grid, "label", ("structures",)))
