"""Completion: which contrasts are made from which, all companions, lesions, the same bytes, and
what is refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toys
from priors import HEAD, volume, weights
from veridical.errors import InputError, SettingError
from veridical.models.generator import CONDITIONS
from veridical.tasks.complete import Complete, attributes, without_lesions
from veridical.types import Geometry, Image, Result, Study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def path(folder: Path) -> str:
    return weights(folder, jobs=("complete-FLAIR",))


def complete(path: str, **settings: object) -> Complete:
    return Complete(weights=path, draws=2, steps=2, device="cpu", **settings)  # type: ignore[arg-type]


def reason(result: Result, check: str) -> str:
    return next(finding.reason for finding in result.findings if finding.check == check)


def test_flair_is_made_when_nothing_is_asked_for_else_the_first_that_is_missing() -> None:
    task = Complete()
    assert task.wanted(("T1w",), HEAD) == ("FLAIR",)
    assert task.wanted(("T1w", "FLAIR"), HEAD) == ("T2w",)
    assert Complete(to="T2w, PD").wanted(("T1w",), HEAD) == ("T2w", "PD")


@pytest.mark.parametrize(
    ("to", "given", "error", "words"),
    [
        ("FLAR", ("T1w",), SettingError, "Did you mean 'FLAIR'"),
        ("T1w", ("T1w",), InputError, "measured already"),
        ("", HEAD, InputError, "nothing to make"),
    ],
)
def test_what_cannot_be_made_is_refused(
    to: str, given: tuple[str, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Complete(to=to).wanted(given, HEAD)


@pytest.mark.parametrize(
    ("to", "names", "taken", "made"),
    [
        ("FLAIR", ("T1w", "T2w", "bold"), ("T1w", "T2w"), ("FLAIR",)),
        ("FLAIR", ("T1w", "FLAIR"), (), ()),
        ("FLAIR,T2w", ("T1w", "T2w"), ("T1w",), ("FLAIR",)),
        ("", ("T1w", "FLAIR"), ("T1w", "FLAIR"), ("T2w",)),
        ("FLAIR", ("bold",), (), ("FLAIR",)),
    ],
)
def test_of_a_visit_it_makes_what_is_not_there_from_what_it_knows(
    path: str, to: str, names: tuple[str, ...], taken: tuple[str, ...], made: tuple[str, ...]
) -> None:
    task, images, channels = complete(path, to=to).of_visit(names)
    assert (images, channels) == (taken, made)
    assert isinstance(task, Complete)
    assert task.to == ",".join(made)


def test_several_contrasts_are_made_at_once_with_all_companions(path: str) -> None:
    found = complete(path, to="FLAIR,PD")(volume(), seed=1)
    assert found.image.channels == ("FLAIR", "PD")
    assert found.image.units == "a.u."
    assert found.draws is not None
    assert found.draws.shape == (2, *found.image.data.shape)
    assert found.evidence is not None
    assert found.interval is None  # PD is not calibrated
    assert "complete-PD" in found.absent["interval"]
    assert complete(path)(volume()).interval is not None


def test_the_same_seed_gives_the_same_bytes_and_what_a_sampler_is_not_asked_for_is_not_needed(
    path: str,
) -> None:
    first, again, other = (
        complete(path)(volume(), seed=seed).steps[0].outputs for seed in (1, 1, 2)
    )
    assert first == again
    assert first["estimate"] != other["estimate"]


def test_the_scale_of_what_was_measured_does_not_change_what_is_made(path: str) -> None:
    image = volume()
    scaled = replace(
        image, data=image.data * np.array([1e-3, 1e4], np.float32)[:, None, None, None]
    )
    first, other = (complete(path)(each, seed=1).image.data for each in (image, scaled))
    np.testing.assert_allclose(other, first, atol=1e-3)


def marked(image: Image) -> Image:
    mask = np.zeros((1, *image.geometry.shape), np.float32)
    mask[0, 10:14, 12:16, 2:4] = 1
    return Image.stack([image, Image(mask, image.geometry, "label", ("lesions",))])


def test_marked_lesions_are_for_checks_where_the_generator_does_not_depend_on_them(
    path: str,
) -> None:
    plain, checked = (complete(path)(each, seed=1) for each in (volume(), marked(volume())))
    np.testing.assert_array_equal(checked.image.data, plain.image.data)
    assert "lesions" in reason(checked, "pathology")
    assert reason(checked, "pathology") != reason(plain, "pathology")


def test_marked_lesions_reach_a_generator_that_depends_on_them(folder: Path) -> None:
    masked = weights(folder, name="masked", conditions=[*CONDITIONS, "mask"])
    plain, checked = (complete(masked)(each, seed=1) for each in (volume(), marked(volume())))
    assert (checked.image.data != plain.image.data).any()


def test_the_map_of_lesions_is_taken_out_of_an_image_and_alone_it_is_refused() -> None:
    image = marked(volume())
    rest, found = without_lesions(image)
    assert rest.channels == ("T1w", "T2w")
    assert found is not None
    assert found.sum() == image["lesions"].sum()
    assert without_lesions(rest) == (rest, None)
    with pytest.raises(InputError, match="lesions only"):
        without_lesions(image.channel("lesions"))


def test_field_and_covariates_that_are_numbers_are_told(path: str) -> None:
    image = volume(field=1.5)
    study = Study(
        "p", {0.0: {"T1w": image.channel("T1w")}}, {"age": 60, "sex": "F", "weight": 70.5}
    )
    assert attributes(image, study) == {"field": 1.5, "age": 60, "weight": 70.5}
    weak, strong = (complete(path)(volume(field=tesla), seed=1).image.data for tesla in (0.5, 7.0))
    assert (weak != strong).any()


def test_the_intensity_map_gives_a_point_estimate_and_says_that_it_has_no_draws(path: str) -> None:
    found = Complete(model="intensity-map", weights=path)(volume())
    assert found.kind == "point estimate"
    assert set(found.absent) == {"draws", "interval", "evidence"}
    assert "a sampler (denoiser, generator) has draws" in found.absent["draws"]
    assert found.steps[0].model == "intensity-map"
    inside = volume()["T1w"] > 0
    made, given = found.image["FLAIR"], volume()["T1w"]
    assert np.corrcoef(made[inside], given[inside])[0, 1] == pytest.approx(1.0), (
        "the map is the contrast itself"
    )


def test_a_regression_gives_a_point_estimate(folder: Path) -> None:
    found = complete(weights(folder, family="regression"))(volume())
    assert found.kind == "point estimate"
    assert found.draws is None


def test_images_standardized_to_mean_0_are_taken_and_those_standardized_within_a_mask_refused(
    path: str,
) -> None:
    image = volume()
    data = image.data
    mean, deviation = data.mean((1, 2, 3), keepdims=True), data.std((1, 2, 3), keepdims=True)
    plain, moved = (
        complete(path)(replace(image, data=d), seed=1).image
        for d in (data, (data - mean) / deviation)
    )
    np.testing.assert_allclose(moved.data, plain.data, atol=0.05 * np.ptp(plain.data))
    inside = data > 0
    with pytest.raises(InputError, match="standardized within a mask"):
        complete(path)(
            replace(
                image, data=np.where(inside, (data - data[inside].mean()) / data[inside].std(), 0)
            )
        )


def test_raw_data_and_what_no_network_was_made_for_are_refused(path: str) -> None:
    with pytest.raises(InputError, match="Reconstruct them first"):
        complete(path)(toys.measurement())
    image = volume(("T1w",))
    hole = image.data.copy()
    hole[0, 5, 5, 2] = np.nan
    for wrong, said in (
        (replace(image, channels=("scan",)), "generator knows T1w, .*; the image has 'scan'"),
        (replace(image, data=0 * image.data), "shows nothing"),
        (replace(image, data=hole), "NaN"),
        (replace(image, data=image.data.astype(np.complex64)), "complex"),
    ):
        with pytest.raises(InputError, match=said):
            complete(path)(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"draws": 0},
        {"estimate": "median"},
        {"model": "cg-sense"},
        {"model": "genrator"},
        {"steps": 0},
    ],
)
def test_settings_out_of_range_are_refused(path: str, wrong: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        Complete(**{"weights": path, **wrong})(volume())  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(9, 7, 1), (8, 8, 2), (17, 5, 3)])
def test_any_size_of_volume_is_taken(path: str, shape: tuple[int, int, int]) -> None:
    data = np.random.default_rng(0).uniform(50, 100, (1, *shape)).astype(np.float32)
    found = complete(path)(Image(data, Geometry(shape, np.eye(4)), "a.u.", ("T1w",)))
    assert found.image.data.shape == (1, *shape)
