"""Noise power: how much fine-grained power an image has beside the reference, and noise power
spectra (Siewerdsen 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from veridical.errors import InputError
from veridical.metrics.about import Facts
from veridical.metrics.spectra import band_spectra
from veridical.types import Array

ABOUT = Facts(
    "noise power",
    "dB",
    "lower",
    "pixel",
    target=(
        "0: as much fine-grained power as the reference; above: noise or invented texture; below: "
        "smoothing"
    ),
    ideal=0.0,
    cites="Siewerdsen JH, Cunningham IA, Jaffray DA. A framework for noise-power spectrum analysis "
    "of multidimensional images. "
    "Med Phys 2002;29:2655-2671",
)


def noise_power(
    candidate: Array,
    reference: Array,
    *,
    spacing: Sequence[float],
    mask: Array | None = None,
    dimensions: Literal[2, 3] = 2,
) -> float:
    """Return `10 log10` of the candidate's over the reference's power in the upper half of the
    frequencies up to Nyquist.

    The power is the integral of `noise_power_spectrum` over `nyquist / 2 < frequency <= nyquist`,
    where `nyquist` is the lowest Nyquist frequency of the axes: the sum over bands of power times
    `frequency ** (dimensions - 1)`. Fine structure of the object is in it too, on both sides alike.

    Args: candidate, reference: real, of one unit and shape: `(x, y)`, `(x, y, z)` or `(channel, x,
        y, z)`. spacing: mm, one number an axis of the arrays. mask: bool, of that shape or without
        the channel axis; its bounding box is used. None takes the whole image. dimensions: 2:
        spectra of the x-y plane, averaged over slices; 3: of the volume.

    Returns: dB, the mean over channels; minus infinity for a candidate without any such power, as a
        constant one.

    Raises: GeometryError: shapes differ, or the box is less than 8 voxels wide along an axis.
        InputError: NaN, infinity or complex values in the box, an empty mask, or a reference
        without any such power. UnitsError: spacing is not one number above 0 an axis. SettingError:
        other dimensions than the images have.
    """
    frequency, spectra = band_spectra(
        [candidate, reference], spacing=spacing, mask=mask, dimensions=dimensions
    )
    nyquist = _nyquist(spacing, candidate.ndim, dimensions)
    weights = np.where(frequency > nyquist / 2, frequency ** (dimensions - 1), 0)
    power, wanted = spectra[:, 0, 0] @ weights, spectra[:, 1, 1] @ weights
    if not wanted.all():
        raise InputError(
            "The reference has no power in the upper half of the frequencies, so nothing can be "
            "set against it."
        )
    with np.errstate(divide="ignore"):
        return float(np.mean(10 * np.log10(power / wanted)))


def noise_power_spectrum(
    image: Array,
    *,
    spacing: Sequence[float],
    mask: Array | None = None,
    dimensions: Literal[2, 3] = 2,
) -> tuple[Array, Array]:
    """Return the radially averaged noise power spectrum of an image, or of the difference of two.

    Args: image: real, `(x, y)`, `(x, y, z)` or `(channel, x, y, z)`; the mean is taken away, a Hann
        window put on. spacing, mask, dimensions: as in `noise_power`.

    Returns: Frequencies `(band,)`, cycles/mm, up to the lowest Nyquist frequency of the axes, and
        the power there, the mean over channels and slices: unit^2 mm^2, or unit^2 mm^3 in three
        dimensions. Its integral over the plane (the volume) of frequencies is the variance; white
        noise of standard deviation s has `s^2` times the size of a pixel (voxel).

    Raises:
        As `noise_power`.
    """
    frequency, spectra = band_spectra([image], spacing=spacing, mask=mask, dimensions=dimensions)
    return frequency, spectra[:, 0, 0].mean(axis=0)


def _nyquist(spacing: Sequence[float], axes: int, dimensions: int) -> float:
    """Return the lowest Nyquist frequency of the axes that spectra are taken of, cycles/mm."""
    first = axes - min(axes, 3)
    return 0.5 / max(spacing[first : first + dimensions])
