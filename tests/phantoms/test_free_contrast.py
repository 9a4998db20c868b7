"""Laws of images of any contrast: half the resolution, non-negative, and no sequence preferred."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import painted
from veridical.phantoms import free_contrast as module
from veridical.phantoms.free_contrast import free_contrast, scaled
from veridical.phantoms.label_maps import NAMES, structure
from veridical.types import Array

STRUCTURES = painted.maps()[0].structures


@cache
def image(seed: int) -> Array:
    return free_contrast(STRUCTURES, np.random.default_rng(seed))


def test_the_image_has_half_the_resolution_and_about_one_at_its_brightest() -> None:
    for seed in range(6):
        found = image(seed)
        assert found.shape == tuple(n // 2 for n in STRUCTURES.shape)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert np.percentile(found, 99.5) == pytest.approx(1.0, abs=0.02)


def test_the_same_random_numbers_give_the_same_image_and_others_another_contrast() -> None:
    again = free_contrast(STRUCTURES, np.random.default_rng(0))
    np.testing.assert_array_equal(image(0), again)
    coarse = STRUCTURES[::2, ::2, ::2]
    white, cortex = (coarse == structure(name) for name in ("white matter", "cortex"))
    differences = [float(image(s)[white].mean() - image(s)[cortex].mean()) for s in range(12)]
    assert min(differences) < -0.05
    assert max(differences) > 0.05, "white matter is the brighter one in some, not in others"


def test_brightness_lies_between_air_and_one_and_tissues_of_one_kind_are_mostly_alike() -> None:
    drawn = [module._brightness(np.random.default_rng(seed)) for seed in range(200)]
    mean = np.array([one[0] for one in drawn])
    deviation = np.array([one[1] for one in drawn])
    assert mean.shape == (200, len(NAMES))
    assert mean.min() >= 0
    assert mean.max() <= 1
    assert mean[:, structure("background")].max() <= 0.04
    assert deviation.max() <= module.TEXTURE
    for group in module.ALIKE:
        first, second = (mean[:, structure(name)] for name in group[:2])
        alike = np.abs(first - second) < 4 * module.APART
        assert alike.mean() > module.TOGETHER - 0.05
    dark = mean[:, structure("compact bone")] < 0.13
    assert dark.mean() == pytest.approx(module.DARK_BONE + 0.02, abs=0.1)


def test_half_of_the_images_have_slices_that_are_thicker_than_their_voxels() -> None:
    blurred = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        noise = np.random.default_rng(1).standard_normal((24, 24, 24)).astype(np.float32)
        found = module._sliced(noise, rng)
        alike = [
            np.corrcoef(found.take(range(23), a).ravel(), found.take(range(1, 24), a).ravel())[0, 1]
            for a in range(3)
        ]
        blurred.append(max(alike) > 0.3)
    assert np.mean(blurred) == pytest.approx(0.45, abs=0.2)


def test_scaling_is_by_the_brightest_voxels_and_leaves_an_empty_image_as_it_is() -> None:
    values = np.linspace(0, 50, 1001).reshape(7, 11, 13)
    found = scaled(values)
    np.testing.assert_allclose(found, values / np.percentile(values, 99.5), rtol=1e-5)
    np.testing.assert_array_equal(scaled(3 * values), found), "whatever units it has"
    assert scaled(np.array([0.0] * 999 + [1e6])).max() == 1.5
    assert not scaled(np.zeros((4, 4, 4))).any()
