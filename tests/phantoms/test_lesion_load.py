"""Lesions take the volume that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from label_balls import ball
from veridical.errors import SettingError
from veridical.phantoms.lesion_load import lesions, sized, volume


@pytest.mark.parametrize("pathology", ["ms", "tumour"])
@pytest.mark.parametrize("load", [0.5, 2.0, 5.0])
def test_lesions_take_the_volume_that_was_asked_for(pathology: str, load: float) -> None:
    rng = np.random.default_rng(1)
    rows = lesions(ball(1.0), "ms" if pathology == "ms" else "tumour", load, False, rng)
    assert volume(ball(1.0), rows, False) == pytest.approx(load, rel=0.05)


def test_without_pathology_there_are_none() -> None:
    assert len(lesions(ball(), "none", 0.0, False, np.random.default_rng(0))) == 0


def test_more_than_the_head_holds_is_refused() -> None:
    rng = np.random.default_rng(2)
    rows = lesions(ball(), "tumour", 0.0, False, rng)
    with pytest.raises(SettingError, match="Ask for less"):
        sized(ball(), rows, 500.0, False)
