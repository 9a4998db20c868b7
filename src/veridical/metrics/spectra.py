"""Power and cross spectra of images by bands of spatial frequency: what the Fourier metrics are
made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import fft

from veridical.errors import GeometryError, SettingError, UnitsError
from veridical.metrics.about import region
from veridical.metrics.windows import bounds, stacked
from veridical.types import Array

SMALLEST = 8
"""Voxels along each axis that a spectrum needs at least: four bands."""


def band_spectra(
    images: Sequence[Array], *, spacing: Sequence[float], mask: Array | None, dimensions: int
) -> tuple[Array, Array]:
    """Return the power spectra of images, and their cross spectra, averaged over bands of
    frequency.

    The images are cut to the bounding box of the mask; the mean is taken away and a Hann window put
    on (slice by slice in two dimensions), so that borders make no frequencies of their own. Bands
    are rings (shells in three dimensions) as wide as the coarsest frequency step of the axes; the
    first is centred on one step, the zero frequency is left out, and the centre of the last is not
    above the lowest Nyquist frequency of the axes.

    Args: images: real, of one shape `(x, y)`, `(x, y, z)` or `(channel, x, y, z)`. spacing: mm, one
        number an axis of the arrays. mask: bool, of that shape or without the channel axis; None
        counts all voxels. dimensions: 2: of the x-y plane, averaged over slices that hold a voxel
        that counts; 3: of the volume.

    Returns: Frequencies `(band,)`, cycles/mm, the centres of the bands; and `(channel, image,
        image, band)`, unit^2 mm^2 (mm^3 in three dimensions): on the diagonal power spectral
        densities, beside it the real parts of the cross spectral densities. Scaled so that the
        integral over all frequencies is the variance.

    Raises:
        GeometryError: shapes differ, or the box is less than 8 voxels wide along an axis.
        InputError: NaN, infinity or complex values in the box, or an empty mask.
        UnitsError: spacing is not one number above 0 an axis.
        SettingError: other dimensions than the images have.
    """
    shape = images[0].shape
    counted: Array = np.any(stacked(region(mask, *images)), axis=0)
    if len(shape) not in (2, 3, 4) or dimensions not in (2, 3) or dimensions > min(len(shape), 3):
        raise SettingError(
            f"Spectra in {dimensions} dimensions were asked for of an array with {len(shape)} "
            "axes; expected 2 or 3 of the "
            "spatial axes of (x, y), (x, y, z) or (channel, x, y, z)."
        )
    if len(spacing) != len(shape) or not all(np.isfinite(size) and size > 0 for size in spacing):
        raise UnitsError(
            f"A spacing of {tuple(spacing)} was given; expected {len(shape)} voxel sizes above 0, "
            "one an axis, in mm."
        )
    box = bounds(counted)
    crops = [stacked(image)[(slice(None), *box)] for image in images]
    region(None, *crops)
    extent = crops[0].shape[1 : 1 + dimensions]
    if min(extent) < SMALLEST:
        raise GeometryError(
            f"The region that counts is {' x '.join(map(str, extent))} voxels wide; a spectrum "
            f"needs {SMALLEST} along each of "
            f"{dimensions} axes. Give a larger mask or image, or dimensions=2."
        )
    sizes = tuple(float(size) for size in (spacing if len(shape) < 4 else spacing[1:])[:dimensions])
    slices = np.flatnonzero(counted[box].any(axis=(0, 1)))
    return _averaged(crops, [slice(None)] if dimensions == 3 else [int(z) for z in slices], sizes)


def _averaged(
    crops: Sequence[Array], slices: Sequence[int | slice], sizes: tuple[float, ...]
) -> tuple[Array, Array]:
    """Return the frequencies and the averaged products of the transforms."""
    extent = crops[0].shape[1 : 1 + len(sizes)]
    taper = np.ones(())
    for n in extent:
        taper = np.multiply.outer(taper, np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2)
    step, bands = _bands(extent, sizes)
    inside = bands > 0
    twice = np.full(bands.shape, 2.0)
    twice[..., 0] = 1
    if extent[-1] % 2 == 0:
        twice[..., -1] = 1
    places, weights = bands[inside], twice[inside]
    modes = np.bincount(places, weights)[1:]
    scale = np.prod(sizes) / (np.sum(taper**2) * len(slices) * modes)
    found = np.empty((crops[0].shape[0], len(crops), len(crops), modes.size))
    for channel in range(found.shape[0]):
        for (i, j), product in _products([crop[channel] for crop in crops], slices, taper):
            found[channel, i, j] = found[channel, j, i] = (
                scale * np.bincount(places, weights * product[inside])[1:]
            )
    return step * np.arange(1, modes.size + 1), found


def _bands(extent: Sequence[int], sizes: Sequence[float]) -> tuple[float, Array]:
    """Return the width of a band in cycles/mm, and the band of each mode of a real transform; 0: in
    none.
    """
    step = max(1 / (n * size) for n, size in zip(extent, sizes, strict=True))
    nyquist = min(0.5 / size for size in sizes)
    squared = np.zeros(())
    for axis, (n, size) in enumerate(zip(extent, sizes, strict=True)):
        along = fft.rfftfreq(n, size) if axis == len(extent) - 1 else fft.fftfreq(n, size)
        squared = np.add.outer(squared, along**2)
    bands = np.rint(np.sqrt(squared) / step).astype(np.intp)
    return step, np.where(bands * step <= nyquist * (1 + 1e-9), bands, 0)


def _products(
    images: Sequence[Array], slices: Sequence[int | slice], taper: Array
) -> Iterator[tuple[tuple[int, int], Array]]:
    """Yield for each pair of images the real part of one transform times the conjugate of the
    other, summed over slices.
    """
    pairs = [(i, j) for i in range(len(images)) for j in range(i + 1)]
    sums: dict[tuple[int, int], Array] = {}
    for position in slices:
        transforms = []
        for image in images:
            plane = image[..., position].astype(np.float64)
            plane -= plane.flat[0]
            plane -= np.sum(taper * plane) / np.sum(taper)
            transforms.append(fft.rfftn(taper * plane))
        for i, j in pairs:
            a, b = transforms[i], transforms[j]
            product = a.real * b.real + a.imag * b.imag
            sums[i, j] = product if (i, j) not in sums else sums[i, j] + product
    yield from sums.items()
