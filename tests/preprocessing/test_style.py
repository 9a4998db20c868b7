"""Laws of the intensity style: quantiles of the foreground, whatever lies around it."""

from __future__ import annotations

import numpy as np

from veridical.conditioning.style import Style
from veridical.preprocessing.style import QUANTILES, style_of


def test_the_condition_of_generators_takes_as_many_numbers() -> None:
    assert Style().size == len(QUANTILES)


def ramp(margin: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Eight slices of 0.2 to 1 in air."""
    inner = np.linspace(0.2, 1.0, 100, dtype=np.float32)[None, :, None].repeat(100, 2).repeat(8, 0)
    return np.pad(inner, ((0, 0), (margin, margin), (margin, margin)))


def test_the_style_is_the_quantiles_of_what_is_shown_and_air_does_not_count() -> None:
    wanted = np.quantile(ramp(0), QUANTILES)
    for margin in (4, 40):
        found = style_of(ramp(margin), "T1w")
        assert 0 < found[0] <= wanted[0], "the border of the foreground is a little of the air"
        np.testing.assert_allclose(found[1:], wanted[1:], atol=0.06)


def test_an_image_that_shows_nothing_has_a_style_of_zeros() -> None:
    assert style_of(np.zeros((4, 16, 16), np.float32), "T1w").tolist() == [0.0] * len(QUANTILES)
