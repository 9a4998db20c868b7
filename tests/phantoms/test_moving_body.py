"""Bodies that move: their maps are inverse to one another, frames show what the maps say, and
motion is of the size that is published.
"""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import InputError, SettingError
from veridical.phantoms.beating_heart import BeatingHeart
from veridical.phantoms.breathing_abdomen import BreathingAbdomen
from veridical.phantoms.moving_body import NAMES, Moving

BODIES = (BeatingHeart(1, 8.0), BreathingAbdomen(1, 12.0))
TIMES = (0.0, 0.13, 0.4, 1.9, 7.3)


def points(body: Moving, count: int = 400) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 3)) * np.array(body.half) * 0.9


@pytest.mark.parametrize("body", BODIES, ids=lambda b: type(b).__name__)
@pytest.mark.parametrize("time", TIMES)
def test_forward_and_back_are_inverse(body: Moving, time: float) -> None:
    where = points(body)
    np.testing.assert_allclose(body.at_rest(body.moved(where, time), time), where, atol=2e-3)
    np.testing.assert_allclose(body.moved(body.at_rest(where, time), time), where, atol=2e-3)


@pytest.mark.parametrize("body", BODIES, ids=lambda b: type(b).__name__)
def test_at_time_zero_everything_is_at_rest(body: Moving) -> None:
    np.testing.assert_allclose(body.displacement(0.0), 0, atol=1e-9)
    assert body.surrogate(0.0) == 0


@pytest.mark.parametrize("body", BODIES, ids=lambda b: type(b).__name__)
def test_the_deformation_never_folds(body: Moving) -> None:
    where, step = points(body, 200), 0.5
    for time in (0.25, 1.5):
        slopes = [
            (body.moved(where + step * e, time) - body.moved(where - step * e, time)) / (2 * step)
            for e in np.eye(3)
        ]
        assert (np.linalg.det(np.stack(slopes, -1)) > 0.05).all()


def test_the_heart_empties_by_half_to_two_thirds_and_fills_again() -> None:
    for seed in range(2):
        heart = BeatingHeart(seed)
        full, empty = heart.volume(0.0), heart.volume(heart.beat.period * 0.35)
        assert 0.45 < 1 - empty / full < 0.75
        assert heart.volume(heart.beat.period) == pytest.approx(full)


def test_the_wall_keeps_its_area_in_the_middle_of_the_heart() -> None:
    heart = BeatingHeart(1)
    peak = heart.beat.period * 0.35
    ring = [np.array([[r, 0.0, -10.0]]) for r in (24.0, 34.0)]
    low, high = (float(np.hypot(*heart.moved(one, peak)[0, :2])) for one in ring)
    assert high**2 - low**2 == pytest.approx(34.0**2 - 24.0**2, rel=0.03)
    assert low < 20.0


def test_no_two_breaths_are_alike_and_the_lesion_goes_with_the_liver() -> None:
    abdomen = BreathingAbdomen(2)
    depths = [max(abdomen.down(t) for t in np.arange(a, a + 5, 0.1)) for a in (0.0, 10.0, 20.0)]
    assert len({round(depth, 3) for depth in depths}) > 1
    assert all(4 < depth < 35 for depth in depths)
    rest = abdomen.target(0.0)
    times = np.arange(0, 10, 0.1)
    down = np.array([rest[2] - abdomen.target(t)[2] for t in times])
    belly = np.array([abdomen.surrogate(t) for t in times])
    assert down.max() > 4
    assert 0.8 < np.corrcoef(down, belly)[0, 1] < 0.9999
    lesion = abdomen.tissue(abdomen.at_rest(abdomen.target(2.0)[None], 2.0))
    assert NAMES[lesion[0]] == "lesion"


def test_frames_follow_the_motion_and_repeat() -> None:
    heart = BeatingHeart(1, 12.0)
    still, now = heart.image(0.0), heart.image(heart.beat.period * 0.35)
    assert np.abs(now.data - still.data).max() > 10
    np.testing.assert_array_equal(now.data, heart.image(heart.beat.period * 0.35).data)
    one = heart.image(0.2, slices=[4])
    np.testing.assert_allclose(one.data[0, ..., 0], heart.image(0.2).data[0, ..., 4], rtol=1e-6)
    assert one.geometry.affine[2, 3] == heart.geometry.affine[2, 3] + 4 * 12.0
    noisy = heart.image(0.2, noise=0.05, slices=[4])
    assert 0 < np.abs(noisy.data - one.data).mean() < 10


def test_ct_is_in_hounsfield_units_and_the_liver_is_on_the_right() -> None:
    abdomen = BreathingAbdomen(1, 12.0)
    assert abdomen.image(0.0, "CT").units == "HU"
    liver = np.argwhere(abdomen.labels(0.0) == NAMES.index("liver"))
    assert (abdomen.geometry.affine[0, 0] * liver[:, 0].mean() + abdomen.geometry.affine[0, 3]) > 0


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(SettingError, match="bSSFP"):
        BeatingHeart().image(0.0, "T1w")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Slices"):
        BeatingHeart(0, 8.0).image(0.0, slices=[999])
