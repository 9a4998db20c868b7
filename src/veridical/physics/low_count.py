"""Low-count PET made from real SUV slices: what a shorter scan, or less tracer, would have shown.

A real slice carries the noise of its own scan, so only the *extra* noise of fewer counts is put in.
The slice is projected by a `PET` operator to mean counts `N`; `f N` plus Poisson noise of variance
`f (1 - f) N` has, together with the original's noise scaled by `f`, the mean and variance of counts
thinned to the share `f`. Both `N` and the thinned counts over `f` are reconstructed by
ordered-subsets expectation maximization (Hudson and Larkin 1994, 10.1109/42.363108) with the
scanner's post-filter, and the difference is added to the slice: at `f = 1` nothing changes.

One slice at a time: a three-dimensional scan's oblique lines are in the number of counts only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from veridical.errors import InputError, SettingError
from veridical.physics.blur import Blur
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.physics.pet import PET, attenuation_factors
from veridical.types import Array


@dataclass(frozen=True)
class PETScanner:
    """A scan of one slice with all its counts, and its reconstruction."""

    counts: float = 3e5
    """True coincidences in the slice at full counts: the default is 60 thousand a second for 4
    minutes over 47 slices. Scale it to what the field of view holds.
    """
    background: float = 0.5
    """Mean randoms and scatter as a share of the trues, evenly over the lines of response."""
    resolution: float = 5.0
    """Full width at half maximum of the scanner, mm; 4 to 6 for the whole-body scanners of 2005 to
    2020.
    """
    iterations: int = 2
    """Of the reconstruction, each over all subsets."""
    subsets: int = 14
    """Of the views."""
    filter: float = 5.0
    """Full width at half maximum of the Gaussian after reconstruction, mm."""

    def __post_init__(self) -> None:
        if not self.counts > 0 or not min(self.background, self.resolution, self.filter) >= 0:
            raise SettingError(
                f"PET scanner: counts = {self.counts}, background = {self.background}, resolution "
                f"= {self.resolution} mm, "
                f"filter = {self.filter} mm; expected counts above 0 and the others 0 or above."
            )
        if min(self.iterations, self.subsets) < 1:
            raise SettingError(
                f"PET scanner: iterations = {self.iterations}, subsets = {self.subsets}; expected "
                "1 or more."
            )


WHOLE_BODY = PETScanner()


def low_count_pet(
    suv: Array,
    spacing: tuple[float, float],
    fraction: float,
    rng: np.random.Generator,
    scanner: PETScanner = WHOLE_BODY,
    coefficients: Array | None = None,
) -> Array:
    """Return a real slice as a scan with a share of the counts would have shown it.

    Args: suv: `(y, x)`, SUV or any unit of activity, >= 0. spacing: `(dy, dx)` in mm. fraction:
        share of the counts of the original, in (0, 1]; 1 changes nothing. rng: source of
        randomness. scanner: at full counts. coefficients: `(y, x)` attenuation at 511 keV in 1/mm
        (water 0.0096); None: none, so noise is of one strength inside and outside of a large body.

    Returns:
        `(y, x)` float32, >= 0, in the unit of `suv`.

    Raises:
        SettingError: the fraction is not in (0, 1].
        InputError: NaN, infinite or negative values, or an empty slice.
        GeometryError: the attenuation is not of the slice's shape.
    """
    if not 0 < fraction <= 1:
        raise SettingError(
            f"fraction = {fraction}; expected a share of the counts above 0, up to 1 (1: nothing "
            "changes)."
        )
    if suv.ndim != 2 or not np.isfinite(suv).all() or suv.min() < 0 or not suv.max() > 0:
        raise InputError(
            "low-count PET: expected one slice (y, x) of finite values >= 0 that is not empty. "
            "Crop the volume to slices "
            "that show something, and clip small negative values."
        )
    activity = torch.from_numpy(np.array(suv, np.float32))
    system = _system(activity, spacing, scanner, coefficients)
    mean = system.expected(activity)
    missing = (1 - fraction) * mean.double().numpy()
    thinned = mean + torch.from_numpy(
        ((rng.poisson(fraction * missing) - fraction * missing) / fraction).astype(np.float32)
    )
    few, full = (_image(system, counts, scanner, spacing) for counts in (thinned, mean))
    return np.asarray((activity + (few - full)).clamp_min(0).numpy(), np.float32)


def _system(
    activity: Tensor, spacing: tuple[float, float], scanner: PETScanner, coefficients: Array | None
) -> PET:
    """Return the scanner of a slice, with as many views as the slice is wide times pi / 2 and its
    counts as asked for.
    """
    shape = (activity.shape[0], activity.shape[1])
    views = scanner.subsets * math.ceil(max(shape) * math.pi / 2 / scanner.subsets)
    beam = ParallelBeam(shape, spacing, half_turn(views))
    survival = None
    if coefficients is not None:
        beam.check(torch.empty(coefficients.shape), shape, "the attenuation map")
        survival = attenuation_factors(beam, torch.from_numpy(np.array(coefficients, np.float32)))
    blur = Blur(shape, spacing, (scanner.resolution, scanner.resolution))
    scale = scanner.counts / float(PET(beam, survival, None, blur).forward(activity).sum())
    background = torch.full(
        beam.range, scanner.background * scanner.counts / (beam.range[0] * beam.range[1])
    )
    return PET(beam, survival, background, blur, scale)


def _image(
    system: PET, counts: Tensor, scanner: PETScanner, spacing: tuple[float, float]
) -> Tensor:
    image = system.osem(counts, scanner.iterations, scanner.subsets)
    return Blur(image.shape, spacing, (scanner.filter, scanner.filter)).forward(image)
