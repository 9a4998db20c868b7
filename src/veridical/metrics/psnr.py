"""Peak signal-to-noise ratio, dB."""

from __future__ import annotations

import numpy as np

from veridical.metrics.about import Facts, checked_range, region
from veridical.types import Array

ABOUT = Facts("PSNR", "dB", "higher", "pixel")


def psnr(
    candidate: Array, reference: Array, *, data_range: float, mask: Array | None = None
) -> float:
    """Return `10 log10(data_range^2 / mean squared error)`.

    Args: candidate, reference: real, of one shape and unit. data_range: peak to peak of the signal,
        in that unit. Values with other ranges cannot be compared. mask: bool, of that shape or
        without the channel axis; None counts all voxels.

    Returns:
        dB; infinity for equal images.

    Raises:
        GeometryError: shapes differ.
        InputError: NaN, infinity or complex values, or an empty mask.
        UnitsError: the data range is not above 0.
    """
    counted = region(mask, candidate, reference)
    peak = checked_range(data_range)
    error = np.mean((candidate[counted].astype(np.float64) - reference[counted]) ** 2)
    return float(10 * np.log10(peak**2 / error)) if error > 0 else float("inf")
