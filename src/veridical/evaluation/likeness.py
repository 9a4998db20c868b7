"""What two images of one grid say of how they were stored: turned against each other, or on
different scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np

from veridical.types import Array, Geometry

ROUNDED = 0.1
"""Share of a voxel by which stored positions may differ by rounding."""
SAMPLE = 32
"""Voxels along an axis at which images are looked at."""
PERCENTILES = (1, 50, 99)
MENDED = 5.0
"""A rescaling that makes the error so many times smaller shows that the scales differ."""


def sampled(data: Array) -> Array:
    """Return an image at evenly spread voxels, at most 32 along each axis, float64."""
    places = [np.unique(np.linspace(0, n - 1, SAMPLE).round().astype(int)) for n in data.shape[1:]]
    return np.asarray(data[np.ix_(np.arange(len(data)), *places)], dtype=np.float64)


def correlation(one: Array, other: Array) -> float:
    """Return Pearson's correlation over all voxels; 0 where one image is constant."""
    x, y = one.ravel() - one.mean(), other.ravel() - other.mean()
    below = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / below if below > 0 else 0.0


def turned(candidate: Array, reference: Array, shape: tuple[int, int, int], gain: float) -> str:
    """Return how the candidate would have to be turned to fit much better, in words; empty when it
    lies right.

    Args: candidate, reference: `(channel, x, y, z)` at the voxels of `sampled`. shape: of the whole
        grid: only axes of one length are exchanged. gain: in Fisher's z of the correlation, so that
        0.90 against 0.99 counts (1.2), and 0.30 against 0.35 does not (0.06).
    """
    as_is = correlation(candidate, reference)
    best, said = as_is, ""
    for image, what in _turns(candidate, shape):
        found = correlation(image, reference)
        if found > max(best, 0.5) and _z(found) - _z(as_is) > gain:
            best, said = found, f"{what} (correlation {found:.2f} instead of {as_is:.2f})"
    return said


def _turns(data: Array, shape: tuple[int, int, int]) -> Iterator[tuple[Array, str]]:
    """Yield the image in every other orientation of its grid."""
    for order in permutations(range(3)):
        if any(shape[axis] != shape[place] for place, axis in enumerate(order)):
            continue
        moved = np.transpose(data, (0, *(axis + 1 for axis in order)))
        exchanged = " and ".join("xyz"[place] for place, axis in enumerate(order) if axis != place)
        for flips in product((False, True), repeat=3):
            axes = [axis for axis, flip in enumerate(flips) if flip]
            if any(shape[axis] == 1 for axis in axes) or not (axes or exchanged):
                continue
            along = " and ".join("xyz"[axis] for axis in axes)
            parts = [
                f"with {exchanged} exchanged" if exchanged else "",
                f"flipped along {along}" if axes else "",
            ]
            yield (
                np.flip(moved, tuple(axis + 1 for axis in axes)),
                " and ".join(part for part in parts if part),
            )


def _z(value: float) -> float:
    return float(np.arctanh(min(value, 1 - 1e-9)))


def rescaled(
    candidate: Array, reference: Array, ratio: float, offset: float, paired: bool = True
) -> str:
    """Return how the scale of the candidate differs from that of the reference, in words; empty
    when it does not.

    It does when the ranges from the 1st to the 99th percentile differ by more than `ratio`, when
    all percentiles are shifted to one side by more than `offset` ranges of the reference, or when
    the voxels are off by as much and one factor and offset mend it.

    Args:
        candidate, reference: of one unit; `paired`: of one shape, voxel by voxel.
    """
    ours, theirs = np.percentile(candidate, PERCENTILES), np.percentile(reference, PERCENTILES)
    width = float(theirs[-1] - theirs[0]) or float(np.ptp(reference)) or 1.0
    own = float(ours[-1] - ours[0]) or float(np.ptp(candidate))
    shift = ours - theirs
    wrong = not 1 / ratio <= own / width <= ratio
    wrong |= bool(
        (np.abs(shift) > offset * width).all() and abs(np.sign(shift).sum()) == len(shift)
    )
    if paired and not wrong:
        off = float(np.sqrt(np.mean((candidate - reference) ** 2)))
        rest = float(reference.std()) * float(
            np.sqrt(max(0.0, 1 - correlation(candidate, reference) ** 2))
        )
        wrong = off > offset * width and rest < off / MENDED
    if not wrong:
        return ""
    return (
        f"the candidate goes from {ours[0]:.4g} to {ours[-1]:.4g}, the reference from "
        f"{theirs[0]:.4g} to {theirs[-1]:.4g}"
    )


def other_grid(
    one: Geometry, other: Geometry, tolerance: float = 0.01, rounded: bool = False
) -> str:
    """Return how two grids differ, in words; empty when they do not as far as the files say.

    Arrays have no millimetres and some NIfTI files no position: what is not stated is not compared.

    Args: tolerance: in mm. rounded: take grids for one that differ by less than a tenth of a voxel,
        as when an affine was stored in few digits.
    """
    if rounded:
        tolerance = max(tolerance, ROUNDED * min(*one.spacing, *other.spacing))
    if one.shape != other.shape:
        return f"{one} against {other}"
    frames = {one.frame, other.frame}
    if "index" in frames or one.matches(other, tolerance):
        return ""
    if not np.allclose(one.spacing, other.spacing, atol=tolerance):
        return f"{one} against {other}"
    if "local" in frames:
        return ""
    return f"{one} at two places or angles; copy the affine if it was lost on the way"
