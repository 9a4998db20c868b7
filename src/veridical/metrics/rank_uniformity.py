"""Rank of the truth among the draws (Hamill, Monthly Weather Review 2001): uniform where the draws
are calibrated.
"""

from __future__ import annotations

import numpy as np

from veridical.errors import GeometryError, InputError
from veridical.metrics.about import Facts, region
from veridical.types import Array

ABOUT = Facts(
    "rank non-uniformity",
    "1",
    "lower",
    "trust",
    target="near 0",
    worst=1.0,
    cites="Delle Monache L et al. Probabilistic aspects of meteorological and ozone regional "
    "ensemble forecasts. J Geophys Res "
    "2006;111:D24307",
)


def rank_uniformity(
    draws: Array, reference: Array, *, mask: Array | None = None, seed: int = 0
) -> float:
    """Return half the summed distance of the rank histogram from the flat one: the share of voxels
    in the wrong rank.

    It is half of the reliability index of Delle Monache et al. 2006. Voxels of one image are not
    independent, so no p-value is given; chance alone makes it about `0.4 sqrt(draws / n)` for n
    independent voxels.

    Args:
        draws: `(draw, *shape of the reference)`, real.
        reference: the truth.
        mask: bool, of the reference's shape or without the channel axis. Give the foreground.
        seed: of the ranks of ties.

    Returns: In [0, 1): 0 flat. `rank_histogram` tells why it is not: high at both ends, the draws
        are too alike; high in the middle, they differ too much; sloped, they are biased.

    Raises:
        GeometryError: shapes differ.
        InputError: fewer than two draws, NaN, infinity or complex values, or an empty mask.
    """
    counts = rank_histogram(draws, reference, mask=mask, seed=seed)
    return float(np.abs(counts / counts.sum() - 1 / len(counts)).sum() / 2)


def rank_histogram(
    draws: Array, reference: Array, *, mask: Array | None = None, seed: int = 0
) -> Array:
    """Return how many voxels have each rank, `(draws + 1,)`: how many draws lie below the truth,
    ties broken by chance.

    Arguments and errors as in `rank_uniformity`.
    """
    if draws.shape[1:] != reference.shape:
        raise GeometryError(
            f"Draws of shape {draws.shape} and a truth of {reference.shape} were given; expected "
            "(draw, *shape)."
        )
    if len(draws) < 2:
        raise InputError(f"{len(draws)} draw was given; a rank needs at least two.")
    counted = region(mask, reference, *draws)
    truth = reference[counted]
    below, ties = np.zeros(len(truth), dtype=np.int64), np.zeros(len(truth), dtype=np.int64)
    for draw in draws:
        values = draw[counted]
        below += values < truth
        ties += values == truth
    ranks = below + np.random.default_rng(seed).integers(0, ties + 1)
    return np.bincount(ranks, minlength=len(draws) + 1)
