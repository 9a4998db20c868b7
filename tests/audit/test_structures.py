"""Structures: their contrast, where two images differ by one, and whether samples have them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from veridical.audit.structures import (
    contrast,
    differences,
    peaks,
    probabilities,
    probability,
)
from veridical.types import Array

SHAPE = (96, 80, 2)
SPACING = (1.0, 1.0, 4.0)


def anatomy(seed: int = 0) -> Array:
    """An ellipse with texture of several sizes."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    texture = sum(
        s * ndimage.gaussian_filter(rng.standard_normal(SHAPE), (s, s, 0)) for s in (2.0, 4.0)
    )
    return np.asarray((x**2 + y**2 < 0.8) * (100 + 12 * texture), np.float32)


def lesion(place: tuple[int, int, int], size: float, height: float) -> Array:
    x, y, z = np.indices(SHAPE)
    distance = np.hypot(x - place[0], y - place[1])
    return np.asarray(
        height * np.exp(-0.5 * (distance * 2.3548 / size) ** 2) * (z == place[2]), np.float32
    )


@pytest.mark.parametrize("size", [4.0, 8.0])
def test_a_gaussian_of_the_size_has_its_height_as_contrast(size: float) -> None:
    y, x = np.indices((64, 64))
    blob = 7 * np.exp(-0.5 * (np.hypot(y - 32, x - 32) * 2.3548 / size) ** 2)
    assert contrast(blob, size, (1, 1))[32, 32] == pytest.approx(7, rel=0.03)
    assert contrast(np.full((64, 64), 7.0), size, (1, 1))[32, 32] == pytest.approx(0, abs=1e-5)


def test_the_width_is_in_mm() -> None:
    y, x = np.indices((64, 64))
    blob = np.exp(-0.5 * (np.hypot((y - 32) * 2.0, x - 32) * 2.3548 / 12) ** 2)
    assert contrast(blob, 12, (2, 1))[32, 32] == pytest.approx(1, rel=0.03)


def test_peaks_are_highest_first_and_apart() -> None:
    score = np.zeros((32, 32))
    score[5, 5], score[5, 6], score[20, 20] = 3, 2, 4
    assert peaks(score, (3, 3), 0.5) == [(20, 20), (5, 5)]


@pytest.mark.parametrize("height", [30.0, -30.0])
def test_an_added_lesion_is_the_first_difference_and_nothing_else_comes_near(height: float) -> None:
    truth, rng = anatomy(), np.random.default_rng(1)
    image = 3.0 * (truth + lesion((40, 50, 1), 6, height) + rng.normal(0, 1, SHAPE))
    found = differences(image, truth, SPACING)
    assert np.abs(np.subtract(found[0].place, (40, 50, 1))).max() <= 2
    assert found[0].score > 20
    assert np.sign(found[0].contrast) == np.sign(height)
    assert all(one.score < 10 for one in found[1:])


@pytest.mark.parametrize("change", ["noise", "blur", "gamma", "scale"])
def test_changes_everywhere_are_no_structure(change: str) -> None:
    scores = []
    for seed in range(5):
        truth, rng = anatomy(seed), np.random.default_rng(seed)
        image = {
            "noise": truth + rng.normal(0, 15, SHAPE),
            "blur": ndimage.gaussian_filter(truth, (1.5, 1.5, 0)),
            "gamma": 100 * (np.maximum(truth, 0) / 100) ** 0.7,
            "scale": 5 * truth,
        }[change]
        found = differences(image, truth, SPACING)
        scores += [one.score for one in found]
    assert max(scores, default=0) < 10


def test_samples_that_have_a_structure_say_so_and_others_do_not() -> None:
    rng = np.random.default_rng(2)
    plain = anatomy()
    estimate = plain + lesion((40, 50, 1), 8, 60)
    noise = np.stack([ndimage.gaussian_filter(rng.normal(0, 20, SHAPE), 1) for _ in range(8)])
    here = [
        one
        for draws in (estimate + noise, plain + noise)
        for one in probabilities(estimate, draws, SPACING)
        if np.abs(np.subtract(one.place, (40, 50, 1))).max() <= 2
    ]
    assert [one.score > 0.9 for one in here] == [True, False]
    assert here[1].score < 0.1


def test_the_probability_is_right_for_normal_samples() -> None:
    rng, held, said = np.random.default_rng(3), [], []
    for _ in range(4000):
        drawn = rng.normal(0, 1, 9)  # eight samples and the truth, of one distribution
        said.append(probability(1.0, drawn[:8] + 0.7))
        held.append(drawn[8] + 0.7 >= 0.5)
    assert np.mean(said) == pytest.approx(np.mean(held), abs=0.03)
