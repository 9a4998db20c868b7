"""Bright and dark structures in images: how strong one of a size is at every pixel, where two
images differ by one, and whether posterior samples have those of an estimate.

A structure of a size is what a difference of Gaussians sees: brighter or darker than its
surroundings. The numbers are contrasts in the units of the image: 1 for a Gaussian of that full
width at half maximum and of height 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, special

from veridical.types import Array

SIZES = (3.0, 6.0, 12.0, 24.0)
"""Full widths at half maximum that are looked for, mm."""
FWHM = 2.3548
"""Of a Gaussian, in standard deviations."""
WIDER = 2.0
"""Width of the surroundings over that of the structure."""
VISIBLE = 0.1
"""Contrast over the 99th percentile of the image below which nobody would call it a structure."""
FOREGROUND = 0.1
"""Share of the 99th percentile above which an image is foreground."""
MOST = 20
"""Structures that are judged at most, the strongest."""


@dataclass(frozen=True)
class Structure:
    """One structure.

    Args:
        place: voxel `(x, y, z)` of its middle.
        size: full width at half maximum, mm.
        contrast: to its surroundings, in the units of the image; below 0 where it is dark.
        score: how sure it is: deviations of the differences elsewhere, or a probability.
    """

    place: tuple[int, int, int]
    size: float
    contrast: float
    score: float


def contrast(slices: Array, size: float, spacing: Sequence[float]) -> Array:
    """Return the contrast that a structure of a size has at every pixel, `(..., y, x)`.

    Args:
        slices: `(..., y, x)`.
        size: full width at half maximum, in the units of `spacing`.
        spacing: of the last two axes.
    """
    sigma = [size / FWHM / step for step in spacing]
    still = [0.0] * (slices.ndim - 2)
    data = np.asarray(slices, np.float32)
    narrow, wide = (
        ndimage.gaussian_filter(data, [*still, *(w * s for s in sigma)], mode="nearest", truncate=3)
        for w in (1.0, WIDER)
    )
    return np.asarray((narrow - wide) / (1 / 2 - 1 / (1 + WIDER**2)), np.float32)


def peaks(score: Array, radius: Sequence[float], least: float) -> list[tuple[int, ...]]:
    """Return the places of maxima of `(..., y, x)`, the highest first: pixels of at least `least`
    with no higher one within `radius` pixels in their slice. At most `MOST` a slice.
    """
    still = [1] * (score.ndim - 2)
    highest = ndimage.maximum_filter(score, [*still, *(2 * round(r) + 1 for r in radius)])
    found = np.argwhere((score >= highest) & (score >= least))
    order = np.argsort(-score[tuple(found.T)], kind="stable")
    most = MOST * int(np.prod(score.shape[:-2], dtype=int))
    return [tuple(int(p) for p in place) for place in found[order[:most]]]


def foreground(image: Array) -> Array:
    """Return where an image has an object, bool."""
    return np.asarray(np.abs(image) > FOREGROUND * bright(image))


def bright(image: Array) -> float:
    """Return the 99th percentile of the magnitude, never 0."""
    return max(float(np.percentile(np.abs(image), 99)), 1e-20)


def differences(
    image: Array, reference: Array, spacing: Sequence[float], sizes: Sequence[float] = SIZES
) -> list[Structure]:
    """Return structures by which an image differs from its reference, the surest first.

    The difference is judged against what differences there are elsewhere in the foreground, at
    places of as much texture: anatomy that is a little off differs most where there is most of it.
    An overall scale is no difference.

    Args:
        image, reference: `(x, y, z)`, on one grid.
        spacing: mm.
        sizes: mm.

    Returns:
        Those with a contrast of at least `VISIBLE`; `score` is in robust standard deviations.
    """
    mine, truth = (np.moveaxis(np.asarray(a, np.float32), 2, 0) for a in (image, reference))
    factor = float((mine * truth).sum() / max(float((mine * mine).sum()), 1e-20))
    counted, level = foreground(truth), bright(truth)
    if not counted.any():
        return []
    found = []
    for size in _fitting(sizes, truth.shape[1:], spacing):
        change = contrast(factor * mine - truth, size, spacing[:2])
        texture = _texture(truth, size, spacing[:2], counted)
        ratio = change / texture
        deviation = 1.4826 * float(np.median(np.abs(ratio[counted]))) + 1e-12
        score = np.where(counted & (np.abs(change) > VISIBLE * level), np.abs(ratio) / deviation, 0)
        radius = [size / step for step in spacing[:2]]
        for place in peaks(score, radius, 1e-6):
            z, x, y = place
            found.append(Structure((x, y, z), size, float(change[place]), float(score[place])))
    return _apart(sorted(found, key=lambda one: -one.score), spacing)


def probabilities(
    estimate: Array, draws: Array, spacing: Sequence[float], sizes: Sequence[float] = SIZES
) -> list[Structure]:
    """Return the strongest structures of an estimate with the probability that each is there.

    It is there where its contrast is at least half of that in the estimate. The chance of that is
    taken from the mean and the standard deviation of the contrast over posterior samples, by the
    predictive t distribution, since few samples cannot be counted.

    Args:
        estimate: `(x, y, z)`.
        draws: `(draw, x, y, z)`, 2 or more.
        spacing: mm.
        sizes: mm.

    Returns:
        At most `MOST`; `score` is the probability.
    """
    mine = np.moveaxis(np.asarray(estimate, np.float32), 2, 0)
    many = np.moveaxis(np.asarray(draws, np.float32), 3, 1)
    level, counted = bright(mine), foreground(mine)
    found = []
    for size in _fitting(sizes, mine.shape[1:], spacing):
        here = contrast(mine, size, spacing[:2])
        score = np.where(counted, np.abs(here) / level, 0)
        there = contrast(many, size, spacing[:2])
        for place in peaks(score, [size / step for step in spacing[:2]], VISIBLE):
            z, x, y = place
            chance = probability(float(here[place]), there[:, z, x, y])
            found.append(
                (float(score[place]), Structure((x, y, z), size, float(here[place]), chance))
            )
    strongest = sorted(found, key=lambda pair: -pair[0])
    return _apart([one for _, one in strongest], spacing)[:MOST]


def probability(contrast_: float, drawn: Array) -> float:
    """Return the chance that a structure is there, from its contrast in the estimate and in
    posterior samples `(draw,)`.
    """
    count = len(drawn)
    spread = float(np.std(drawn, ddof=1)) * np.sqrt(1 + 1 / count)
    ahead = np.sign(contrast_) * float(np.mean(drawn)) - abs(contrast_) / 2
    if spread <= 1e-12 * abs(contrast_):
        return float(ahead >= 0)
    return float(special.stdtr(count - 1, ahead / spread))


def _texture(truth: Array, size: float, spacing: Sequence[float], counted: Array) -> Array:
    """Return how much structure of a size there is around every pixel, never far below the median
    of the foreground.
    """
    sigma = [0.0, *(size / step for step in spacing)]
    energy = ndimage.gaussian_filter(contrast(truth, size, spacing) ** 2, sigma, mode="nearest")
    amount = np.sqrt(energy)
    return np.asarray(amount + float(np.median(amount[counted])) + 1e-20)


def _fitting(sizes: Sequence[float], shape: Sequence[int], spacing: Sequence[float]) -> list[float]:
    """Return the sizes that are neither smaller than two pixels nor larger than a quarter of the
    slice.
    """
    widest = min(n * step for n, step in zip(shape, spacing, strict=False)) / 4
    return [size for size in sizes if 2 * max(spacing[:2]) <= size <= widest]


def _apart(ordered: Sequence[Structure], spacing: Sequence[float]) -> list[Structure]:
    """Return the first structures without those that lie within the size of one before them."""
    kept: list[Structure] = []
    for one in ordered[: 10 * MOST]:
        away = (
            max(one.size, other.size)
            < float(np.linalg.norm(np.subtract(one.place, other.place) * np.asarray(spacing)))
            for other in kept
        )
        if all(away):
            kept.append(one)
    return kept
