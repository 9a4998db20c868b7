"""How much the regions of a brain changed between two scans: a registration whose only freedom are
the volumes of the regions, a rigid movement and smooth shading.

Gauss-Newton on the difference of the images, robust against what changed otherwise (lesions,
vessels). With few numbers to find and many voxels to find them from, changes far below a voxel are
measured, as by the boundary shift integral (Freeborough and Fox, IEEE TMI 1997, 10.1109/42.640753).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.models.regional_flow import RegionalFlow

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]
Mask = NDArray[np.bool_]

STEPS = 4
SMOOTH = 0.4
"""Standard deviation in voxels of the Gaussian before slopes are taken: noise in a slope makes
changes look smaller.
"""
TUNING = 2.5
"""Standard deviations of the residual beyond which a voxel counts less."""
WIDE = 0.5
"""Standard deviation of a change of a log volume before the images are looked at: as good as
nothing is known.
"""
ALIKE = 3.0
"""Voxels in a row whose residuals count as one: they are smoothed and wrong in the same way."""


@dataclass(frozen=True, eq=False)
class RegionalChange:
    """What changed between a scan and the reference.

    Args:
        change: `(region,)` log volume at the scan less that at the reference.
        covariance: `(region, region)`.
        rigid: `(6,)` mm and radians about the middle of the grid, of the scan.
        shading: contrast -> `(x, y, z)` factor by which the scan is multiplied to look like the
            reference.
        misfit: contrast -> robust standard deviation of what is left.
    """

    change: Reals
    covariance: Reals
    rigid: Reals
    shading: Mapping[str, Floats]
    misfit: Mapping[str, float]


def measured(
    flow: RegionalFlow, reference: Mapping[str, Floats], scan: Mapping[str, Floats], ignore: Mask
) -> RegionalChange:
    """Return what changed.

    Args:
        flow: the brain at the reference.
        reference, scan: contrast -> `(x, y, z)` on the grid of the flow, about aligned; at least
            one contrast in both.
        ignore: `(x, y, z)` bool, voxels that say nothing, such as lesions.
    """
    mask = ndimage.binary_dilation(flow.inside) & ~ignore
    for axis in range(3):
        edge = np.moveaxis(mask, axis, 0)
        edge[:2] = edge[-2:] = False
    names = [name for name in reference if name in scan]
    count = len(flow.velocities)
    modes, shades = _modes(flow, mask), _polynomials(mask)
    found = RegionalChange(np.zeros(count), np.eye(count), np.zeros(6), {}, {})
    smooth = {
        name: [ndimage.gaussian_filter(one[name], SMOOTH) for one in (reference, scan)]
        for name in names
    }
    logs = {name: np.zeros(shades.shape[1]) for name in names}
    for _ in range(STEPS):
        misfit = {}
        normal, right = np.zeros((count + 6, count + 6)), np.zeros(count + 6)
        displacement = total_displacement(flow, found)
        for name in names:
            fixed, moving = smooth[name]
            warped = warp(moving, displacement, flow.spacing)
            factor = np.exp(shades @ logs[name])
            here, there = fixed[mask], warped[mask] * factor
            slope = np.stack([g[mask] for g in np.gradient((fixed + warped) / 2, flow.spacing)], -1)
            design = np.einsum("vi,vmi->vm", slope * factor[:, None], modes)
            left = here - there
            ways = there[:, None] * shades
            step, own, rest, scale = _partial(design, ways, left)
            logs[name] += step
            normal, right = normal + own, right + rest
            misfit[name] = scale
        prior = np.zeros(count + 6)
        prior[:count] = 1 / WIDE**2
        state = np.concatenate([found.change, found.rigid])
        known = normal + np.diag(prior) + 1e-9 * np.eye(count + 6)
        covariance: Reals = np.asarray(np.linalg.inv(known), np.float64)
        state = state + covariance @ (right - prior * state)
        found = RegionalChange(state[:count], covariance[:count, :count], state[count:], {}, misfit)
    shading = {}
    whole = _polynomials(np.ones(mask.shape, bool), mask)
    for name in names:
        field = (whole @ logs[name]).reshape(mask.shape)
        shading[name] = np.exp(np.clip(field, -0.7, 0.7)).astype(np.float32)
    return replace(found, shading=shading)


def total_displacement(flow: RegionalFlow, found: RegionalChange) -> Floats:
    """Return where each point of the reference lies in the scan, relative: `(x, y, z, 3)` mm."""
    return np.asarray(flow.displacement(found.change) + _rigid(flow, found.rigid), np.float32)


def warp(image: Floats, displacement: Floats, spacing: float, order: int = 3) -> Floats:
    """Return an image `(x, y, z)` at `x + displacement(x)` by splines of an order."""
    grid = np.indices(image.shape, np.float32)
    places = grid + np.moveaxis(displacement, -1, 0) / np.float32(spacing)
    return np.asarray(
        ndimage.map_coordinates(image, places, order=order, mode="nearest"), np.float32
    )


def _partial(design: Reals, ways: Reals, left: Reals) -> tuple[Reals, Reals, Reals, float]:
    """Return the step of the shading, and normal matrix and right-hand side of all else with the
    shading taken out, in units of the noise.
    """
    weight = np.ones(len(left))
    for _ in range(2):
        scale = 1.4826 * float(np.median(np.abs(left))) + 1e-6
        weight = 1 / np.maximum(1.0, np.abs(left) / (TUNING * scale))
    weight = weight / (scale**2 * ALIKE**3)
    ww = (ways * weight[:, None]).T @ ways + 1e-9 * np.eye(ways.shape[1])
    dw = (design * weight[:, None]).T @ ways
    dd = (design * weight[:, None]).T @ design
    wl, dl = ways.T @ (weight * left), design.T @ (weight * left)
    out = np.linalg.solve(ww, dw.T)
    normal, right = dd - dw @ out, dl - dw @ np.linalg.solve(ww, wl)
    joint = np.linalg.solve(normal + 1e-9 * np.eye(len(normal)), right)
    step = np.linalg.solve(ww, wl - dw.T @ joint)
    return np.asarray(step, float), normal, right, scale


def _modes(flow: RegionalFlow, mask: Mask) -> Floats:
    """Return `(voxel, mode, 3)` mm: how each region's change and each rigid movement moves it."""
    regions = np.stack([one[mask] for one in flow.velocities], 1)
    basis = [_rigid(flow, row)[mask] for row in np.eye(6)]
    return np.concatenate([regions, np.stack(basis, 1)], 1).astype(np.float32)


