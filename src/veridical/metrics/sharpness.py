"""Sharpness: the mean modulation transfer from the reference to the candidate, by the cross
spectrum (Kirk 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from veridical.errors import InputError
from veridical.metrics.about import Facts
from veridical.metrics.spectra import band_spectra
from veridical.types import Array

ABOUT = Facts(
    "sharpness",
    "1",
    "higher",
    "pixel",
    target="1: details with the contrast of the reference; below: blurred; above: over-sharpened",
    ideal=1.0,
    worst=0.0,
    cites="Kirk L, Herzer P, Artmann U, Kunz D. Description of texture loss using the dead leaves "
    "target: current issues and "
    "a new intrinsic approach. Proc SPIE 2014;9023",
)

FLOOR = 1e-6
"""Bands in which the reference has less than this share of the power of its strongest band hold no
detail to be transferred.
"""


def sharpness(
    candidate: Array,
    reference: Array,
    *,
    spacing: Sequence[float],
    mask: Array | None = None,
    dimensions: Literal[2, 3] = 2,
) -> float:
    """Return the mean of `transfer_function` over its bands, each of which has the same weight: the
    area under the MTF.

    The cross spectrum keeps what the candidate has in common with the reference, so independent
    noise or texture, which lifts the power spectrum, adds nothing on average. Noise that the
    reference has and the candidate has not counts as detail that was lost.

    Args: candidate, reference: real, of one unit and shape: `(x, y)`, `(x, y, z)` or `(channel, x,
        y, z)`. spacing: mm, one number an axis of the arrays. mask: bool, of that shape or without
        the channel axis; its bounding box is used. None takes the whole image. dimensions: 2:
        frequencies of the x-y plane over all slices; 3: of the volume.

    Returns: 1 for equal images, 0 for a constant candidate; a factor on the candidate's contrast is
        a factor on the value.

    Raises: GeometryError: shapes differ, or the box is less than 8 voxels wide along an axis.
        InputError: NaN, infinity or complex values in the box, an empty mask, or a constant
        reference. UnitsError: spacing is not one number above 0 an axis. SettingError: other
        dimensions than the images have.
    """
    return float(
        transfer_function(candidate, reference, spacing=spacing, mask=mask, dimensions=dimensions)[
            1
        ].mean()
    )


def transfer_function(
    candidate: Array,
    reference: Array,
    *,
    spacing: Sequence[float],
    mask: Array | None = None,
    dimensions: Literal[2, 3] = 2,
) -> tuple[Array, Array]:
    """Return the least-squares factor from the reference's to the candidate's Fourier coefficients,
    by bands.

    Arguments and errors as in `sharpness`.

    Returns: Frequencies `(band,)`, cycles/mm, of the bands up to the lowest Nyquist frequency of
        the axes in which each channel of the reference has at least 1e-6 of the power density of
        its strongest band; and there the cross spectrum over the reference's power spectrum, the
        mean over channels.
    """
    frequency, spectra = band_spectra(
        [candidate, reference], spacing=spacing, mask=mask, dimensions=dimensions
    )
    common, power = spectra[:, 0, 1], spectra[:, 1, 1]
    strongest = power.max(axis=1, keepdims=True)
    if not strongest.all():
        raise InputError(
            "The reference is constant, so it has no detail that the candidate could keep. Give "
            "another region."
        )
    kept = (power >= FLOOR * strongest).all(axis=0)
    return frequency[kept], (common[:, kept] / power[:, kept]).mean(axis=0)
