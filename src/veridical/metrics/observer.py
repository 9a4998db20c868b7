"""Detectability of a low-contrast signal by a channelized Hotelling observer (Barrett and Myers,
Foundations of Image Science).

The observer knows the signal and where it is, sees the image through a few channels, and decides by
the linear rule that separates the two classes best. Channels are templates `(channel, x, y)`,
centred on the signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from veridical.errors import GeometryError, InputError, SettingError
from veridical.types import Array


@dataclass(frozen=True)
class Detectability:
    """How well an observer tells images with the signal from images without.

    Args: index: d', the distance of the two classes in standard deviations, freed of the bias of
        few images; 0 or above. interval: 95 % interval of d', exact for normal channel outputs of
        one covariance. auc: area under the ROC curve that belongs to d', `Phi(d' / sqrt 2)`: the
        share of right choices between two images. resubstituted: d' as it comes out when the rule
        is judged on the images it was made from: too high. images: with the signal, and without.
        channels: how many.
    """

    index: float
    interval: tuple[float, float]
    auc: float
    resubstituted: float
    images: tuple[int, int]
    channels: int


def detectability(present: Array, absent: Array, *, channels: Array | None = None) -> Detectability:
    """Return how well a channelized Hotelling observer detects a signal.

    The squared d' of the channel outputs is Mahalanobis' distance; its bias and its interval follow
    from Hotelling's T2 (Wunderlich et al., IEEE TMI 2015, 10.1109/TMI.2014.2360496), so no image is
    set aside for testing.

    Args: present: `(n, x, y)`, images with the signal at the centre of the channels. absent: `(m,
        x, y)`, independent ones without, of the same place and make. channels: `(c, x, y)`,
        linearly independent; None: `dense_gaussians`. Few images want few channels.

    Raises: GeometryError: shapes that do not fit together. InputError: NaN or infinity, fewer than
        `c + 4` images in all, or channel outputs that depend on one another.
    """
    templates = dense_gaussians(present.shape[1:]) if channels is None else np.asarray(channels)
    if present.ndim != 3 or not present.shape[1:] == absent.shape[1:] == templates.shape[1:]:
        raise GeometryError(
            f"Images of shape {present.shape} and {absent.shape} and channels of {templates.shape} "
            "were given; expected "
            "(n, x, y), (m, x, y) and (c, x, y) of one x and y. Cut the images around the signal."
        )
    flat = templates.reshape(len(templates), -1).T
    outputs = [
        np.asarray(images, dtype=np.float64).reshape(len(images), -1) @ flat
        for images in (present, absent)
    ]
    (n, m), c = (len(present), len(absent)), len(templates)
    if n < 2 or m < 2 or n + m < c + 4:
        raise InputError(
            f"{n} + {m} images were given for {c} channels; expected two of each and {c + 4} in "
            "all. Add images."
        )
    if not all(np.isfinite(out).all() for out in outputs):
        raise InputError(
            "An image holds NaN or infinity; an observer that leaves it out would not see it. Mend "
            "the image."
        )
    signal = outputs[0].mean(0) - outputs[1].mean(0)
    scatter = sum(np.atleast_2d(np.cov(out.T)) * (len(out) - 1) for out in outputs)
    covariance = scatter / (n + m - 2)
    spread = np.sqrt(np.diag(covariance))
    if spread.min() <= 0 or np.linalg.cond(covariance / np.outer(spread, spread)) > 1e12:
        raise InputError(
            "Channel outputs do not vary or depend on one another, so there is no Hotelling "
            "observer. Use fewer channels."
        )
    squared = float(signal @ np.linalg.solve(covariance, signal))
    index = np.sqrt(max((n + m - c - 3) / (n + m - 2) * squared - c * (n + m) / (n * m), 0.0))
    auc = float(special.ndtr(index / np.sqrt(2)))
    return Detectability(
        float(index), _interval(squared, n, m, c), auc, float(np.sqrt(squared)), (n, m), c
    )


def dense_gaussians(
    shape: Sequence[int],
    *,
    count: int = 10,
    first: float = 0.005,
    growth: float = 1.4,
    width: float = 1.67,
) -> Array:
    """Return dense difference-of-Gaussian channels (Abbey and Barrett, JOSA A 2001,
    10.1364/JOSAA.18.000473).

    Args: shape: `(x, y)` of the images; the channels are centred on voxel `(x // 2, y // 2)`.
        count, first, growth: the standard deviation of channel j in frequency is `first *
        growth^j`, cycles a pixel, j from 1. width: by how much the wider Gaussian of each
        difference is wider.

    Returns:
        `(count, x, y)`: round band-pass templates.
    """
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    deviations = first * growth ** np.arange(1, count + 1)[:, None, None]
    bands = np.exp(-0.5 * (frequency / (width * deviations)) ** 2) - np.exp(
        -0.5 * (frequency / deviations) ** 2
    )
    return np.asarray(np.fft.fftshift(np.fft.ifft2(bands).real, axes=(1, 2)))


def laguerre_gauss(shape: Sequence[int], *, width: float, count: int = 6) -> Array:
    """Return Laguerre-Gauss channels, for round signals (Gallas and Barrett, JOSA A 2003,
    10.1364/JOSAA.20.001725).

    Args:
        shape: `(x, y)` of the images; the channels are centred on voxel `(x // 2, y // 2)`.
        width: a of `exp(-pi r^2 / a^2)`, the first channel, in pixels; about that of the signal.
        count: how many; their sum fits any round signal as it grows.

    Returns:
        `(count, x, y)`, orthonormal up to the pixel grid.

    Raises:
        SettingError: a width that is not above 0.
    """
    if not width > 0:
        raise SettingError(
            f"A width of {width} was given; expected pixels above 0, about the width of the signal."
        )
    x, y = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    radius = 2 * np.pi * (x**2 + y**2) / width**2
    return np.stack(
        [
            np.sqrt(2) / width * np.exp(-radius / 2) * special.eval_laguerre(order, radius)
            for order in range(count)
        ]
    )


def _interval(squared: float, n: int, m: int, c: int) -> tuple[float, float]:
    """Invert the noncentral F distribution of the sample's squared d' for its 95 % interval."""
    free, weight = n + m - c - 1, n * m / (n + m)
    statistic = free * weight / (c * (n + m - 2)) * squared

    def excess(noncentrality: float, share: float) -> float:
        return float(stats.ncf.cdf(statistic, c, free, noncentrality)) - share

    ends = []
    for share in (0.975, 0.025):
        if stats.f.cdf(statistic, c, free) <= share:
            ends.append(0.0)
            continue
        high = 4.0
        while excess(high, share) > 0:
            high *= 2
        ends.append(float(np.sqrt(optimize.brentq(excess, 0.0, high, args=(share,)) / weight)))
    return ends[0], ends[1]
