"""Harmonize: a rising curve takes one intensity style to another; order, zero and content stay, and
a style must be given.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import veridical
from priors import volume, weights
from veridical.errors import InputError, SettingError
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.preprocessing.style import curve, style_of
from veridical.tasks.harmonize import Harmonize, style
from veridical.types import Array, Image, Result

STYLE = (0.2, 0.35, 0.5, 0.6, 0.7, 0.8)


def patient(contrast: float = 40.0) -> Image:
    """A body with a dark part of 5 % that is marked as a lesion."""
    plain = volume(("T1w",), (32, 36, 8))
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in plain.data.shape[1:]], indexing="ij")
    lesion: Array = (x - 0.2) ** 2 + y**2 < 0.06
    data = np.where(lesion & (plain.data[0] > 0), contrast, plain.data[0])
    data = np.where((x + 0.3) ** 2 + y**2 < 0.1, np.minimum(data, 70.0), data)
    image = Image(data[None].astype(np.float32), plain.geometry, "a.u.", ("T1w",))
    mask = (lesion & (data > 0)).astype(np.uint8)
    return Image.stack([image, Image(mask[None], plain.geometry, "label", ("lesions",))])


def harmonized(subject: Image, wanted: tuple[float, ...] = STYLE) -> Result:
    return Harmonize(style=wanted)(subject)


def verdicts(result: Result) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in result.findings}


def test_the_result_has_the_style_asked_for_and_the_units_grid_and_name_of_the_image() -> None:
    image = patient().channel("T1w")
    result = harmonized(image)
    scale = Preprocessing()(image).scales["T1w"]
    shown = Preprocessing()(image).cut(result.image["T1w"]) / scale
    np.testing.assert_allclose(style_of(shown, "T1w")[1:], STYLE[1:], atol=0.05)
    assert (result.image.channels, result.image.units) == (("T1w",), "a.u.")
    assert result.image.geometry == image.geometry
    assert result.kind == "point estimate"
    assert set(result.absent) == {"draws", "interval", "evidence"}
    assert result.steps[0].model == "intensity-curve"


def test_order_and_zero_stay_and_the_own_style_changes_nothing() -> None:
    image = patient().channel("T1w")
    before, after = image["T1w"], harmonized(image).image["T1w"]
    order = np.argsort(before, axis=None)
    assert (np.diff(after.ravel()[order]) >= -1e-3).all()
    assert (after[before == 0] == 0).all()
    own = style([image])
    np.testing.assert_allclose(harmonized(image, own).image["T1w"], before, rtol=2e-3, atol=0.2)


def test_a_curve_takes_each_quantile_to_that_asked_for_and_goes_on_beyond_its_ends() -> None:
    own = np.array([0.1, 0.2, 0.35, 0.5, 0.8, 0.9])
    np.testing.assert_allclose(curve(own, own, np.array(STYLE)), STYLE, atol=1e-3)
    ends = curve(np.array([-0.3, 0.0, 5.0, 6.0]), own, np.array(STYLE))
    assert ends[:2].tolist() == pytest.approx([-0.3, 0.0])
    assert ends[3] - ends[2] == pytest.approx(1.0)
    falling = curve(np.linspace(0, 1, 50), own, np.array([0.3, 0.2, 0.5, 0.4, 0.6, 0.7]))
    assert (np.diff(falling) >= -1e-6).all()


def test_the_same_patient_in_another_style_keeps_volumes_and_lesions() -> None:
    """Contrast in numbers is another by more than a fifth, which is no loss of content."""
    subject = patient()
    result = harmonized(subject, (0.02, 0.3, 0.36, 0.4, 0.42, 0.44))
    assert verdicts(result)["biology"] == "pass"
    assert verdicts(result)["pathology"] == "pass"
    before, after = subject["T1w"], result.image["T1w"]
    lesion, body = subject["lesions"] > 0, before > 75
    ratio = (after[body].mean() - after[lesion].mean()) / (
        before[body].mean() - before[lesion].mean()
    )
    assert abs(ratio - 1) > 0.2


def test_the_style_of_images_is_free_of_their_units_and_follows_their_curve() -> None:
    image = volume(("T1w",))
    assert veridical.style([replace(image, data=7 * image.data)]) == pytest.approx(
        veridical.style([image]), abs=2e-4
    )
    wide, narrow = (
        np.ptp(veridical.style([replace(image, data=image.data**p)])[2:-1]) for p in (3.0, 0.5)
    )
    assert wide > 2 * narrow
    two = style([image, patient().channel("T1w")])
    apart = [style([image]), style([patient().channel("T1w")])]
    assert two == pytest.approx(tuple(np.mean(apart, 0)), abs=1e-4)


def test_an_image_shifted_below_zero_is_harmonized_as_the_same_image_and_stays_shifted() -> None:
    image = patient().channel("T1w")
    shifted = replace(image, data=image.data - 60)
    plain, moved = (harmonized(each).image["T1w"] for each in (image, shifted))
    np.testing.assert_allclose(moved + 60, plain, atol=2.0)


def test_a_style_must_be_given_and_rise() -> None:
    with pytest.raises(SettingError, match=r"Which style is wanted.*veridical style IMAGES"):
        Harmonize()(patient())
    for wrong in ((0.5, 0.4, 0.3, 0.2, 0.1, 0.0), (0.1, 0.2, 0.3)):
        with pytest.raises(SettingError, match="6 numbers that do not fall"):
            Harmonize(style=wrong)
    with pytest.raises(InputError, match="one or more images"):
        veridical.style([])
    with pytest.raises(InputError, match="one channel each"):
        veridical.style([volume()])


def test_absolute_units_complex_numbers_and_holes_are_refused() -> None:
    image = volume(("T1w",))
    hole = image.data.copy()
    hole[0, 5, 5, 2] = np.inf
    for wrong, said in (
        (volume(("CT",)), "absolute units"),
        (replace(image, data=hole), "NaN or infinite"),
        (replace(image, data=image.data.astype(np.complex64)), "complex"),
    ):
        with pytest.raises(InputError, match=said):
            harmonized(wrong)


def test_the_generator_starts_from_the_curve_has_samples_and_keeps_grid_and_units(
    tmp_path: Path,
) -> None:
    name = weights(tmp_path)
    card = Path(name).with_suffix(".json")
    known = json.loads(card.read_text(encoding="utf-8"))
    known["data"] = {**known.get("data", {}), "jobs": {"restyle": 0.1}}
    card.write_text(json.dumps(known), encoding="utf-8")
    image = patient().channel("T1w")
    task = Harmonize(style=STYLE, model="generator", draws=2, steps=1, weights=name)
    result = task(image, seed=1)
    assert (result.image.channels, result.image.units) == (("T1w",), "a.u.")
    assert result.image.geometry == image.geometry
    assert result.draws is not None
    assert len(result.draws) == 2
    assert result.facts["harmonized"] == "T1w"
    assert result.steps[0].model == "generator"
    curved = harmonized(image).image["T1w"]
    assert np.corrcoef(result.image["T1w"].ravel(), curved.ravel())[0, 1] > 0.9
    np.testing.assert_array_equal(task(image, seed=1).image.data, result.image.data)


def test_weights_that_never_saw_two_scanners_are_refused(tmp_path: Path) -> None:
    task = Harmonize(style=STYLE, model="generator", weights=weights(tmp_path))
    with pytest.raises(SettingError, match="not trained to harmonize"):
        task(patient())
