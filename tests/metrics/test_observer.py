"""The channelized Hotelling observer against its closed forms in white noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from veridical.errors import GeometryError, InputError, SettingError
from veridical.metrics.observer import Detectability, dense_gaussians, detectability, laguerre_gauss

SIZE = (32, 32)
X, Y = np.meshgrid(np.arange(32) - 16, np.arange(32) - 16, indexing="ij")
SIGNAL = 0.35 * np.exp(-np.pi * (X**2 + Y**2) / 8**2)
"""In the span of the first Laguerre-Gauss channel of width 8."""
CHANNELS = laguerre_gauss(SIZE, width=8, count=5)
TRUE = float((SIGNAL**2).sum())
"""d'^2 in white noise of deviation 1."""


def trial(
    seed: int, n: int, m: int, *, amplitude: float = 1.0, blur: float = 0.0, noise: float = 0.0
) -> Detectability:
    rng = np.random.default_rng(seed)
    present, absent = rng.normal(size=(n, *SIZE)) + amplitude * SIGNAL, rng.normal(size=(m, *SIZE))
    images = [
        ndimage.gaussian_filter(g, (0, blur, blur)) + noise * rng.normal(size=g.shape)
        for g in (present, absent)
    ]
    return detectability(*images, channels=CHANNELS)


@pytest.fixture(scope="module")
def trials() -> list[Detectability]:
    return [trial(seed, 40, 30) for seed in range(150)]


def test_squared_d_is_the_energy_of_the_signal_over_the_noise_without_bias(
    trials: list[Detectability],
) -> None:
    squared = np.array([t.index**2 for t in trials])
    assert squared.mean() == pytest.approx(TRUE, abs=2.5 * squared.std() / np.sqrt(len(trials)))


def test_resubstitution_is_too_high_by_what_theory_says(trials: list[Detectability]) -> None:
    n, m, c = 40, 30, 5
    expected = (n + m - 2) / (n + m - c - 3) * (TRUE + c * (n + m) / (n * m))
    squared = np.array([t.resubstituted**2 for t in trials])
    assert squared.mean() == pytest.approx(expected, abs=2.5 * squared.std() / np.sqrt(len(trials)))


def test_the_interval_holds_the_true_value_in_95_of_100_trials(trials: list[Detectability]) -> None:
    held = np.mean([t.interval[0] <= np.sqrt(TRUE) <= t.interval[1] for t in trials])
    assert 0.90 <= held <= 0.99


def test_auc_is_that_of_two_normal_classes_d_apart(trials: list[Detectability]) -> None:
    first = trials[0]
    rng = np.random.default_rng(0)
    share = np.mean(rng.normal(first.index, 1, 200_000) > rng.normal(0, 1, 200_000))
    assert first.auc == pytest.approx(share, abs=0.004)
    assert (first.images, first.channels) == ((40, 30), 5)


def test_without_a_signal_nothing_is_detected() -> None:
    found = trial(3, 400, 400, amplitude=0)
    assert found.index < 0.2
    assert found.interval[0] == 0


def test_what_takes_information_away_lowers_d_and_what_can_be_undone_does_not() -> None:
    plain, noisy, weak = (
        trial(5, 300, 300),
        trial(5, 300, 300, noise=1.0),
        trial(5, 300, 300, amplitude=0.5),
    )
    assert noisy.index == pytest.approx(plain.index / np.sqrt(2), rel=0.12)
    assert weak.index == pytest.approx(plain.index / 2, rel=0.15)
    assert trial(5, 300, 300, blur=3.0, noise=1.0).index < noisy.index


def test_dense_gaussians_are_round_balanced_and_detect_no_more_than_the_ideal_observer() -> None:
    channels = dense_gaussians(SIZE)
    assert channels.shape == (10, *SIZE)
    np.testing.assert_allclose(channels.sum((1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(channels, channels.transpose(0, 2, 1), atol=1e-15)
    assert np.unravel_index(channels[-1].argmax(), SIZE) == (16, 16)
    whitened = np.linalg.solve(
        channels.reshape(10, -1) @ channels.reshape(10, -1).T,
        channels.reshape(10, -1) @ SIGNAL.ravel(),
    )
    seen = float(whitened @ channels.reshape(10, -1) @ SIGNAL.ravel())
    assert 0.5 * TRUE < seen < TRUE


def test_laguerre_gauss_channels_are_orthonormal_and_the_first_holds_the_signal() -> None:
    flat = laguerre_gauss((64, 64), width=12, count=6).reshape(6, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(6), atol=1e-6)
    assert ((CHANNELS[0] * SIGNAL).sum()) ** 2 == pytest.approx(TRUE, rel=1e-6)


def test_an_observer_refuses_what_does_not_fit_too_few_images_and_channels_that_repeat() -> None:
    images = np.random.default_rng(0).normal(size=(20, *SIZE))
    with pytest.raises(GeometryError):
        detectability(images, images[:, 1:], channels=CHANNELS)
    with pytest.raises(InputError, match="Add images"):
        detectability(images[:4], images[:4], channels=CHANNELS)
    with pytest.raises(InputError, match="fewer channels"):
        detectability(images, images, channels=np.concatenate([CHANNELS, CHANNELS[:1]]))
    with pytest.raises(InputError, match="NaN"):
        detectability(np.where(images > 3, np.nan, images), images, channels=CHANNELS)
    with pytest.raises(SettingError):
        laguerre_gauss(SIZE, width=0)
