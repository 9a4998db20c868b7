"""Rigid registration of one volume to another by mutual information, with SimpleITK.

Mattes mutual information needs no likeness of intensities, so MR, CT and PET are registered alike.
Starts with several positions and angles are compared on a coarse grid; the best are refined there,
and the best of these on finer grids.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from veridical.errors import GeometryError
from veridical.types import Array, Geometry

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
LEVELS = (6.0, 3.0, 1.5)
"""Millimetres of the grids, coarse to fine. Finer ones take longer and gain less than a tenth of a
voxel.
"""
TURNS = (-20.0, 0.0, 20.0)
"""Degrees about each axis that the starts try."""
KEPT = 4
"""Starts that are refined on the coarsest grid."""
SAMPLES = 60_000
"""Voxels that the similarity is computed from, at most."""
BINS = 32
ENDS = (1.0, 99.5)
"""Percentiles to which intensities are clipped: padding and bladders would fill the histogram."""
STEPS, RELAXATION = 150, 0.75
"""Steps of a level at most, and the factor by which a step shrinks where the gradient turns: 0.5
stops too early.
"""
NUDGES = (2.0, 5.0, 12.0)
"""Millimetres and degrees by which a volume is moved to see whether it fits better elsewhere: far
from where it fits, a small movement changes nothing.
"""
BETTER = 0.002
"""Gain in normalized mutual information that counts."""
OVERLAP = 0.4
"""Least share of the smaller field of view that must lie within the other."""


@dataclass(frozen=True, eq=False)
class Registration:
    """A rigid transform that was found.

    Args: matrix: `(4, 4)`, mm of the fixed volume to mm of the moving one, RAS+. shift: mm by which
        it moves the centre of the fixed volume. angle: degrees by which it turns. before, after:
        normalized mutual information (Studholme 1999) without and with it, 1 (independent) to 2
        (equal); before is NaN where the fields of view did not overlap.
    """

    matrix: Array
    shift: float
    angle: float
    before: float
    after: float

    def __str__(self) -> str:
        likeness = (
            f"normalized mutual information {self.before:.3f} before and {self.after:.3f} after"
        )
        return f"moved by {self.shift:.1f} mm and {self.angle:.1f} degrees, {likeness}"


def register(fixed: Array, grid: Geometry, moving: Array, own: Geometry) -> Registration:
    """Return the rigid transform under which a moving volume fits a fixed one; none where that is
    no better than before.

    The same volumes give the same numbers.

    Args: fixed, moving: `(x, y, z)`, real, in any units. grid, own: their grids. Positions need not
        be comparable; orientations must be, to about 40 degrees.

    Raises:
        GeometryError: less than four slices, or nothing that fits.
    """
    import SimpleITK as sitk

    if min(grid.shape) < 4 or min(own.shape) < 4:
        raise GeometryError(
            f"{grid} and {own}: a registration needs four slices or more. Register them elsewhere."
        )
    pair = [(_clipped(data), place) for data, place in ((fixed, grid), (moving, own))]
    with _one_thread(sitk):
        found = _started(sitk, [_level(sitk, *one, LEVELS[0]) for one in pair])
        for coarser, size in itertools.pairwise(LEVELS):
            if coarser > min(*grid.spacing, *own.spacing):
                found = _refined(sitk, [_level(sitk, *one, size) for one in pair], found)[1]
    matrix = _matrix(found)
    before, after = (similarity(fixed, grid, moving, own, one) for one in (np.eye(4), matrix))
    if before >= after:
        matrix, after = np.eye(4), before
    centre = grid.affine @ [*((n - 1) / 2 for n in grid.shape), 1.0]
    angle = np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1)))
    return Registration(
        matrix, float(np.linalg.norm((matrix @ centre - centre)[:3])), float(angle), before, after
    )


@contextmanager
def _one_thread(sitk: Any) -> Iterator[None]:
    """Keep ITK to one thread: sums over several come out in another order each time, so that
    results would not repeat.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def fits(fixed: Array, grid: Geometry, moving: Array, own: Geometry) -> bool:
    """Say whether two volumes fit as they lie: no movement along or about an axis makes them more
    alike. Takes a small part of a registration.

    Args:
        fixed, grid, moving, own: as in `register`.
    """
    centre = grid.affine[:3] @ [*((n - 1) / 2 for n in grid.shape), 1.0]
    pair = _clipped(fixed), _clipped(moving)
    usual = _similarity(pair, grid, own, np.eye(4))
    for nudge, axis, sign in itertools.product(NUDGES, range(3), (-1, 1)):
        shift, turn = np.eye(4), np.eye(4)
        shift[axis, 3] = sign * nudge
        one, other = [n for n in range(3) if n != axis]
        angle = sign * np.radians(nudge)
        turn[[one, other], [one, other]] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        turn[:3, 3] = centre - turn[:3, :3] @ centre
        if any(_similarity(pair, grid, own, m) > usual + BETTER for m in (shift, turn)):
            return False
    return True


def similarity(fixed: Array, grid: Geometry, moving: Array, own: Geometry, matrix: Array) -> float:
    """Return the normalized mutual information of two volumes where both are, 1 to 2; NaN where
    that is nowhere.

    Args:
        fixed, grid, moving, own: as in `register`.
        matrix: `(4, 4)`, mm of the fixed volume to mm of the moving one.
    """
    return _similarity((_clipped(fixed), _clipped(moving)), grid, own, matrix)


