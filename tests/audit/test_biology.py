"""Biology: an intensity style is no change of it; tissue that grows or shrinks is, in the class
where it does.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from veridical.audit.biology import biology, same_style, thresholds, tissue_volumes
from veridical.errors import InputError
from veridical.types import Array, Geometry, Image, Result, Study

SHAPE = (40, 40, 12)


def brain(ventricle: float = 0.3, noise: float = 0.01, seed: int = 0) -> tuple[Array, Array]:
    """A ball of white matter in a shell of grey with fluid of a radius in its middle; where it
    is.
    """
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    radius = np.sqrt(x**2 + y**2 + 0.3 * z**2)
    image = np.select([radius < ventricle, radius < 0.7, radius < 0.9], [0.2, 0.8, 0.5], 0.0)
    return image + noise * np.random.default_rng(seed).standard_normal(SHAPE), radius < 0.9


@pytest.mark.parametrize(
    "curve", [lambda i: 300 * i, np.exp, lambda i: i**3, lambda i: 1 / (1 + np.exp(9 * (0.4 - i)))]
)
def test_a_rising_intensity_curve_changes_no_volume(curve: object) -> None:
    image, body = brain()
    finding = tissue_volumes(image, curve(image), body)  # type: ignore[operator]
    assert finding.verdict == "pass"
    assert np.abs(finding.evidence["change"]).max() < 0.01


def test_noise_that_goes_changes_no_volume() -> None:
    image, body = brain(noise=0.03)
    assert tissue_volumes(image, brain(noise=0.0)[0], body).verdict == "pass"


@pytest.mark.parametrize(("ventricle", "verdict"), [(0.31, "warn"), (0.25, "fail"), (0.36, "fail")])
def test_fluid_that_shrinks_or_grows_is_found_in_the_dark_class_by_its_amount(
    ventricle: float, verdict: str
) -> None:
    (image, body), (changed, _) = brain(), brain(ventricle, seed=1)
    before, after = ((brain(v, 0.0)[0][body] < 0.35).mean() for v in (0.3, ventricle))
    finding = tissue_volumes(image, changed**2 / 3, body)
    assert finding.verdict == verdict
    assert "dark" in finding.reason
    assert finding.evidence["change"][0] == pytest.approx(after / before - 1, abs=0.01)


def test_small_fluid_that_vanishes_fails_though_it_is_a_small_share_of_the_body() -> None:
    (image, body), (gone, _) = brain(0.2), brain(0.0)
    assert tissue_volumes(image, gone, body).evidence["before"][0] < 0.05
    assert tissue_volumes(image, gone, body).verdict == "fail"


def test_shares_add_up_to_the_body() -> None:
    image, body = brain()
    finding = tissue_volumes(image, ndimage.gaussian_filter(image, 1), body)
    assert sum(finding.evidence["before"]) == pytest.approx(1)
    assert sum(finding.evidence["after"]) == pytest.approx(1)


def test_the_same_style_undoes_any_rising_curve_and_no_falling_one() -> None:
    image, body = brain()
    np.testing.assert_allclose(
        same_style(np.exp(3 * image), image, body)[body], image[body], atol=0.02
    )
    inverted = same_style(-image, image, body)[body]
    assert inverted.std() < 0.05 * image[body].std()


def test_the_same_style_brings_back_no_detail_that_was_lost() -> None:
    image, body = brain()
    hidden = image.copy()
    hidden[18:22, 8:10, 4:8] = 0.8
    lesion = same_style(image**2, hidden, body)[18:22, 8:10, 4:8]
    assert abs(lesion.mean() - image[18:22, 8:10, 4:8].mean()) < 0.02


def test_thresholds_part_clusters_where_they_are_halfway() -> None:
    values = np.repeat([1.0, 2.0, 4.0], [50, 80, 70])
    np.testing.assert_allclose(thresholds(values), [1.5, 3.0])


def test_other_shapes_and_too_little_body_are_refused() -> None:
    image, body = brain()
    with pytest.raises(InputError, match="expected one shape"):
        tissue_volumes(image, image[:-1], body)
    with pytest.raises(InputError, match="at least 100"):
        tissue_volumes(image, image, np.zeros(SHAPE, bool))


def harmonized(after: Array, **facts: object) -> Result:
    image = Image(after[None], Geometry.index(SHAPE), "a.u.", ("T1w",))
    return Result(image, "posterior mean", facts={"harmonized": "T1w", **facts})


def study(image: Array) -> Study:
    return Study.of(Image(image[None], Geometry.index(SHAPE), "a.u.", ("T1w",)))


def test_a_harmonized_channel_is_judged_against_what_went_in() -> None:
    (image, body), (grown, _) = brain(noise=0.0), brain(0.36, 0.0)
    kept, changed = (
        biology(study(image), harmonized(np.exp(i), body=body)) for i in (image, grown)
    )
    assert kept is not None
    assert changed is not None
    assert (kept.check, kept.verdict, changed.verdict) == ("biology", "pass", "fail")


def test_it_does_not_apply_where_no_style_was_changed_and_is_not_run_without_an_object() -> None:
    image, _ = brain()
    plain = Result(Image(image[None], Geometry.index(SHAPE), "a.u.", ("T1w",)), "point estimate")
    assert biology(study(image), plain) is None
    empty = biology(study(image), harmonized(image, body=np.zeros(SHAPE, bool)))
    assert empty is not None
    assert empty.verdict == "not_run"
