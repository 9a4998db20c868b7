"""Laws of too few lines of k-space: energy is lost and never made, the centre is kept."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import SettingError
from veridical.physics.undersampling_aliasing import UndersamplingAliasing

IMAGE = np.random.default_rng(0).uniform(0, 1, (2, 60, 48)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
def test_as_many_lines_are_kept_as_were_asked_for_and_the_mean_with_them(axis: int) -> None:
    drawn = {"axis": axis, "factor": 4.0, "centre": 0.1, "seed": 3}
    found = UndersamplingAliasing().apply(IMAGE, (1.0, 1.0), drawn)
    assert np.square(found).sum() < np.square(IMAGE).sum()
    assert abs(found.mean() - IMAGE.mean()) < 0.05
    impulse = np.zeros((1, 60, 48), np.float32)
    impulse[0, 30, 24] = 1
    lines = IMAGE.shape[1 + axis]
    peak = UndersamplingAliasing().apply(impulse, (1.0, 1.0), drawn).max()
    assert peak == pytest.approx(round(lines / 4) / lines, rel=1e-5)


def test_a_factor_below_one_is_refused() -> None:
    with pytest.raises(SettingError, match="factor of 1 or more"):
        UndersamplingAliasing(factor=(0.5, 2.0))
