"""Bias field of MR images: the smooth factor by which coils shade them, estimated without training
(N4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from veridical.errors import GeometryError, InputError, SettingError
from veridical.types import Array

FEWEST = 100
"""Voxels of the mask on the coarse grid: a histogram of fewer is mostly gaps."""


@dataclass(frozen=True)
class N4:
    """Settings of the N4 algorithm; the defaults are those of its authors (Tustison et al.
    2010).
    """

    grid: float = 4.0
    """Voxel size in mm of the grid on which the field is estimated: voxels are skipped until they
    are as far apart, at most every fourth is kept. The field is smooth, so little is lost; the time
    falls with the cube.
    """
    knots: float = 200.0
    """Distance in mm of the knots of the first, coarsest spline. Smaller values let the field
    follow anatomy.
    """
    levels: int = 4
    """Splines, each with half the knot distance of the one before."""
    iterations: int = 50
    """At most so many for each level."""
    tolerance: float = 0.001
    """A level ends when an iteration changes the field by less: coefficient of variation of the
    ratio of successive fields.
    """
    width: float = 0.15
    """Full width at half maximum of the Gaussian by which bias blurs the histogram of log
    intensity.
    """
    noise: float = 0.01
    """Of the Wiener filter that sharpens the histogram; larger values sharpen less."""
    bins: int = 200
    """Of the histogram."""

    def __post_init__(self) -> None:
        sizes = (self.grid, self.knots, self.tolerance, self.width, self.noise)
        if (
            not all(0 < size < np.inf for size in sizes)
            or min(self.levels, self.iterations) < 1
            or self.bins < 10
        ):
            raise SettingError(
                f"N4: {self}; expected sizes above 0, at least 1 level and iteration, and at least "
                "10 bins."
            )


def bias_field(
    image: Array,
    spacing: tuple[float, float, float],
    mask: Array | None = None,
    settings: N4 | None = None,
) -> Array:
    """Return the bias field of an MR image; `image / field` is the corrected image.

    N4 of Tustison et al. 2010 (10.1109/TMI.2010.2046908): bias blurs the histogram of log
    intensity; sharpening the histogram tells by how much each voxel is off, and a B-spline, refined
    level by level, keeps what is smooth of it.

    Args: image: `(x, y, z)`, real, at least 0 in tissue, in any units. Several slices; a single one
        works less well. spacing: voxel size in mm along x, y, z. mask: `(x, y, z)` bool, the voxels
        that the estimate rests on; None: those above Otsu's threshold. Voxels of it at 0 or below
        count as outside, since they have no logarithm. settings: of the algorithm; None: the
        defaults.

    Returns: `(x, y, z)` float32, above 0, without unit, with mean 1 inside the mask. Outside the
        mask it is extrapolated.

    Raises:
        GeometryError: the image is not a volume, or mask or spacing do not fit it.
        InputError: NaN, infinite or complex values, or too few positive voxels in the mask.
    """
    settings = settings or N4()
    inside = _inside(image, spacing, mask)
    steps = [min(4, max(1, round(settings.grid / size))) for size in spacing]
    kept = tuple(
        slice((size - 1) % step // 2, None, step)
        for size, step in zip(image.shape, steps, strict=True)
    )
    if inside[kept].sum() < FEWEST:
        kept = (slice(None),) * 3
    spans = [
        max(1, round(size * n / settings.knots))
        for size, n in zip(spacing, image.shape, strict=True)
    ]
    weight = inside[kept].astype(np.float64)
    logs = np.log(np.where(inside[kept], image[kept], 1).astype(np.float64))
    coarse, field = np.zeros(weight.shape), np.zeros(image.shape)
    for level in range(settings.levels):
        full = [_basis(n, span * 2**level) for n, span in zip(image.shape, spans, strict=True)]
        bases = [basis[one] for basis, one in zip(full, kept, strict=True)]
        lattice = _level(logs, coarse, weight, bases, settings)
        coarse += _product(lattice, bases)
        field += _product(lattice, full)
    factor = np.exp(field - field[inside].mean())
    return np.asarray(factor / factor[inside].mean(), np.float32)


def _inside(image: Array, spacing: tuple[float, float, float], mask: Array | None) -> Array:
    """Check the arguments of `bias_field` and return the voxels that count."""
    if image.ndim != 3 or len(spacing) != 3 or not all(0 < size < np.inf for size in spacing):
        raise GeometryError(
            f"bias field: an image of shape {image.shape} with voxels of {spacing} mm; expected a "
            "volume (x, y, z) and three "
            "sizes above 0. Pass one channel, and the spacing of its geometry."
        )
    if np.iscomplexobj(image) or not np.isfinite(image).all():
        raise InputError(
            "bias field: the image is complex or holds NaN or infinities. Pass finite magnitudes."
        )
    if mask is not None and mask.shape != image.shape:
        raise GeometryError(
            f"bias field: a mask of shape {mask.shape}; expected {image.shape}, as the image. "
            "Resample it."
        )
    positive = image > 0
    if mask is None and image.max() > image.min():
        from skimage.filters import threshold_otsu

        mask = image > threshold_otsu(image)
    inside = positive if mask is None else positive & mask.astype(bool)
    if inside.sum() < FEWEST:
        raise InputError(
            f"bias field: {inside.sum()} positive voxels in the mask; expected at least {FEWEST}. "
            "Give a mask of the tissue."
        )
    return cast(Array, inside)


def _level(logs: Array, before: Array, weight: Array, bases: list[Array], settings: N4) -> Array:
    """Return the control points that one level adds to the log field `before`, all on the coarse
    grid.
    """
    lattice = np.zeros([basis.shape[1] for basis in bases])
    for _ in range(settings.iterations):
        flat = logs - before - _product(lattice, bases)
        change = _fitted(
            np.where(weight > 0, flat - _sharpened(flat, weight, settings), 0), weight, bases
        )
        lattice += change
        ratio = np.exp(_product(change, bases)[weight > 0])
        if ratio.std() < settings.tolerance * ratio.mean():
            break
    return lattice


def _sharpened(logs: Array, weight: Array, settings: N4) -> Array:
    """Return the expected log intensity of each voxel without bias (Sled et al. 1998,
    10.1109/42.668698).
    """
    inside = logs[weight > 0]
    low, step = inside.min(), float(np.ptp(inside)) / (settings.bins - 1)
    if step < 1e-9:
        return logs
    place = np.clip((logs - low) / step, 0, settings.bins - 1)
    below = np.minimum(place.astype(int), settings.bins - 2)
    part = place - below
    size = 4 * settings.bins
    histogram = np.bincount(below.ravel(), (weight * (1 - part)).ravel(), size)
    histogram += np.bincount(below.ravel() + 1, (weight * part).ravel(), size)
    away = np.minimum(np.arange(size), size - np.arange(size)) * step / settings.width
    gaussian = np.exp(-4 * np.log(2) * away**2)
    blur = np.fft.rfft(gaussian / gaussian.sum())
    sharp = np.fft.irfft(
        np.fft.rfft(histogram) * blur.conj() / (np.abs(blur) ** 2 + settings.noise), size
    ).clip(0)
    signed = (
        np.where(
            np.arange(size) < size // 2 + settings.bins // 2,
            np.arange(size),
            np.arange(size) - size,
        )
        * step
    )
    above, under = (
        np.fft.irfft(np.fft.rfft(one) * blur, size)[: settings.bins]
        for one in (sharp * signed, sharp)
    )
    expected = low + above / np.maximum(under, 1e-12 * under.max())
    return cast(Array, expected[below] * (1 - part) + expected[below + 1] * part)


def _fitted(values: Array, weight: Array, bases: list[Array]) -> Array:
    """Return the control points of a spline near the values (Lee, Wolberg and Shin 1997,
    10.1109/2945.620490).
    """
    squared = [basis**2 for basis in bases]
    share = _product(np.ones([basis.shape[1] for basis in bases]), squared)
    wanted = _product(weight * values / share, [(basis**3).T for basis in bases])
    total = _product(weight, [basis.T for basis in squared])
    return np.where(total > 1e-9, wanted / np.maximum(total, 1e-9), 0)


def _basis(size: int, spans: int) -> Array:
    """Return `(size, spans + 3)`: uniform cubic B-splines at the centres of `size` voxels."""
    place = (np.arange(size) + 0.5) / size * spans
    away = np.abs(place[:, None] - (np.arange(spans + 3) - 1))
    return np.where(away < 1, 2 / 3 - away**2 + away**3 / 2, (2 - away.clip(0, 2)) ** 3 / 6)


def _product(array: Array, bases: list[Array]) -> Array:
    """Apply one matrix along each axis."""
    for axis, basis in enumerate(bases):
        array = np.moveaxis(np.tensordot(basis, array, (1, axis)), 0, axis)
    return array
