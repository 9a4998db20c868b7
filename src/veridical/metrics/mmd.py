"""Squared maximum mean discrepancy with a Gaussian kernel; Gretton et al., JMLR 2012."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from veridical.errors import InputError, SettingError
from veridical.metrics.about import Facts
from veridical.metrics.feature_sets import Pool, Value, checked
from veridical.metrics.kernels import chosen, discrepancy
from veridical.metrics.neighbours import squared_distances
from veridical.types import Array

ABOUT = Facts(
    "MMD",
    "1",
    "lower",
    "feature",
    target="0, or below by chance: it is unbiased",
    cites=(
        "Gretton A, Borgwardt KM, Rasch MJ, Scholkopf B, Smola A. A kernel two-sample test. JMLR "
        "2012;13:723-773."
    ),
)
SPREAD = "jackknife"
MOST = 2000
"""Rows, evenly spaced, that the median distance is taken from."""


def mmd(
    candidate_features: Array, reference_features: Array, *, bandwidth: float | None = None
) -> float:
    """Return the unbiased squared MMD with the kernel `exp(-|x - y|^2 / (2 bandwidth^2))`.

    The kernel is characteristic: in the limit of many rows every difference between distributions
    shows, of spread and shape as well as of mean.

    Args: candidate_features, reference_features: `(n, d)` and `(m, d)`, two rows at least.
        bandwidth: in the features' unit. None: the median distance between rows of the reference
        set. Taken from the reference alone, the kernel is the same for all candidates that are
        compared with it, and one far away cannot widen it. The permutation test must not know which
        set is which and takes it from all rows.

    Returns: At most 2. Of mean 0 when both sets come from one distribution, and then below 0 as
        often as above.

    Raises: GeometryError: not two matrices with one number of columns. InputError: NaN, infinity,
        complex values, fewer than two rows, or reference rows that are mostly equal. SettingError:
        the bandwidth is not above 0.
    """
    candidate, reference = checked(candidate_features, reference_features)
    width = median_distance(reference) if bandwidth is None else bandwidth
    if not np.isfinite(width) or width <= 0:
        raise SettingError(
            f"A bandwidth of {width} was given; expected a finite number above 0, or None."
        )
    centre = reference.mean(0)
    return discrepancy(partial(_gaussian, width), candidate - centre, reference - centre)


def median_distance(features: Array) -> float:
    """Return the median distance between different rows, from at most 2000 of them.

    Raises:
        InputError: it is 0.
    """
    rows = features[np.linspace(0, len(features) - 1, min(MOST, len(features))).astype(int)]
    x = torch.from_numpy(rows - rows.mean(0))
    above = torch.triu_indices(len(x), len(x), 1)
    median = float(squared_distances(x, x)[above[0], above[1]].median().sqrt())
    if median == 0:
        raise InputError(
            "Half of the reference rows or more are equal, so their median distance is 0. Give a "
            "bandwidth."
        )
    return median


def prepared(pool: Pool) -> Value:
    """Return rows -> value, from the kernel of all pairs; the bandwidth stays that of all rows of
    `pool.scale`.
    """
    kernel = partial(_gaussian, median_distance(pool.features[pool.scale]))
    return chosen(kernel, pool.features - pool.features.mean(0))


def _gaussian(bandwidth: float, x: Tensor, y: Tensor) -> Tensor:
    return squared_distances(x, y).mul_(-0.5 / bandwidth**2).exp_()
