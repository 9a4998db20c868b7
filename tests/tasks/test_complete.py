"""Completion: which contrasts are made from which, lesions for checks only, the same bytes, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toys
from priors import HEAD, volume, weights
from veridical.errors import InputError, SettingError
from veridical.models.brain_prior import BrainPrior
from veridical.models.regressor import Regressor
from veridical.tasks.complete import Complete, without_lesions
from veridical.types import Geometry, Image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def path(folder: Path) -> str:
    return weights(BrainPrior, folder, jobs=("complete-FLAIR",))


def complete(path: str, **settings: object) -> Complete:
    return Complete(weights=path, draws=2, steps=2, device="cpu", **settings)  # type: ignore[arg-type]


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
def test_what_cannot_be_made_is_refused(to: str, given: tuple[str, ...], error: type[Exception], words: str) -> None:
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


def test_the_same_seed_gives_the_same_bytes_and_what_a_sampler_is_not_asked_for_is_not_needed(path: str) -> None:
    first, again, other = (complete(path)(volume(), seed=seed).steps[0].outputs for seed in (1, 1, 2))
    assert first == again
    assert first["estimate"] != other["estimate"]


def test_the_scale_of_what_was_measured_does_not_change_what_is_made(path: str) -> None:
    image = volume()
    scaled = replace(image, data=image.data * np.array([1e-3, 1e4], np.float32)[:, None, None, None])
    first, other = (complete(path)(each, seed=1).image.data for each in (image, scaled))
    np.testing.assert_allclose(other, first, atol=1e-3)


def test_lesions_are_for_checks_and_do_not_reach_the_network(path: str) -> None:
    image = volume()
    mask = np.zeros((1, *image.geometry.shape), np.float32)
    mask[0, 10:14, 12:16, 2:4] = 1
    marked = Image(np.concatenate([image.data, mask]), image.geometry, "a.u.", (*image.channels, "lesions"))
    plain, checked = (complete(path)(each, seed=1) for each in (image, marked))
    np.testing.assert_array_equal(checked.image.data, plain.image.data)
    reasons = [next(f.reason for f in done.findings if f.check == "pathology") for done in (plain, checked)]
    assert "marked lesions" in reasons[1]
    assert "marked lesions" not in reasons[0]
    rest, found = without_lesions(marked)
    assert rest.channels == image.channels
    assert found is not None
    assert found.sum() == mask.sum()
    with pytest.raises(InputError, match="lesions only"):
        without_lesions(Image(mask, image.geometry, "label", ("lesions",)))


def test_a_regressor_gives_a_point_estimate_and_says_that_it_has_no_draws(folder: Path) -> None:
    found = Complete(model="regressor", weights=weights(Regressor, folder))(volume())
    assert found.kind == "point estimate"
    assert "ask a sampler" in found.absent["draws"]


def test_raw_data_and_channels_that_nobody_knows_are_refused(path: str) -> None:
    with pytest.raises(InputError, match="Reconstruct raw data first"):
        complete(path)(toys.measurement())
    image = volume(("T1w",))
    with pytest.raises(InputError, match="knows the channels"):
        complete(path)(replace(image, channels=("scan",)))
    with pytest.raises(InputError, match="shows nothing"):
        complete(path)(replace(image, data=0 * image.data))
    for wrong in ({"draws": 0}, {"estimate": "median"}):
        with pytest.raises(SettingError):
            Complete(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(9, 7, 1), (8, 8, 2), (17, 5, 3)])
def test_any_size_of_volume_is_taken(path: str, shape: tuple[int, int, int]) -> None:
    data = np.random.default_rng(0).uniform(50, 100, (1, *shape)).astype(np.float32)
    found = complete(path)(Image(data, Geometry(shape, np.eye(4)), "a.u.", ("T1w",)))
    assert found.image.data.shape == (1, *shape)