def _rigid(flow: RegionalFlow, parameters: Sequence[float] | Reals) -> Floats:
    """Return the displacement of a small rigid movement `(x, y, z, 3)` mm."""
    shape = flow.inside.shape
    at = [(np.arange(n) - (n - 1) / 2) * flow.spacing for n in shape]
    x, y, z = np.meshgrid(*at, indexing="ij", sparse=True)
    shift, (a, b, c) = np.asarray(parameters[:3]), parameters[3:]
    nothing = np.zeros(shape)
    moved = (shift[0] + b * z - c * y, shift[1] + c * x - a * z, shift[2] + a * y - b * x)
    return np.stack([one + nothing for one in moved], -1).astype(np.float32)


def _polynomials(mask: Mask, about: Mask | None = None) -> Reals:
    """Return polynomials of degree up to 3 at the voxels of a mask, `(voxel, 20)`, scaled to the
    box of another.
    """
    about = mask if about is None else about
    places = np.argwhere(mask)
    ends = np.argwhere(about)
    middle, half = (ends.max(0) + ends.min(0)) / 2, np.maximum(np.ptp(ends, axis=0) / 2, 1)
    x, y, z = np.clip((places - middle) / half, -1.3, 1.3).T
    return np.stack(
        [x**i * y**j * z**k for i in range(4) for j in range(4) for k in range(4) if i + j + k < 4],
        1,
    )
