from __future__ import annotations

import numpy as np
import pytest

from veridical.errors import GeometryError, InputError
from veridical.metrics.concordance import concordance

LARGE = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
"""Peak flow of 17 people by two meters, litres a minute: Bland and Altman, Lancet 1986;327:307-310,
first readings.
"""


def test_two_peak_flow_meters_have_the_published_concordance() -> None:
    """0.943, as Stata's `concord` and R's `epi.ccc` give it."""
    assert concordance(np.array(MINI), np.array(LARGE)) == pytest.approx(0.943, abs=5e-4)


def test_it_is_one_on_the_line_of_identity_minus_one_mirrored_and_symmetric() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 50))
    assert concordance(x, x) == pytest.approx(1)
    assert concordance(x.mean() - (x - x.mean()), x) == pytest.approx(-1)
    assert concordance(x, y) == pytest.approx(concordance(y, x))
    assert concordance(5 * x + 3, 5 * y + 3) == pytest.approx(concordance(x, y))


def test_bias_and_scale_lower_it_as_the_formula_says_and_correlation_bounds_it() -> None:
    x = np.random.default_rng(0).normal(size=100)
    x = (x - x.mean()) / x.std()
    assert concordance(x + 2, x) == pytest.approx(2 / (2 + 4))
    assert concordance(3 * x, x) == pytest.approx(6 / 10)
    y = x + np.random.default_rng(1).normal(0.5, 1, 100)
    assert concordance(y, x) < np.corrcoef(x, y)[0, 1]


def test_constants_agree_fully_when_equal_and_not_at_all_when_not() -> None:
    assert concordance(np.full(4, 2.0), np.full(4, 2.0)) == 1
    assert concordance(np.full(4, 2.0), np.full(4, 3.0)) == 0
    assert concordance(np.array([0.0, 1.0, 1.0]), np.array([False, True, True])) == pytest.approx(1)


@pytest.mark.parametrize(
    ("predicted", "error"),
    [
        (np.zeros(3), GeometryError),
        (np.zeros((4, 1)), GeometryError),
        (np.array([0, 1, 2, np.nan]), InputError),
        (np.zeros(4, dtype=complex), InputError),
    ],
)
def test_what_cannot_be_compared_is_refused(predicted: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error):
        concordance(predicted, np.arange(4.0))
    with pytest.raises(InputError):
        concordance(np.ones(1), np.ones(1))
