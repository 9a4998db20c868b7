"""Fourier ring or shell correlation: down to which size the details of two images are the same
(Saxton and Baumeister 1982).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from veridical.metrics.about import Facts
from veridical.metrics.spectra import band_spectra
from veridical.types import Array

ABOUT = Facts(
    "Fourier correlation",
    "1",
    "higher",
    "pixel",
    worst=0.0,
    cites="Saxton WO, Baumeister W. The correlation averaging of a regularly arranged bacterial "
    "cell envelope protein. "
    "J Microsc 1982;127:127-138; van Heel M, Schatz M. Fourier shell correlation threshold "
    "criteria. "
    "J Struct Biol 2005;151:250-262",
)


def fourier_correlation(
    candidate: Array,
    reference: Array,
    *,
    spacing: Sequence[float],
    mask: Array | None = None,
    dimensions: Literal[2, 3] = 2,
) -> float:
    """Return the mean of `fourier_correlation_curve` over its bands, each of which has the same
    weight.

    Fine details count as much as coarse ones, however little power they have. It is blind to a
    filter that keeps the phases: a blurred image without noise scores 1 (see `sharpness`).

    Args: candidate, reference: real, of one unit and shape: `(x, y)`, `(x, y, z)` or `(channel, x,
        y, z)`. spacing: mm, one number an axis of the arrays. mask: bool, of that shape or without
        the channel axis; its bounding box is used. None takes the whole image. dimensions: 2: rings
        in the x-y plane over all slices; 3: shells.

    Returns:
        In [-1, 1].

    Raises:
        GeometryError: shapes differ, or the box is less than 8 voxels wide along an axis.
        InputError: NaN, infinity or complex values in the box, or an empty mask.
        UnitsError: spacing is not one number above 0 an axis.
        SettingError: other dimensions than the images have.
    """
    return float(
        fourier_correlation_curve(
            candidate, reference, spacing=spacing, mask=mask, dimensions=dimensions
        )[1].mean()
    )


def fourier_correlation_curve(
    candidate: Array,
    reference: Array,
    *,
    spacing: Sequence[float],
    mask: Array | None = None,
    dimensions: Literal[2, 3] = 2,
) -> tuple[Array, Array]:
    """Return the correlation of two images in each band of spatial frequency.

    Arguments and errors as in `fourier_correlation`.

    Returns: Frequencies `(band,)`, cycles/mm, up to the lowest Nyquist frequency of the axes, and
        the correlation of the Fourier coefficients there, the mean over channels; 0 in a band where
        one image has no power, 1 where neither has.
    """
    frequency, spectra = band_spectra(
        [candidate, reference], spacing=spacing, mask=mask, dimensions=dimensions
    )
    one, other, common = spectra[:, 0, 0], spectra[:, 1, 1], spectra[:, 0, 1]
    power = np.sqrt(one * other)
    empty = np.where(one == other, 1.0, 0.0)
    return frequency, np.divide(common, power, out=empty, where=power > 0).mean(axis=0)
