"""Descriptors of one channel of an image: shape and symmetry of the object, intensity by depth
below its surface, texture, noise, what lies in air, size.

They do not depend on units, position or, but for `size`, on the voxel grid. Heads, limbs and trunks
differ in them: skin, bone and what lies inside have an order of brightness from the surface to the
centre that few other parts of the body share.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy import ndimage

from veridical.errors import InputError
from veridical.types import Array, Geometry

PLANES = 9
"""Planes of a volume that are described, evenly spread over the middle 40 % of the object."""
ACROSS = 64
"""Pixels across the object in the planes that are described, whatever the resolution of the image.
"""
MARGIN = 4
DEPTHS = (0.0, 0.12, 0.3, 0.6, 1.01)
"""Shells below the surface, as shares of the largest depth."""
TEXTURES = ((0.7, 1.5), (1.5, 3.0), (3.0, 6.0))
"""Bands of texture: Gaussian widths in pixels of `ACROSS` whose difference is taken."""
QUANTILES = (10, 50, 90)
AIR = 0.1
"""Share of the 99th percentile below which a voxel counts as air."""
FAINT = 1e-3
"""Least noise and air, over the median: below it they are rounding."""
LEAST = 64
"""Pixels of a plane that must show an object."""
LARGE_ENOUGH = 24
"""Voxels of an axial plane along either axis from which planes are axial; single sagittal slices
stay what they are.
"""


def describe(data: Array, geometry: Geometry) -> dict[str, float]:
    """Describe one channel.

    Args: data: `(x, y, z)`, any units. geometry: its grid; without a known frame the planes lie
        across the shortest axis, and there is no `size`.

    Returns: Medians over the planes: `parts` (logarithm of the effective number of parts of the
        object), `solidity` and `roundness` of the largest, `hollow` (share of air inside),
        `depth_1` to `depth_4` (mean intensity from the surface to the centre over the median),
        `texture_1` to `texture_3` (log10 of the texture, fine to coarse, over the median),
        `quantile_10` to `quantile_90` over the 99th percentile, `dark` (2nd percentile of what lies
        deep over its median: fluid), `mirror` (correlation with the
        mirror image), `noise` (log10 of the noise over the median), `air` (log10 of the mean of
        air over the median), `ghosts` (log10 of the ratio of the air beside the object to that
        above and below it), `cut` (share of the edge of the field of view that shows the object),
        `size`, log10 of the largest side in millimetres, and of volumes `height`, log10 of the
        extent across the planes over the largest side.

    Raises:
        InputError: values that are not finite, or no object that stands out from the air.
    """
    if not np.isfinite(data).all():
        raise InputError(
            "The image holds NaN or infinite values; write a number there, 0 for what is outside "
            "the body."
        )
    found = [
        one
        for plane, spacing in _planes(np.asarray(data, np.float32), geometry)
        if (one := _described(plane, spacing))
    ]
    if not found:
        raise InputError("No plane of the image shows an object that stands out from the air.")
    median = {name: float(np.median([one[name] for one in found])) for name in found[0]}
    if geometry.frame == "index":
        del median["size"]
    elif (height := _height(data, geometry)) > 0:
        median["height"] = float(np.log10(height)) - median["size"]
    return median


def _height(data: Array, geometry: Geometry) -> float:
    """Return the extent of the object across the planes, mm; 0 of a single plane."""
    along = _across(geometry)
    shown = _shown(_lifted(np.moveaxis(np.asarray(data, np.float32), along, 0)))
    if len(shown) < 2:
        return 0.0
    return float(shown[-1] - shown[0] + 1) * geometry.spacing[along]


def _lifted(volume: Array) -> Array:
    """Return a volume above air, over its 99th percentile."""
    lifted = volume - _air(volume)
    return np.asarray(lifted / (float(np.percentile(lifted, 99)) or 1.0))


def _shown(lifted: Array) -> Array:
    """Return the indices of the planes that show an object."""
    return np.flatnonzero((lifted > AIR).mean((1, 2)) > 0.02)


def _planes(data: Array, geometry: Geometry) -> Iterator[tuple[Array, tuple[float, float]]]:
    """Yield planes `(row, column)` over the 99th percentile of the volume, with their pixel size in
    mm.
    """
    along = _across(geometry)
    lifted = _lifted(np.moveaxis(data, along, 0))
    spacing = [step for axis, step in enumerate(geometry.spacing) if axis != along]
    shown = _shown(lifted)
    if len(shown):
        chosen = shown[0] + np.linspace(0.3, 0.7, PLANES) * (shown[-1] - shown[0])
        for index in np.unique(np.round(chosen).astype(int)):
            yield lifted[index], (spacing[0], spacing[1])


def _across(geometry: Geometry) -> int:
    """Return the axis across the planes: from feet to head where known and the planes are large,
    else the shortest.
    """
    from nibabel.orientations import io_orientation

    shape = geometry.shape
    if geometry.frame != "index":
        axial = int(np.flatnonzero(io_orientation(geometry.affine)[:, 0] == 2)[0])
        if min(n for axis, n in enumerate(shape) if axis != axial) >= LARGE_ENOUGH:
            return axial
    return int(np.argmin(shape))


def _air(data: Array) -> float:
    """Return the value of air: the one that is stored most often where that is a constant
    background, else the lowest.
    """
    some = data.ravel()[:: max(1, data.size // 200_000)]
    values, counts = np.unique(some, return_counts=True)
    usual = values[counts.argmax()]
    if counts.max() > 0.05 * some.size and usual <= np.median(some):
        return float(usual)
    return min(0.0, float(np.percentile(some, 0.5)))


def _described(plane: Array, spacing: tuple[float, float]) -> dict[str, float] | None:
    """Describe one plane, or nothing where it shows no object."""
    step = min(spacing)
    if max(spacing) > 1.1 * step:
        plane = ndimage.zoom(plane, [side / step for side in spacing], order=1)
    inside = ndimage.binary_fill_holes(ndimage.binary_opening(plane > AIR))
    if inside.sum() < LEAST or min(plane.shape) < 3:
        return None
    box = ndimage.find_objects(inside.astype(np.int8))[0]
    side = max(part.stop - part.start for part in box)
    small = _resized(plane[box], ACROSS / side)
    body = ndimage.binary_opening(small > AIR)
    filled = ndimage.binary_fill_holes(body)
    labels, count = ndimage.label(filled)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    largest = labels == 1 + int(sizes.argmax())
    return {
        "parts": float(-np.log(np.square(sizes / sizes.sum()).sum())),
        **_shape(largest),
        "hollow": float((filled & ~body).sum() / filled.sum()),
        **_brightness(small, largest, largest & body),
        **_disturbed(plane, inside),
        "noise": _noise(small, largest),
        "mirror": _mirror(small),
        "size": float(np.log10(side * step)),
    }


def _resized(plane: Array, factor: float) -> Array:
    smooth = ndimage.gaussian_filter(plane, 0.4 / factor) if factor < 1 else plane
    return np.pad(ndimage.zoom(smooth, factor, order=1), MARGIN)


def _shape(mask: Array) -> dict[str, float]:
    from skimage.measure import regionprops

    (region,) = regionprops(mask.astype(np.uint8))
    return {
        "solidity": float(region.solidity),
        "roundness": float(region.axis_minor_length / max(region.axis_major_length, 1.0)),
    }


def _disturbed(plane: Array, inside: Array) -> dict[str, float]:
    """Describe the air and the field of view of a plane."""
    middle = float(np.median(plane[inside])) or 1.0
    outside = np.asarray(~ndimage.binary_dilation(inside, iterations=3))
    rows, columns = np.any(inside, 1, keepdims=True), np.any(inside, 0, keepdims=True)
    beside, above = outside & rows, outside & columns
    sides = [float(plane[part].mean()) if part.any() else 0.0 for part in (beside, above)]
    air = float(plane[outside].mean()) if outside.any() else 0.0
    edge = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    return {
        "air": _log(air / middle),
        "ghosts": _log(sides[0] / middle) - _log(sides[1] / middle),
        "cut": float(edge.mean()),
    }


def _noise(plane: Array, inside: Array) -> float:
    """Return log10 of the noise over the median: what neighbouring pixels do not share along either
    axis.
    """
    corners = plane[:-1, :-1] - plane[:-1, 1:] - plane[1:, :-1] + plane[1:, 1:]
    spread = float(np.median(np.abs(corners[inside[1:, 1:]]))) / 2 / 0.6745
    return _log(spread / (float(np.median(plane[inside])) or 1.0))


def _log(value: float) -> float:
    return float(np.log10(max(value, FAINT)))


def _mirror(plane: Array) -> float:
    """Return the larger correlation with the plane mirrored along either axis."""
    flat = plane - plane.mean()
    power = float(np.square(flat).sum()) or 1.0
    return max(float((flat * np.flip(flat, axis)).sum()) / power for axis in (0, 1))


def _brightness(plane: Array, mask: Array, tissue: Array) -> dict[str, float]:
    """Describe the intensities of an object: by depth below its surface, their texture inside,
    their quantiles.
    """
    depth = ndimage.distance_transform_edt(mask)
    depth = depth / depth.max()
    middle = float(np.median(plane[tissue])) if tissue.any() else 1.0
    middle = middle or 1.0
    shells = [mask & (depth > low) & (depth <= high) for low, high in pairwise(DEPTHS)]
    bands = [
        ndimage.gaussian_filter(plane, fine) - ndimage.gaussian_filter(plane, coarse)
        for fine, coarse in TEXTURES
    ]
    rough = [float(np.sqrt(np.square(band[mask & (depth > DEPTHS[2])]).mean())) for band in bands]
    deep = plane[mask & (depth > DEPTHS[2])]
    return {
        "dark": float(np.percentile(deep, 2) / (float(np.median(deep)) or 1.0)),
        **{
            f"depth_{n}": float(np.clip(plane[shell].mean() / middle, 0, 4)) if shell.any() else 0.0
            for n, shell in enumerate(shells, 1)
        },
        **{
            f"texture_{n}": float(np.log10(max(one / middle, 1e-6)))
            for n, one in enumerate(rough, 1)
        },
        **{
            f"quantile_{q}": float(np.percentile(plane[tissue], q)) if tissue.any() else 0.0
            for q in QUANTILES
        },
    }
