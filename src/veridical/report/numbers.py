"""The numbers behind the sentences: how much was measured, where the rest lies, and what became of
a lesion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from veridical.evaluation.regions import magnitude
from veridical.types import Array, Geometry, Image, Result

MEASURED, IMAGINED = 0.9, 0.5
"""Evidence from which a voxel counts as measured, and below which it counts as imagined."""
LEAST = 0.03
"""The share of voxels, those with the least evidence, whose place is described."""
RING = (1.0, 5.0)
"""A lesion's surroundings: further than the first and at most the second from it, in voxels of the
smallest size.
"""
FAINT = 0.02
"""A lesion whose contrast is below this share of its surroundings has none that could be kept."""


@dataclass(frozen=True)
class Shares:
    """Shares of a region by evidence: `measured` (0.9 or more), `imagined` (below 0.5), `mixed`
    (between); and its mean.
    """

    measured: float
    mixed: float
    imagined: float
    mean: float


@dataclass(frozen=True)
class Place:
    """Where the voxels with the least evidence lie.

    Args: bound: the largest evidence among them. edges: share of them on the sharpest fifth of the
        region; 0.2 if edges played no part. rim: share of them in the outer half of the region's
        voxels; about 0.5 if depth played no part.
    """

    bound: float
    edges: float
    rim: float


def evidence(derived: Result) -> Array | None:
    """Return the evidence map `(channel, x, y, z)`, or None where there is none."""
    return None if derived.evidence is None else derived.evidence.map


def shares(known: Array, mask: Array) -> Shares:
    """Return how much of a region was measured; `known` is the evidence map `(channel, x, y, z)`,
    `mask` is `(x, y, z)`.
    """
    values = known[:, mask]
    measured, imagined = float(np.mean(values >= MEASURED)), float(np.mean(values < IMAGINED))
    return Shares(measured, 1 - measured - imagined, imagined, float(values.mean()))


def place(known: Array, image: Image, mask: Array) -> Place | None:
    """Return where the 3 % with the least evidence lie, by the mean over channels; None where all
    have the same.
    """
    values = known.mean(axis=0)[mask]
    bound = float(np.quantile(values, LEAST, method="higher"))
    if bound >= values.max():
        return None
    least = values <= bound
    sharpness = _gradient(magnitude(image.data).mean(axis=0), image.geometry)[mask]
    depth = ndimage.distance_transform_edt(
        np.pad(mask, ((1, 1), (1, 1), (0, 0))), image.geometry.spacing
    )[1:-1, 1:-1][mask]
    sharp = sharpness >= np.quantile(sharpness, 0.8)
    return Place(
        bound, float(sharp[least].mean()), float((depth <= np.median(depth))[least].mean())
    )


def prior_energy(derived: Result) -> float | None:
    """Return the share of the estimate's energy that lies where the measurement is blind; None
    without the exact split.
    """
    found = derived.evidence
    if found is None or found.measured is None or found.unmeasured is None:
        return None
    parts = [
        float(np.sum(np.abs(part.astype(np.complex128)) ** 2))
        for part in (found.measured, found.unmeasured)
    ]
    return parts[1] / sum(parts) if sum(parts) > 0 else None


def half_width(derived: Result, mask: Array) -> tuple[float, float] | None:
    """Return the median half-width of the interval in a region and the median magnitude of the
    estimate there.
    """
    if derived.interval is None:
        return None
    width = (derived.interval.upper - derived.interval.lower)[:, mask] / 2
    return float(np.median(width)), float(np.median(np.abs(derived.image.data[:, mask])))


def error_ratio(derived: Result, truth: Image, mask: Array) -> float | None:
    """Return the mean error where it was imagined over the mean error where it was measured; None
    with too few of either.
    """
    known = evidence(derived)
    if known is None:
        return None
    error = np.abs(magnitude(derived.image.data) - magnitude(truth.data))[:, mask]
    values = known[:, mask]
    imagined, measured = values < IMAGINED, values >= MEASURED
    if min(imagined.sum(), measured.sum()) < 20:
        return None
    below = float(error[measured].mean())
    return float(error[imagined].mean()) / below if below > 0 else None


def surroundings(lesion: Array, region: Array, geometry: Geometry) -> Array:
    """Return the ring around a lesion inside a region, bool `(x, y, z)`: voxels more than 1 and at
    most 5 voxels away.
    """
    distance = ndimage.distance_transform_edt(
        ~lesion, np.array(geometry.spacing) / min(geometry.spacing)
    )
    return np.asarray((distance > RING[0]) & (distance <= RING[1]) & region)


def contrast(data: Array, lesion: Array, ring: Array) -> float:
    """Return a lesion's mean minus its surroundings' mean, averaged over channels; `data` is
    `(channel, x, y, z)`.
    """
    return float(magnitude(data)[:, lesion].mean() - magnitude(data)[:, ring].mean())


def recovery(truth: Image, candidates: Array, lesion: Array, ring: Array) -> list[float] | None:
    """Return each candidate's lesion contrast over the true one (contrast recovery, NEMA NU 2 in
    spirit).

    Args:
        truth: the true image.
        candidates: `(candidate, channel, x, y, z)`.
        lesion, ring: bool `(x, y, z)`.

    Returns: 1: kept; 0: gone; None where the truth shows no contrast (less than 2 % of the
        surroundings).
    """
    real = contrast(truth.data, lesion, ring)
    if abs(real) < FAINT * float(np.abs(truth.data[:, ring]).mean()):
        return None
    return [contrast(candidate, lesion, ring) / real for candidate in candidates]


def points(result: Result) -> list[tuple[str, str, str, str]]:
    """Return structure, point, Gy and its interval in words, of the dose-volume points that a
    result has.
    """
    found = []
    for structure, each in result.image.header.get("dvh", {}).items():
        for point, said in each.items():
            ends = f"{said['lower']:.1f} to {said['upper']:.1f}" if "lower" in said else "none"
            found.append((structure, point, f"{said['value']:.1f}", ends))
    return found


def _gradient(volume: Array, geometry: Geometry) -> Array:
    axes = [axis for axis in range(3) if volume.shape[axis] > 1]
    smooth = ndimage.gaussian_filter(volume, [1.0 if axis in axes else 0.0 for axis in range(3)])
    parts = np.gradient(smooth, *[geometry.spacing[axis] for axis in axes], axis=tuple(axes))
    return np.asarray(np.sqrt(sum(part**2 for part in (parts if len(axes) > 1 else [parts]))))