def _similarity(pair: tuple[Array, Array], grid: Geometry, own: Geometry, matrix: Array) -> float:
    every = max(1, round((np.prod(grid.shape) / SAMPLES) ** (1 / 3)))
    one = pair[0][::every, ::every, ::every]
    step = np.linalg.inv(own.affine) @ matrix @ grid.affine
    other = ndimage.affine_transform(
        pair[1], every * step[:3, :3], step[:3, 3], one.shape, order=1, cval=np.nan
    )
    inside = ~np.isnan(other)
    if (count := inside.sum()) < BINS**2:
        return float("nan")
    cells = BINS * _bins(one[inside]) + _bins(other[inside])
    joint = np.bincount(cells, minlength=BINS**2).reshape(BINS, BINS) / count
    separate = _entropy(joint.sum(0)) + _entropy(joint.sum(1))
    return float(separate / max(_entropy(joint), 1e-12))


def _bins(values: Array) -> Array:
    """Return in which of `BINS` equal parts of their range values lie."""
    low, high = float(values.min()), float(values.max())
    scale = BINS / (high - low) if high > low else 0.0
    return np.minimum((values - low) * scale, BINS - 1).astype(np.intp)


def _entropy(shares: Array) -> float:
    held = shares[shares > 0]
    return float(-(held * np.log(held)).sum())


def _clipped(data: Array) -> Array:
    low, high = np.percentile(data, ENDS)
    return np.clip(np.asarray(data, np.float32), low, high)


def _level(sitk: Any, data: Array, geometry: Geometry, size: float) -> Any:
    """Return a volume smoothed and resampled to voxels of about `size` mm, finer sides left as
    coarse as they are.
    """
    factors = np.maximum(1.0, size / np.array(geometry.spacing))
    shape = np.maximum(2, np.ceil(np.array(geometry.shape) / factors)).astype(int)
    smooth = ndimage.gaussian_filter(data, 0.45 * (factors - 1))
    offset = ((np.array(geometry.shape) - 1) - factors * (shape - 1)) / 2
    coarse = ndimage.affine_transform(
        smooth, factors, offset, tuple(shape), order=1, mode="nearest"
    )
    affine = LPS @ geometry.affine @ np.vstack([np.c_[np.diag(factors), offset], [0, 0, 0, 1]])
    return _image(sitk, coarse, affine)


def _image(sitk: Any, data: Array, affine: Array) -> Any:
    """Return an ITK image; a shear, as of a tilted gantry, is refused."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > 1e-3:
        raise GeometryError(
            "A sheared grid (tilted gantry) cannot be registered. Resample it to right angles "
            "first."
        )
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def _started(sitk: Any, pair: list[Any]) -> Any:
    """Return the best of the refined starts: as the volumes lie, grid centres together, centres of
    mass together.
    """
    fixed, moving = pair
    kinds = sitk.CenteredTransformInitializerFilter
    places = [sitk.Euler3DTransform()]
    places += [
        sitk.CenteredTransformInitializer(fixed, moving, places[0], kind)
        for kind in (kinds.GEOMETRY, kinds.MOMENTS)
    ]
    centre = fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()])
    method, starts = _method(sitk, fixed), list[tuple[float, int, Any]]()
    for place, turn in itertools.product(places, itertools.product(np.radians(TURNS), repeat=3)):
        start = sitk.Euler3DTransform()
        start.SetCenter(centre)
        start.SetTranslation((np.array(place.TransformPoint(centre)) - centre).tolist())
        start.SetRotation(*turn)
        if _overlap(fixed, moving, _matrix(start, False)) >= OVERLAP:
            method.SetInitialTransform(start)
            starts.append((method.MetricEvaluate(fixed, moving), len(starts), start))
    if not starts:
        raise GeometryError(
            "No start of the registration overlaps enough; the volumes show different parts of the "
            "body."
        )
    refined = [_refined(sitk, pair, start) for _, _, start in sorted(starts)[:KEPT]]
    return min(refined, key=lambda one: one[0])[1]


def _method(sitk: Any, fixed: Any) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    share = SAMPLES / fixed.GetNumberOfPixels()
    if share < 1:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(share, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.005, STEPS, RELAXATION, 1e-8)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _refined(sitk: Any, pair: list[Any], start: Any) -> tuple[float, Any]:
    """Return the similarity reached, the lower the better, and the transform."""
    method, found = _method(sitk, pair[0]), sitk.Euler3DTransform(start)
    method.SetInitialTransform(found, True)
    try:
        method.Execute(*pair)
    except RuntimeError as error:
        raise GeometryError(
            f"The registration failed: {str(error).strip().splitlines()[-1]}. Register them "
            "elsewhere."
        ) from error
    return method.GetMetricValue(), found


def _matrix(transform: Any, ras: bool = True) -> Array:
    """Return an Euler transform as a matrix, mm to mm."""
    turn, centre = np.array(transform.GetMatrix()).reshape(3, 3), np.array(transform.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, centre + transform.GetTranslation() - turn @ centre
    return LPS @ matrix @ LPS if ras else matrix


def _overlap(fixed: Any, moving: Any, matrix: Array) -> float:
    """Return the share of the smaller field of view that lies within the other, from a coarse grid
    of points.
    """
    shares = []
    for one, other, step in ((fixed, moving, matrix), (moving, fixed, np.linalg.inv(matrix))):
        index = np.stack(
            np.meshgrid(*[np.linspace(0, n - 1, 6) for n in one.GetSize()], indexing="ij")
        ).reshape(3, -1)
        there = (
            np.linalg.inv(_affine(other))
            @ step
            @ _affine(one)
            @ np.vstack([index, np.ones(index.shape[1])])
        )
        inside = (there[:3] >= -0.5) & (there[:3] <= np.array(other.GetSize())[:, None] - 0.5)
        shares.append(float(inside.all(0).mean()))
    return max(shares)


def _affine(image: Any) -> Array:
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return affine
