"""Kernel inception distance: squared MMD with a cubic kernel; Binkowski, Sutherland, Arbel and
Gretton, ICLR 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor

from veridical.metrics.about import Facts
from veridical.metrics.feature_sets import Pool, Value, checked
from veridical.metrics.kernels import chosen, discrepancy
from veridical.types import Array

ABOUT = Facts(
    "KID",
    "1",
    "lower",
    "feature",
    target="0, or below by chance: it is unbiased",
    cites="Binkowski M, Sutherland DJ, Arbel M, Gretton A. Demystifying MMD GANs. ICLR 2018.",
)
SPREAD = "jackknife"


def kid(candidate_features: Array, reference_features: Array) -> float:
    """Return the unbiased squared MMD with the kernel `(x . y / d + 1)^3`, over all pairs of rows.

    The original and torchmetrics average it over random subsets (100 of 1000 rows), which are never
    larger than the set: the same expectation, with the noise of the draw on top, and more work.
    Here every pair counts once. The kernel is not invariant to scale or shift, so features should
    come as the extractor gives them, the same for all candidates.

    Args:
        candidate_features, reference_features: `(n, d)` and `(m, d)`, two rows at least.

    Returns:
        Of mean 0 when both sets come from one distribution, and then below 0 as often as above.

    Raises:
        GeometryError: not two matrices with one number of columns.
        InputError: NaN, infinity, complex values or fewer than two rows.
    """
    return discrepancy(_cubic, *checked(candidate_features, reference_features))


def prepared(pool: Pool) -> Value:
    """Return rows -> value, from the kernel of all pairs."""
    return chosen(_cubic, pool.features)


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    similarity = torch.mm(x, y.T).div_(x.shape[1]).add_(1)
    return similarity.square().mul_(similarity)
