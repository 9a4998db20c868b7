"""The published contrast of speckle, and its grain."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import SettingError
from veridical.physics.ultrasound_speckle import UltrasoundSpeckle

DRAWN = {"along": 1.5, "across": 4.0, "seed": 1}


def test_fully_developed_speckle_has_a_signal_to_noise_ratio_of_1_91() -> None:
    """Wagner et al. 1983: the mean of a Rayleigh amplitude over its standard deviation."""
    even = np.ones((4, 256, 256), np.float32)
    found = UltrasoundSpeckle().apply(even, (1.0, 1.0), {**DRAWN, "strength": 1.0})
    assert found.mean() / found.std() == pytest.approx(1.913, rel=0.02)
    half = UltrasoundSpeckle().apply(even, (1.0, 1.0), {**DRAWN, "strength": 0.5})
    assert half.std() == pytest.approx(found.std() / 2, rel=1e-3)


def test_the_grain_is_wider_across_the_beam() -> None:
    even = np.ones((2, 128, 128), np.float32)
    found = UltrasoundSpeckle().apply(even, (1.0, 1.0), {**DRAWN, "strength": 1.0})
    down, across = (np.abs(np.diff(found, axis=axis)).mean() for axis in (1, 2))
    assert down > 1.5 * across


def test_more_than_fully_developed_is_refused() -> None:
    with pytest.raises(SettingError, match="fully"):
        UltrasoundSpeckle(strength=(0.5, 2.0))
