"""Squared maximum mean discrepancy of any kernel: Gretton et al., JMLR 2012, equation 3 (the
unbiased U-statistic).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from veridical.metrics.feature_sets import Value
from veridical.types import Array

BLOCK = 1024
"""Rows whose pairs are in memory at a time: 8 MB a block."""
Kernel = Callable[[Tensor, Tensor], Tensor]
"""From `(n, d)` and `(m, d)` to `(n, m)`."""


def discrepancy(kernel: Kernel, candidate: Array, reference: Array) -> float:
    """Return the mean kernel within each set, pairs of a row with itself left out, less twice the
    mean across.

    Args:
        kernel: symmetric.
        candidate, reference: `(n, d)` and `(m, d)`, float64, two rows at least.

    Returns:
        Of mean 0 when both come from one distribution; it may then be below 0.
    """
    x, y = torch.from_numpy(candidate), torch.from_numpy(reference)
    n, m = len(x), len(y)
    across = sum(
        (float(kernel(a, b).sum()) for a in torch.split(x, BLOCK) for b in torch.split(y, BLOCK)),
        0.0,
    )
    return (
        _within(kernel, x) / (n * (n - 1))
        + _within(kernel, y) / (m * (m - 1))
        - 2 * across / (n * m)
    )


def chosen(kernel: Kernel, rows: Array) -> Value:
    """Return positions of candidate and reference rows -> their discrepancy, from the kernel of all
    pairs, computed once.
    """
    x = torch.from_numpy(rows)
    table = torch.cat([kernel(a, x) for a in torch.split(x, BLOCK)]).fill_diagonal_(0).numpy()

    def value(candidate: Array, reference: Array) -> float:
        n, m = len(candidate), len(reference)
        own, other = (
            table[np.ix_(candidate, candidate)].sum(),
            table[np.ix_(reference, reference)].sum(),
        )
        return float(
            own / (n * (n - 1))
            + other / (m * (m - 1))
            - 2 * table[np.ix_(candidate, reference)].mean()
        )

    return value


def _within(kernel: Kernel, x: Tensor) -> float:
    """Return the sum over all pairs of different rows; each block above the diagonal counts
    twice.
    """
    blocks, total = torch.split(x, BLOCK), 0.0
    for i, a in enumerate(blocks):
        own = kernel(a, a)
        total += float(own.sum() - own.diagonal().sum())
        total += 2 * sum(float(kernel(a, b).sum()) for b in blocks[i + 1 :])
    return total
