"""Grids and noise of images to be enhanced: finer grids, and the noise of a channel."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from veridical.errors import InputError, SettingError
from veridical.physics.fourier import fft
from veridical.physics.noise import estimate_sigma
from veridical.preprocessing.preprocessing import slice_axis
from veridical.types import Array, Geometry, Image

COARSER = 1.5
"""Pixels: the noise of filtered back-projection has little power at what a wider Gaussian keeps."""
BLOCK = 34
"""Pixels over which the noise is taken to be alike, where it varies."""
THIN = 1.2
"""Slices up to this much thicker than the pixels count as isotropic already."""


def finer(geometry: Geometry, factor: float = 2.0, along: int = 2) -> Geometry:
    """Return the grid with `factor` times the voxels in plane (rounded), as k-space padding places
    them.

    The voxels of index n // 2 of the old and of the new matrix keep their place.

    Args:
        geometry: the coarse grid.
        factor: above 1.
        along: axis of the slices, which stays as it is.
    """
    affine, shape = np.array(geometry.affine), list(geometry.shape)
    for axis in (0, 1, 2):
        if axis != along:
            wide = round(factor * shape[axis])
            step = affine[:3, axis] * (shape[axis] / wide)
            affine[:3, 3] += affine[:3, axis] * (shape[axis] // 2) - step * (wide // 2)
            affine[:3, axis], shape[axis] = step, wide
    return Geometry((shape[0], shape[1], shape[2]), affine, geometry.frame)


def subdivided(geometry: Geometry, factors: tuple[int, int, int]) -> Geometry:
    """Return the grid whose voxels are `factors` to a voxel of the old one along each axis, within
    its edges.

    Fine and coarse voxels share their outer edges, so a coarse voxel is the mean of the fine ones
    inside it: the grid for `physics.voxel_average`, and for images that were downsampled by
    averaging. `finer` is for k-space padding: there voxel centres stay, and the grids differ by
    half a fine voxel for factor 2.

    Args:
        geometry: the coarse grid.
        factors: whole numbers from 1, along x, y, z.

    Raises:
        SettingError: factors that are not whole numbers from 1.
    """
    if len(factors) != 3 or any(factor != int(factor) or factor < 1 for factor in factors):
        raise SettingError(
            f"A grid was to be divided by {factors}; expected three whole numbers from 1, along x, "
            "y, z."
        )
    affine = np.array(geometry.affine)
    affine[:3, :3] /= factors
    affine[:3, 3] += geometry.affine[:3, :3] @ (0.5 / np.array(factors) - 0.5)
    x, y, z = (size * int(factor) for size, factor in zip(geometry.shape, factors, strict=True))
    return Geometry((x, y, z), affine, geometry.frame)


def noise_of(image: Image, name: str) -> float:
    """Return the noise standard deviation of a channel per real component, in the units of the
    image.

    MR: the smaller of two estimates, each of which anatomy makes too large: from where k-space has
    least signal, the median over slices, and the lower quartile of `noise_map` in the foreground.
    CT and PET, whose noise is alike in neighbours: from what a Gaussian of `COARSER` pixels takes
    away, where the object is smooth; anatomy counts as noise, so it is rather high.
    """
    along = slice_axis(image.geometry.spacing, image.geometry.shape)
    slices = np.moveaxis(np.asarray(image[name], np.float32), along, 0)
    full = slices[slices.max((1, 2)) > slices.min((1, 2))]
    if not len(full):
        raise InputError(
            f"No slice of {name} shows anything, so its noise cannot be estimated. Give noise."
        )
    shown = full[np.unique(np.linspace(0.2, 0.8, 7) * (len(full) - 1)).astype(int)]
    if name in ("CT", "PET"):
        return float(np.median([_smooth_noise(one) for one in shown]))
    found = []
    for one in shown:
        kspace = fft(torch.from_numpy(one.astype(np.complex64)))[None]
        found.append(estimate_sigma(kspace, torch.ones(one.shape)) * 2**0.5)
    stack = np.ascontiguousarray(shown.transpose(0, 2, 1))
    foreground = stack > 0.1 * np.percentile(stack, 99)
    return min(float(np.median(found)), float(np.percentile(noise_map(stack)[foreground], 25)))


def noise_map(stack: Array) -> Array:
    """Return the noise standard deviation of every voxel of `(slice, y, x)`, smooth over `BLOCK`
    pixels.

    From the diagonal detail of 2 x 2 blocks, where images have least of their own, by its local
    median (Donoho 1995).
    """
    rows, columns = (n - n % 2 for n in stack.shape[-2:])
    even = stack[:, :rows, :columns]
    fine = 0.5 * (even[:, ::2, ::2] - even[:, 1::2, ::2] - even[:, ::2, 1::2] + even[:, 1::2, 1::2])
    block = max(3, min(BLOCK // 2, min(fine.shape[-2:]) | 1))
    typical = (
        ndimage.median_filter(np.abs(fine), size=(min(3, len(fine)), block, block), mode="reflect")
        / 0.6745
    )
    smooth = ndimage.gaussian_filter(typical, (0, block / 3, block / 3), mode="nearest")
    zoom = (1, stack.shape[1] / smooth.shape[1], stack.shape[2] / smooth.shape[2])
    wide = ndimage.zoom(smooth, zoom, order=1, grid_mode=True, mode="nearest")
    return np.asarray(np.maximum(wide, 0.2 * wide.mean()), np.float32)


def _smooth_noise(image: Array) -> float:
    rough = image - ndimage.gaussian_filter(image, COARSER)
    flat = ndimage.gaussian_gradient_magnitude(image, 2 * COARSER)
    inside = image > np.percentile(image, 30)
    calm = inside & (flat <= np.percentile(flat[inside], 50))
    return float(1.4826 * np.median(np.abs(rough[calm])))
