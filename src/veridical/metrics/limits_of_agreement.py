"""Limits of agreement: how far apart two measurements of one thing may be expected to lie (Bland
and Altman 1986, 1999).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from veridical.errors import GeometryError, InputError
from veridical.metrics.about import Facts, region
from veridical.types import Array

ABOUT = Facts(
    "limits of agreement",
    "unit of the images",
    "lower",
    "pixel",
    cites=(
        "Bland JM, Altman DG. Measuring agreement in method comparison studies. Stat Methods Med "
        "Res 1999;8:135-160"
    ),
)

WIDTH = 1.96
"""Standard deviations on each side that hold 95 % of normal differences."""


def limits_of_agreement(candidate: Array, reference: Array, *, mask: Array | None = None) -> float:
    """Return half the distance between the 95 % limits of agreement over voxels: 1.96 standard
    deviations of the difference.

    Args:
        candidate, reference: real, of one shape and unit.
        mask: bool, of that shape or without the channel axis; None counts all voxels.

    Returns:
        In the unit of the images. The limits are `bias` plus and minus this.

    Raises:
        GeometryError: shapes differ.
        InputError: NaN, infinity or complex values, or fewer than two voxels that count.
    """
    counted = region(mask, candidate, reference)
    differences = candidate[counted].astype(np.float64) - reference[counted]
    if differences.size < 2:
        raise InputError("One voxel counts; a standard deviation needs two. Give a larger mask.")
    return float(WIDTH * differences.std(ddof=1))


@dataclass(frozen=True, eq=False)
class BlandAltman:
    """The agreement of n pairs.

    Args:
        means: `(n,)`, of each pair.
        differences: `(n,)`, candidate - reference.
        bias: their mean.
        deviation: their standard deviation.
        lower, upper: the 95 % limits of agreement, bias -+ 1.96 standard deviations.
        bias_interval, lower_interval, upper_interval: 95 % confidence intervals of these three.
    """

    means: Array
    differences: Array
    bias: float
    deviation: float
    lower: float
    upper: float
    bias_interval: tuple[float, float]
    lower_interval: tuple[float, float]
    upper_interval: tuple[float, float]


def bland_altman(candidate: Array, reference: Array) -> BlandAltman:
    """Return the agreement of n pairs of numbers, e.g. means of regions or volumes, one pair a
    patient.

    Confidence intervals as Bland and Altman 1999, section 2.2: Student's t with n - 1 degrees of
    freedom times the standard error, `s / sqrt(n)` of the bias and `s sqrt(1 / n + 1.96^2 / (2 (n -
    1)))` of a limit. They suppose that pairs are independent and differences about normal with a
    spread that does not grow with the mean: look at the plot.

    Args:
        candidate, reference: `(n,)`, real, of one unit, n at least 3.

    Raises:
        GeometryError: not two arrays `(n,)` of one length.
        InputError: NaN or infinity, or fewer than three pairs.
    """
    one, other = (np.asarray(values, dtype=np.float64) for values in (candidate, reference))
    if one.shape != other.shape or one.ndim != 1:
        raise GeometryError(
            f"Values of shape {one.shape} and {other.shape} were given; expected (n,) twice, one "
            "pair a row."
        )
    if one.size < 3:
        raise InputError(
            f"{one.size} pairs were given; limits of agreement need three at least, and 100 to be "
            "of use."
        )
    region(None, one, other)
    differences = one - other
    bias, deviation, n = float(differences.mean()), float(differences.std(ddof=1)), differences.size
    quantile = float(student.ppf(0.975, n - 1))
    of_bias = quantile * deviation / n**0.5
    of_limit = quantile * deviation * (1 / n + WIDTH**2 / (2 * (n - 1))) ** 0.5
    lower, upper = bias - WIDTH * deviation, bias + WIDTH * deviation
    return BlandAltman(
        (one + other) / 2,
        differences,
        bias,
        deviation,
        lower,
        upper,
        (bias - of_bias, bias + of_bias),
        (lower - of_limit, lower + of_limit),
        (upper - of_limit, upper + of_limit),
    )
