"""Laws of what a generator is shown: MR varies as between scanners, absolute units do not."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.training import input_variation as module
from veridical.training.input_variation import SELDOM, shown_of, varied
from veridical.types import Array


def images(*names: str) -> dict[str, Array]:
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    body = 0.4 * (x**2 + y**2 < 0.6)
    return {name: np.stack([body] * 3).astype(np.float32) for name in names}


def test_ct_and_pet_stay_as_they_are_and_nothing_is_edited_in_place() -> None:
    given = images("T1w", "CT", "PET")
    before = {name: image.copy() for name, image in given.items()}
    rng = np.random.default_rng(0)
    for _ in range(10):
        found = varied(given, (1.0, 1.0), rng)
        assert list(found) == list(given)
        for name in ("CT", "PET"):
            np.testing.assert_array_equal(found[name], before[name])
    for name, image in given.items():
        np.testing.assert_array_equal(image, before[name])


def test_mr_is_shaded_noisy_or_blurred_as_often_as_said_and_of_its_own_shape() -> None:
    given, changed = images("T1w"), []
    for seed in range(200):
        found = varied(given, (1.0, 1.0), np.random.default_rng(seed))["T1w"]
        assert found.shape == (3, 32, 32)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        changed.append(not np.array_equal(found, given["T1w"]))
    left = (1 - module.SHADED) * (1 - module.NOISY) * (1 - module.BLURRED)
    assert np.mean(changed) == pytest.approx(1 - left, abs=0.1)


def test_the_inner_tissue_about_keeps_its_level_and_blur_stays_in_plane() -> None:
    given = images("T1w")
    levels = [
        varied(given, (1.0, 1.0), np.random.default_rng(seed))["T1w"][:, 12:20, 12:20].mean()
        for seed in range(60)
    ]
    assert np.mean(levels) == pytest.approx(0.4, rel=0.08)
    one = np.zeros((3, 32, 32), np.float32)
    one[1, 16, 16] = 1
    for seed in range(30):
        found = varied({"T1w": one}, (1.0, 1.0), np.random.default_rng(seed))["T1w"]
        assert found[[0, 2]].max() < 0.3


def test_the_same_random_numbers_give_the_same_images_and_an_empty_one_stays_empty() -> None:
    first, again = (varied(images("T2w"), (1.0, 1.0), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first["T2w"], again["T2w"])
    nothing = {"T1w": np.zeros((3, 8, 8), np.float32)}
    for seed in range(20):
        assert not varied(nothing, (1.0, 1.0), np.random.default_rng(seed))["T1w"].any()


def test_at_least_one_other_contrast_is_given_and_ct_seldom_beside_mr() -> None:
    rng = np.random.default_rng(0)
    drawn = [shown_of(("T1w", "CT", "T2w"), rng) for _ in range(600)]
    assert all(1 <= len(one) <= 3 for one in drawn)
    assert {len(one) for one in drawn} == {1, 2, 3}
    assert np.mean(["CT" in one for one in drawn]) < SELDOM
    assert any("CT" in one for one in drawn)
    assert all(shown_of(("CT",), rng) == ["CT"] for _ in range(5)), "where there is nothing else"
    assert all(len(shown_of(("T1w",), rng)) == 1 for _ in range(5))
