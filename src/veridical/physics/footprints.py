"""Shadows of square pixels on a line of bins, and the threads that compute them: what all
projectors share.

The shadow of a pixel is a trapezoid; what falls into a bin is its area there (Long, Fessler and
Balter 2010, 10.1109/TMI.2010.2050898).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch

from veridical.types import Array

f4 = np.float32
PARTS = 5
"""Rows of a table of shadows: left edge within its bin, length of the ramps, of the flat top,
height, area so far.
"""


def share(count: int, work: Callable[[int, int], None]) -> None:
    """Run `work(low, high)` over `range(count)` on as many threads as torch uses; each part writes
    its own rows.
    """
    threads = min(torch.get_num_threads(), count)
    if threads == 1:
        work(0, count)
        return
    edges = [count * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def within(value: f4, high: f4) -> f4:
    """Return the value, at least 0 and at most `high`."""
    return min(max(value, f4(0)), high)


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def fill(shadow: Array, weights: Array) -> None:
    """Compute how much of each trapezoid falls into each bin.

    Args:
        shadow: `(PARTS, x)`, one trapezoid a column; the last row is scratch and must be 0.
        weights: out, `(tap, x)`, in consecutive bins from the one that the left edge lies in.
    """
    half = f4(0.5)
    for tap in range(weights.shape[0]):
        for column in range(weights.shape[1]):
            reach, ramp, top = f4(tap + 1) - shadow[0, column], shadow[1, column], shadow[2, column]
            rise, fall = within(reach, ramp), within(reach - ramp - top, ramp)
            area = half * (rise * rise - fall * fall) / ramp + within(reach - ramp, top) + fall
            area *= shadow[3, column]
            weights[tap, column] = area - shadow[4, column]
            shadow[4, column] = area
