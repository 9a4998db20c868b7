from __future__ import annotations

import numpy as np
import pytest
import torch

from veridical.physics.footprints import PARTS, fill, share


@pytest.mark.parametrize(
    ("left", "ramp", "top"), [(0.0, 1.0, 0.0), (0.3, 0.5, 1.2), (0.9, 2.0, 0.0)]
)
def test_the_bins_hold_the_whole_area_of_a_trapezoid(left: float, ramp: float, top: float) -> None:
    shadow, weights = np.zeros((PARTS, 1), np.float32), np.empty((6, 1), np.float32)
    shadow[:4, 0] = left, ramp, top, 2.0 / (ramp + top)
    fill(shadow, weights)
    assert float(weights.sum()) == pytest.approx(2.0, rel=1e-5)
    assert (weights >= -1e-6).all()
    end = left + 2 * ramp + top
    assert not weights[int(np.ceil(end)) :].any(), "and nothing falls behind its end"


def test_a_box_that_fills_a_bin_lies_in_it_alone() -> None:
    shadow, weights = np.zeros((PARTS, 1), np.float32), np.empty((3, 1), np.float32)
    shadow[:4, 0] = 0.0, 1e-4, 1 - 2e-4, 1 / (1 - 1e-4)
    fill(shadow, weights)
    np.testing.assert_allclose(weights[:, 0], [1, 0, 0], atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_every_row_is_worked_on_once(threads: int) -> None:
    before, done = torch.get_num_threads(), np.zeros(7, int)
    torch.set_num_threads(threads)

    def work(low: int, high: int) -> None:
        done[low:high] += 1

    share(7, work)
    torch.set_num_threads(before)
    assert (done == 1).all()
