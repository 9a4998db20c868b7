"""Grids and noise of images to be enhanced: interpolation onto a finer grid, thickness of slices, noise of a channel."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from veridical.errors import InputError, SettingError
from veridical.physics.fourier import centre, fft, ifft
from veridical.physics.noise import estimate_sigma
from veridical.tasks.enhance import finer
from veridical.types import Array, Geometry, Image

COARSER = 1.5
"""Pixels: the noise of filtered back-projection has little power at what a wider Gaussian keeps."""
BLOCK = 34
"""Pixels over which the noise is taken to be alike, where it varies."""
THIN = 1.2
"""Slices up to this much thicker than the pixels count as isotropic already."""


def started(image: Image, job: str, factor: float) -> tuple[Image, tuple[int | None, ...]]:
    """Return the image on the grid of the result, and the slice axes (of the patient) along which it is to be solved."""
    if job == "super-resolve":
        return _padded(image, factor), (None,)
    if job == "isotropic":
        return _interpolated(image)
    return image, (None,)


def subdivided(geometry: Geometry, factors: tuple[int, int, int]) -> Geometry:
    """Return the grid whose voxels are `factors` to a voxel of the old one along each axis, within its edges.

    Fine and coarse voxels share their outer edges, so a coarse voxel is the mean of the fine ones inside it: the grid for
    `physics.voxel_average`, and for images that were downsampled by averaging. `enhance.finer` is for k-space padding: there
    voxel centres stay, and the grids differ by half a fine voxel for factor 2.

    Args:
        geometry: the coarse grid.
        factors: whole numbers from 1, along x, y, z.

    Raises:
        SettingError: factors that are not whole numbers from 1.
    """
    if len(factors) != 3 or any(factor != int(factor) or factor < 1 for factor in factors):
        raise SettingError(f"A grid was to be divided by {factors}; expected three whole numbers from 1, along x, y, z.")
    affine = np.array(geometry.affine)
    affine[:3, :3] /= factors
    affine[:3, 3] += geometry.affine[:3, :3] @ (0.5 / np.array(factors) - 0.5)
    x, y, z = (size * int(factor) for size, factor in zip(geometry.shape, factors, strict=True))
    return Geometry((x, y, z), affine, geometry.frame)


def thickness(image: Image) -> float:
    """Return how many voxels of an interpolated image one measured slice was thick; `_interpolated` notes it."""
    return float(image.header["slice_thickness_in_voxels"])


def on(lesions: Array | None, image: Image) -> Array | None:
    """Return a lesion mask on the grid of an image, by nearest neighbours."""
    if lesions is None or lesions.shape == image.geometry.shape:
        return lesions
    zoom = [new / old for new, old in zip(image.geometry.shape, lesions.shape, strict=True)]
    return np.asarray(ndimage.zoom(lesions.astype(np.uint8), zoom, order=0, grid_mode=True, mode="nearest") > 0)


def noise_of(image: Image, name: str) -> float:
    """Return the noise standard deviation of a channel per real component, in the units of the image.

    MR: the smaller of two estimates, each of which anatomy makes too large: from where k-space has least signal, the median
    over slices, and the lower quartile of `noise_map` in the foreground. CT and PET, whose noise is alike in neighbours: from
    what a Gaussian of `COARSER` pixels takes away, where the object is smooth; anatomy counts as noise, so it is rather high.
    """
    slices = np.moveaxis(np.asarray(image[name], np.float32), 2, 0)
    chosen = slices[np.unique(np.linspace(0.2, 0.8, 7) * (len(slices) - 1)).astype(int)]
    shown = [one for one in chosen if one.max() > one.min()]
    if not shown:
        raise InputError(f"No slice of {name} shows anything, so its noise cannot be estimated. Give noise.")
    if name in ("CT", "PET"):
        return float(np.median([_smooth_noise(one) for one in shown]))
    found = []
    for one in shown:
        kspace = fft(torch.from_numpy(one.astype(np.complex64)))[None]
        found.append(estimate_sigma(kspace, torch.ones(one.shape)) * 2**0.5)
    stack = np.ascontiguousarray(np.stack(shown).transpose(0, 2, 1))
    foreground = stack > 0.1 * np.percentile(stack, 99)
    return min(float(np.median(found)), float(np.percentile(noise_map(stack)[foreground], 25)))


def noise_map(stack: Array) -> Array:
    """Return the noise standard deviation of every voxel of `(slice, y, x)`, smooth over `BLOCK` pixels.

    From the diagonal detail of 2 x 2 blocks, where images have least of their own, by its local median (Donoho 1995).
    """
    rows, columns = (n - n % 2 for n in stack.shape[-2:])
    even = stack[:, :rows, :columns]
    fine = 0.5 * (even[:, ::2, ::2] - even[:, 1::2, ::2] - even[:, ::2, 1::2] + even[:, 1::2, 1::2])
    block = max(3, min(BLOCK // 2, min(fine.shape[-2:]) | 1))
    typical = ndimage.median_filter(np.abs(fine), size=(min(3, len(fine)), block, block), mode="reflect") / 0.6745
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


def _padded(image: Image, factor: float) -> Image:
    """Interpolate in plane by padding k-space with zeros."""
    grid = finer(image.geometry, factor)
    data = torch.from_numpy(np.array(np.moveaxis(image.data, 3, 1), np.float32)).to(torch.complex64)
    size = grid.shape[:2]
    gain = (size[0] * size[1] / (image.geometry.shape[0] * image.geometry.shape[1])) ** 0.5
    wide = gain * ifft(centre(fft(data), size)).real.clamp_min(0).numpy()
    return Image(np.ascontiguousarray(np.moveaxis(wide, 1, 3)), grid, image.units, image.channels, image.header)


def _interpolated(image: Image) -> tuple[Image, tuple[int | None, ...]]:
    """Interpolate linearly between slice centres until slices are as thin as the pixels."""
    from nibabel.orientations import io_orientation

    spacing = image.geometry.spacing
    along = int(np.argmax(spacing))
    fine = float(np.sqrt(np.prod([s for axis, s in enumerate(spacing) if axis != along])))
    if spacing[along] <= THIN * fine or image.geometry.frame == "index":
        raise InputError(
            f"The image has {image.geometry}; its slices are not thicker than its pixels, or their spacing is not known. "
            "Nothing is to be made isotropic."
        )
    count = max(2, round(image.geometry.shape[along] * spacing[along] / fine))
    step = image.geometry.shape[along] / count
    where = (np.arange(count) + 0.5) * step - 0.5
    low = np.clip(np.floor(where).astype(int), 0, image.geometry.shape[along] - 1)
    high = np.minimum(low + 1, image.geometry.shape[along] - 1)
    part = np.clip(where - low, 0, 1).astype(np.float32).reshape([-1 if a == along else 1 for a in range(3)])
    data = np.asarray(image.data, np.float32)
    made = np.take(data, low, along + 1) * (1 - part) + np.take(data, high, along + 1) * part
    affine = np.array(image.geometry.affine)
    affine[:3, 3] += affine[:3, along] * (0.5 * step - 0.5)
    affine[:3, along] *= step
    shape = tuple(count if a == along else n for a, n in enumerate(image.geometry.shape))
    grid = Geometry((shape[0], shape[1], shape[2]), affine, image.geometry.frame)
    header = {**image.header, "slice_thickness_in_voxels": 1 / step}
    patient = int(io_orientation(image.geometry.affine)[along, 0])
    axes = tuple(a for a in (0, 1, 2) if a != patient)
    return Image(made, grid, image.units, image.channels, header), axes
