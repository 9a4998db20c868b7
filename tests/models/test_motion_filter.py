"""Laws of the filters: exact where everything is linear, causal, and surer the more is measured."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.models.frame_views import BANDS, FrameViews
from veridical.models.motion_filter import Believing, Expected, MotionFilter
from veridical.models.motion_model import MotionModel

SHAPE = (1, 24, 20)


def model(images: int = 0) -> MotionModel:
    """A ramp that is shifted: its image is linear in the coefficient."""
    ramp = np.broadcast_to(np.arange(SHAPE[1], dtype=np.float32)[:, None], SHAPE).copy()
    modes = np.zeros((1, 3, *SHAPE), np.float32)
    modes[0, 1] = 0.5
    rng = np.random.default_rng(0)
    return MotionModel(
        ramp, 0, np.zeros((3, *SHAPE), np.float32), modes, np.linspace(-1, 1, 9)[:, None],
        np.array([1.5]), rng.standard_normal((images, *SHAPE)).astype(np.float32),
        np.zeros(SHAPE, np.float32), np.zeros((3, *SHAPE), np.float32), 0.0, 1.0,
    )  # fmt: skip


class Patches(FrameViews):
    """Single voxels in the middle, as they are."""

    def __init__(self, values: np.ndarray, voxels: int) -> None:
        self.count, self.voxels = len(values), voxels
        self.data = np.asarray(values, np.complex64)

    def bands(self, frame: int) -> np.ndarray:
        return np.arange(self.voxels) % BANDS

    def predicted(self, frame: int, images: np.ndarray) -> np.ndarray:
        return images[:, 0, 8 : 8 + self.voxels, 10].astype(np.complex64)


def measured(course: np.ndarray, voxels: int, noise: float) -> Patches:
    rng = np.random.default_rng(1)
    base = np.arange(8, 8 + voxels) + 0.5 * course[:, None]
    return Patches(base + noise * rng.standard_normal(base.shape), voxels)


def test_one_frame_gives_the_exact_gaussian_posterior() -> None:
    views = measured(np.array([0.8]), 4, 0.3)
    (belief,) = MotionFilter(model(), views, Expected(np.full(BANDS, 0.09))).track([0.0])
    prior = belief.before[0, 0]
    precision = 1 / prior + 4 * 0.25 / 0.09
    expected = (0.5 * (views.data[0].real - np.arange(8, 12)) / 0.09).sum() / precision
    assert belief.cover[0, 0] == pytest.approx(1 / precision, rel=1e-3)
    assert belief.weights[0] == pytest.approx(expected, rel=1e-3)


def test_nothing_later_is_used() -> None:
    course = np.sin(np.arange(12) / 2)
    expected = Expected(np.full(BANDS, 0.01))
    seconds = 0.3 * np.arange(12)
    whole = list(MotionFilter(model(), measured(course, 3, 0.1), expected).track(seconds))
    short = measured(course, 3, 0.1)
    short.data = np.concatenate([short.data[:6], 0 * short.data[6:]])
    cut = list(MotionFilter(model(), short, expected).track(seconds))
    for one, other in zip(whole[:6], cut[:6], strict=True):
        assert np.array_equal(one.weights, other.weights)


def test_more_measurements_leave_less_unsure_and_follow_better() -> None:
    course, seconds = 1.4 * np.sin(np.arange(40) / 4), 0.2 * np.arange(40)
    errors, spreads = [], []
    for voxels in (1, 8):
        views = measured(course, voxels, 0.5)
        beliefs = list(MotionFilter(model(), views, Expected(np.full(BANDS, 0.25))).track(seconds))
        found = np.array([belief.weights[0] for belief in beliefs])
        errors.append(float(np.abs(found - course)[5:].mean()))
        spreads.append(float(np.mean([belief.cover[0, 0] for belief in beliefs[5:]])))
    assert errors[1] < errors[0] < np.abs(course).mean()
    assert spreads[1] < spreads[0]


def test_intervals_hold_what_they_say_where_the_model_is_right() -> None:
    rng, seconds = np.random.default_rng(5), 0.2 * np.arange(400)
    rate, gaps = 1.5, np.abs(seconds[:, None] - seconds[None])
    cover = 2.25 * (1 + rate * gaps) * np.exp(-rate * gaps) + 0.01 * np.eye(400)
    course = np.linalg.cholesky(cover) @ rng.standard_normal(400)
    views = measured(course, 2, 0.5)
    beliefs = list(MotionFilter(model(), views, Expected(np.full(BANDS, 0.25))).track(seconds))
    off = [
        (belief.weights[0] - true) / np.sqrt(belief.cover[0, 0])
        for belief, true in zip(beliefs, course, strict=True)
    ]
    assert np.mean(np.abs(off) < 1.645) == pytest.approx(0.9, abs=0.05)


def test_between_frames_the_process_forgets_towards_its_own_spread() -> None:
    class Blind(Believing):
        def _taken_in(self, frame: int, value: np.ndarray, joint: np.ndarray) -> object:
            raise NotImplementedError

    blind = Blind(model())  # type: ignore[abstract]
    value, joint = np.array([2.0, 0.0]), np.zeros((2, 2))
    at_once = blind._ahead(value, joint, 2.0)
    half = blind._ahead(*blind._ahead(value, joint, 1.0), 1.0)
    assert half[0] == pytest.approx(at_once[0])
    later, cover = blind._ahead(value, joint, 100.0)
    assert later == pytest.approx([0, 0], abs=1e-6)
    assert cover[0, 0] == pytest.approx(blind.amplitude[0], rel=0.02)


def test_a_residual_that_the_model_does_not_explain_widens_what_follows() -> None:
    views = measured(np.zeros(10), 8, 0.1)
    broken = measured(np.zeros(10), 8, 0.1)
    broken.data = broken.data + np.random.default_rng(3).standard_normal((10, 8)) * 2
    expected = Expected(np.full(BANDS, 0.01))
    seconds = 0.3 * np.arange(10)
    usual, wrong = (
        list(MotionFilter(model(), one, expected).track(seconds))[-1] for one in (views, broken)
    )
    assert usual.misfit < 1.5
    assert wrong.misfit > 10
    assert wrong.cover[0, 0] > 5 * usual.cover[0, 0]
