"""Scanning Fourier ring correlation: down to which detail each patch of an image agrees with its
reference.

Kc, Zeng, Soni and Badano, "sFRC for detecting fakes in AI-assisted medical image recovery", 2024
(10.36227/techrxiv.171259560.02243347). Patches whose correlation falls below a threshold at a lower
frequency than is usual are where something was made up, removed or smoothed.

The window is separable, Hann x Hann. Such windows of patches that overlap by half sum to exactly
one, so every pixel counts the same wherever it lies. A radial window is zero outside of the circle
in the patch: it leaves out a fifth of the area, and what lies in the corners of four patches is
seen by none of them at more than a few percent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.audit.structures import foreground
from veridical.errors import GeometryError
from veridical.types import Array

PATCH = 32
"""Side of a patch in pixels; patches overlap by half."""
THRESHOLD = 0.5
"""Correlation below which a ring does not agree."""
UNUSUAL = 0.5
"""Share of the median cutoff of all patches below which a patch is marked."""
FILLED = 0.5
"""Share of a patch that must be foreground."""


@dataclass(frozen=True, eq=False)
class PatchScan:
    """The patches of one slice.

    Args:
        corners: `(patch, 2)`, row and column of the first pixel.
        cutoffs: `(patch,)`, the frequency at which the correlation falls below the threshold, as a
            share of the Nyquist frequency; 1 where it never does.
        marked: `(patch,)` bool.
    """

    corners: Array
    cutoffs: Array
    marked: Array


def patch_scan(
    image: Array,
    reference: Array,
    side: int = PATCH,
    threshold: float = THRESHOLD,
    lowest: float | None = None,
) -> PatchScan:
    """Scan one slice.

    Args:
        image, reference: `(y, x)` of one shape; an overall scale does not matter.
        side: of the patches in pixels, even.
        threshold: of the correlation.
        lowest: cutoff, as a share of the Nyquist frequency, below which a patch is marked; None:
            half of the median over the patches of this slice.

    Raises:
        GeometryError: shapes differ, or the slice is smaller than a patch.
    """
    if image.shape != reference.shape or image.ndim != 2 or min(image.shape) < side:
        raise GeometryError(
            f"Slices of {image.shape} and {reference.shape} were given; expected one shape (y, x) "
            f"of at least {side} pixels a side. Give a smaller side, or larger images."
        )
    inside = foreground(reference)
    corners = np.array(
        [
            (row, column)
            for row in _starts(image.shape[0], side)
            for column in _starts(image.shape[1], side)
            if inside[row : row + side, column : column + side].mean() >= FILLED
        ],
        dtype=int,
    ).reshape(-1, 2)
    cut = [
        np.stack([a[r : r + side, c : c + side] for r, c in corners])
        if len(corners)
        else np.zeros((0, side, side))
        for a in (image, reference)
    ]
    cutoffs = cutoff(ring_correlation(*cut), threshold)
    if lowest is None:
        lowest = UNUSUAL * float(np.median(cutoffs)) if len(cutoffs) else 0.0
    return PatchScan(corners, cutoffs, cutoffs < lowest)


def ring_correlation(image: Array, reference: Array) -> Array:
    """Return the correlation of patches `(patch, side, side)` in rings of one frequency step,
    `(patch, ring)`, from one step up to the Nyquist frequency.
    """
    side = image.shape[-1]
    taper = window(side)
    spectra = []
    for patches in (image, reference):
        mean = (taper * patches).sum((-2, -1), keepdims=True) / taper.sum()
        spectra.append(np.fft.fft2(taper * (patches - mean)))
    step = np.fft.fftfreq(side) * side
    ring = np.rint(np.hypot(step[:, None], step[None])).astype(int)
    sums = []
    for product in (
        (spectra[0] * spectra[1].conj()).real,
        np.abs(spectra[0]) ** 2,
        np.abs(spectra[1]) ** 2,
    ):
        sums.append(
            np.stack([product[:, ring == r].sum(-1) for r in range(1, side // 2 + 1)], axis=-1)
        )
    power = np.sqrt(sums[1] * sums[2])
    return np.asarray(np.divide(sums[0], power, out=np.zeros_like(power), where=power > 0))


def cutoff(correlation: Array, threshold: float) -> Array:
    """Return where curves `(patch, ring)` first fall below a threshold, linear in between, as a
    share of the last ring's frequency; 1 where they never do.
    """
    rings = correlation.shape[-1]
    found = np.ones(len(correlation))
    for number, curve in enumerate(correlation):
        below = np.flatnonzero(curve < threshold)
        if not len(below):
            continue
        first = int(below[0])
        before = 1.0 if first == 0 else float(curve[first - 1])
        found[number] = (first + (before - threshold) / (before - float(curve[first]))) / rings
    return found


def window(side: int) -> Array:
    """Return the separable Hann window `(side, side)`; windows shifted by half a side sum to 1."""
    hann = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    return np.outer(hann, hann)


def _starts(length: int, side: int) -> list[int]:
    """Return the first pixels of patches that overlap by half, the last one at the border."""
    starts = list(range(0, length - side + 1, side // 2))
    return starts if starts[-1] == length - side else [*starts, length - side]
