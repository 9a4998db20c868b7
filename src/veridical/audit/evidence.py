"""Evidence: how much of each voxel is owed to the measurement and how much to the prior."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from torch import Tensor

from veridical.errors import InputError
from veridical.physics.linear import LinearOperator
from veridical.types import Array


def evidence(
    draws: Array,
    prior_variance: Array | float,
    width: float = 3.0,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    prior_draws: int | None = None,
) -> Array:
    """Return `1 - var(x | y, c) / var(x | c)` per voxel, clipped to [0, 1]. 1: measured. 0:
    imagined.

    Both variances are averaged locally before they are divided, since a variance of 8 draws has
    itself a relative error of 50 %. What is left of it, cut off at 0, lifts the map where nothing
    is measured by about `0.4 sqrt(2 / degrees)`, with `degrees = (draws - 1)` times the independent
    voxels under the smoothing.

    Args: draws: `(draw, channel, x, y, z)` of the posterior, real or complex; any number of spatial
        axes. prior_variance: of `x` before anything is measured, in the squared units of the draws;
        a number, or an array that broadcasts against `(channel, x, y, z)`. For complex draws the
        variance of both parts together. width: standard deviation of the Gaussian smoothing, in the
        units of `spacing`; 0 for none. spacing: voxel size along each spatial axis; `(1, 1, 1)`
        gives `width` in voxels. prior_draws: how many draws `prior_variance` was taken from; None
        when it is known. Its inverse is then too large by `degrees / (degrees - 2)` on average,
        which is divided out, with the degrees of freedom of a single voxel.

    Returns:
        `(channel, x, y, z)` float32 in [0, 1].

    Raises: InputError: fewer than 2 draws, a prior variance that is not positive, or fewer than 4
        prior draws.
    """
    prior = np.broadcast_to(np.asarray(prior_variance, dtype=np.float64), draws.shape[1:])
    if not (prior > 0).all():
        raise InputError(
            "The prior variance must be above 0 everywhere, else nothing can be said about what "
            "the data added. "
            "Take it from draws without a measurement, or from the training images."
        )
    correction = 1.0
    if prior_draws is not None:
        degrees = (2 if np.iscomplexobj(draws) else 1) * (prior_draws - 1)
        if degrees < 3:
            raise InputError(
                f"A prior variance of {prior_draws} draws was given; at least 4 are needed. Draw "
                "more of the prior."
            )
        correction = 1 - 2 / degrees
    ratio = local_variance(draws, width, spacing) / _smooth(prior, width, spacing)
    return np.clip(1 - correction * ratio, 0, 1).astype(np.float32)


def local_variance(
    draws: Array, width: float = 0.0, spacing: Sequence[float] = (1.0, 1.0, 1.0)
) -> Array:
    """Return the unbiased variance over the draws, `(channel, x, y, z)` float64, smoothed as in
    `evidence`.

    For complex draws the variances of both parts are added.

    Raises:
        InputError: fewer than 2 draws.
    """
    if draws.shape[0] < 2:
        raise InputError(
            f"{draws.shape[0]} draw was given; a variance needs at least 2. Ask for more draws, 8 "
            "or so."
        )
    return _smooth(np.asarray(np.var(draws, axis=0, ddof=1), dtype=np.float64), width, spacing)


def split(operator: LinearOperator, x: Tensor, iterations: int = 30) -> tuple[Tensor, Tensor]:
    """Return the parts of `x` that the measurement fixes and that the prior filled in: `A^+ A x`
    and `(I - A^+ A) x`.

    Args: operator: A, linear. x: `(..., *domain)`. iterations: of the conjugate gradient.
        Directions that A hardly sees count as unmeasured until it resolves them.

    Returns:
        Two of the shape of `x` whose sum is `x`.
    """
    measured = operator.project(x, iterations)
    return measured, x - measured


def _smooth(variance: Array, width: float, spacing: Sequence[float]) -> Array:
    axes = variance.ndim - 1
    if width < 0 or len(spacing) < axes or min(spacing[:axes]) <= 0:
        raise InputError(
            f"Smoothing by {width} at spacing {tuple(spacing)}; expected 0 or more, and {axes} "
            "positive spacings."
        )
    if width == 0:
        return variance
    return np.asarray(
        ndimage.gaussian_filter(
            variance, (0.0, *(width / step for step in spacing[:axes])), mode="nearest"
        )
    )
