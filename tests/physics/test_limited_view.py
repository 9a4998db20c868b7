"""The law of limited view: an edge is seen where a detector lies on its normal."""

from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import SettingError
from veridical.physics.limited_view import LimitedView


@pytest.mark.parametrize(("middle", "seen"), [(0.0, "x"), (90.0, "y")])
def test_waves_along_the_view_stay_and_waves_across_it_vanish(middle: float, seen: str) -> None:
    y, x = np.mgrid[:64, :64]
    waves = {"x": 1 + np.sin(2 * np.pi * x / 8), "y": 1 + np.sin(2 * np.pi * y / 8)}
    drawn = {"angle": 90.0, "middle": middle}
    for name, wave in waves.items():
        found = LimitedView().apply(wave[None].astype(np.float32), (1.0, 1.0), drawn)[0]
        assert found.std() == pytest.approx(wave.std() if name == seen else 0, abs=1e-3)
        assert found.mean() == pytest.approx(1, abs=1e-3)


def test_more_than_all_directions_are_refused() -> None:
    with pytest.raises(SettingError, match="180"):
        LimitedView(angle=(90.0, 270.0))
