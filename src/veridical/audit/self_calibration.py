"""Self-calibration of a Cartesian MR scan: how wrong is what was not sampled, by the scan's own
withheld samples.

The error of an unsampled k-space location grows with its distance from the nearest sample, up to
all the power that is there. `r(d) = LIMIT (1 - exp(-(d / reach)^3))` is that share of the power;
the reach (how far coils and prior carry) is found by withholding a quarter of the outer samples,
predicting them from the rest and comparing. Where the opposite location was sampled the share is
smaller, since the phase of an image is smooth. Power is known per ring of |k| from the samples. The
expected error of the whole scan follows, wherever it was not sampled, and the posterior samples are
rescaled, band by band, to have it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from veridical.models.problem import Problem, percentile, prepare, root_sum_of_squares
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.fourier import fft, ifft
from veridical.physics.masks import fully_sampled_centre
from veridical.types import Array, Finding, Verdict

LIMIT = 1.3
"""Share of a ring's mean power that is lost far from any sample; above 1, since whole directions of
a ring may be missing.
"""
REACH, REACHES = 3.5, (1.0, 10.0)
"""Distance in samples over which prediction carries, before anything is withheld, and the range it
is looked for in.
"""
MIRRORED = 0.15
"""Share of the power that is lost where only the opposite location was sampled (measured on
one-sided masks).
"""
SATURATED = 0.6
"""Withheld samples that lost more than this share of the limit say nothing about a longer reach."""
USUAL_LINES = 6
"""Withheld lines that count as much as what is known of other scans."""
WITHHELD = 0.25
LEAST_WITHHELD = 200
"""Samples that must be withheld for the scan's own answer to count."""
RINGS = 12
DISTANCES = (0.5, 1.5, 2.5, 3.5, 4.5, 6.5, 9.5, 14.0, 24.0, 1e9)
GAINS = (0.3, 8.0)
"""Range of the factors by which samples are rescaled."""
WARN, FAIL = 0.022, 0.045
"""Expected error of what was not sampled, as a share of the image's 99th percentile, from which
aliasing is visible.
"""

Estimate = Callable[[Problem], Tensor]
"""From a problem to its estimate `(*domain)`."""


@dataclass(frozen=True, eq=False)
class ExpectedError:
    """What is expected of the error outside of the samples.

    Args: power: `(ky, kx)`, expected squared error of every unsampled location in units of the
        problem; 0 where sampled. reach: distance in samples over which prediction carries.
        withheld: samples that were withheld to find it; 0 where too few could be. ratio: squared
        error of the withheld samples over what the usual reach predicts; None where nothing was
        withheld. bright: 99th percentile of the image, in units of the problem.
    """

    power: Array
    reach: float
    withheld: int
    ratio: float | None
    bright: float = 1.0

    @property
    def size(self) -> float:
        """Root mean square error in the image, as a share of its 99th percentile."""
        return math.sqrt(float(self.power.sum()) / self.power.size) / self.bright

    @property
    def verdict(self) -> Verdict:
        """A warning where aliasing is likely, a failure where it is certain: the spread may then
        not become an interval.
        """
        return "fail" if self.size > FAIL else "warn" if self.size > WARN else "pass"

    def finding(self, check: str) -> Finding:
        """Say whether what was not sampled can be believed."""
        how = (
            f"found by withholding and predicting {self.withheld} samples"
            if self.withheld
            else "taken from other scans, since too few samples can be withheld"
        )
        reason = (
            f"Outside of the samples an error of {self.size:.1%} of the image's 99th percentile is "
            "expected, seen as aliasing "
            f"(warning from {WARN:.1%}, failure from {FAIL:.1%}); prediction carries over "
            f"{self.reach:.1f} samples, {how}."
        )
        evidence = {
            "expected_error": self.size,
            "reach": self.reach,
            "withheld": self.withheld,
            "ratio": self.ratio,
        }
        return Finding(check, self.verdict, reason, evidence)


def expected_error(problem: Problem, estimate: Estimate, seed: int) -> ExpectedError:
    """Withhold samples, predict them, and extrapolate to what was never sampled.

    Args:
        problem: Cartesian MRI, `operator.mask` `(ky, kx)`.
        estimate: solves a problem.
        seed: of what is withheld.
    """
    if not isinstance(problem.operator, CartesianMRI):
        raise AssertionError("only Cartesian scans are calibrated by themselves")
    mask = problem.operator.mask.cpu().numpy() > 0
    ring = rings(mask)
    power = ring_power(problem, mask, ring)
    kept, hidden = withhold(mask, seed)
    reach, ratio, count = REACH, None, int(hidden.sum())
    if count >= LEAST_WITHHELD:
        found = prediction_error(problem, estimate, kept, hidden)
        local, away = power[ring[hidden]], distances(kept)[hidden]
        ratio = found / max(float((local * lost(away, REACH)).sum()), 1e-30)
        saturated = found > SATURATED * LIMIT * float(local.sum())
        reach = blended(matching_reach(local, away, found), lines(hidden), saturated)
    else:
        count = 0
    bright = percentile(root_sum_of_squares(problem.start))
    return ExpectedError(
        np.where(mask, 0.0, power[ring] * lost_of(mask, reach)), reach, count, ratio, bright
    )


def blended(reach: float, count: float, saturated: bool) -> float:
    """Return the reach of this scan drawn towards that of other scans, the more the fewer lines
    were withheld.
    """
    if saturated:
        return min(reach, REACH)
    share = count / (count + USUAL_LINES)
    return math.exp(share * math.log(reach) + (1 - share) * math.log(REACH))


def lines(hidden: Array) -> float:
    """Return how many lines were withheld, single samples counted as parts of one."""
    return float(hidden.sum() / max(hidden.any(1).sum(), hidden.any(0).sum(), 1))


def distances(mask: Array) -> Array:
    """Return the distance of every location from the nearest sample, in samples."""
    return np.asarray(ndimage.distance_transform_edt(~mask))


def lost_of(mask: Array, reach: float) -> Array:
    """Return the share of the power that is not predicted at every location, the opposite location
    considered.
    """
    opposite = np.roll(mask[::-1, ::-1], [1 - n % 2 for n in mask.shape], (0, 1))
    direct, mirrored = lost(distances(mask), reach), lost(distances(opposite), reach)
    return np.minimum(direct, np.maximum(mirrored, MIRRORED))


def recoloured(samples: Tensor, expected: ExpectedError, mask: Tensor) -> Tensor:
    """Rescale the deviations of samples `(draw, set, y, x)` from their mean so that they have the
    expected error, band by band.

    Only what was not sampled is rescaled; sampled locations keep the spread that the noise gives
    them.
    """
    mean = samples.mean(0)
    deviation = fft(samples - mean)
    spread = deviation.abs().square().sum((0, 1)).cpu().numpy() / max(1, len(samples) - 1)
    sampled = mask.cpu().numpy() > 0
    ring = rings(sampled)
    away = np.digitize(distances(sampled), DISTANCES)
    band = np.where(expected.power > 0, ring * len(DISTANCES) + away, -1)
    gain = np.ones(sampled.shape, np.float32)
    for number in np.unique(band[band >= 0]):
        inside = band == number
        factor = math.sqrt(expected.power[inside].mean() / max(spread[inside].mean(), 1e-30))
        gain[inside] = min(max(factor, GAINS[0]), GAINS[1])
    return mean + ifft(deviation * torch.from_numpy(gain).to(deviation.device))


def rings(mask: Array) -> Array:
    """Return the ring number `(ky, kx)` by |k|, from the centre to the middle of the edges; corners
    belong to the last.
    """
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    radius = np.hypot(
        (y - mask.shape[0] // 2) / (mask.shape[0] / 2),
        (x - mask.shape[1] // 2) / (mask.shape[1] / 2),
    )
    return np.asarray(np.minimum((radius * RINGS).astype(int), RINGS - 1))


def ring_power(problem: Problem, mask: Array, ring: Array) -> Array:
    """Return the mean power of the noise-free k-space in every ring, all coils together.

    Rings without samples continue the exponential fall of the outer ones.
    """
    coils = problem.data.shape[0]
    noise = 2 * coils * problem.sigma**2
    signal = problem.data.abs().square().sum(0).cpu().numpy() - noise
    power = np.full(RINGS, np.nan)
    for number in range(RINGS):
        inside = mask & (ring == number)
        if inside.sum() >= 8:
            power[number] = max(float(signal[inside].mean()), 0.02 * noise)
    known = np.flatnonzero(np.isfinite(power))
    filled = np.exp(np.interp(np.arange(RINGS), known, np.log(power[known])))
    last = known[-3:]
    if len(last) >= 2 and known[-1] < RINGS - 1:
        slope = min(float(np.polyfit(last, np.log(power[last]), 1)[0]), 0.0)
        beyond = np.arange(known[-1] + 1, RINGS)
        filled[beyond] = power[known[-1]] * np.exp(slope * (beyond - known[-1]))
    return np.asarray(filled)


def withhold(mask: Array, seed: int) -> tuple[Array, Array]:
    """Return what is kept and what is withheld of a mask: outer columns or rows where whole ones
    were sampled, else samples.
    """
    rng = np.random.default_rng([seed, 11])
    outer = mask.copy()
    outer[fully_sampled_centre(mask)] = False
    hidden = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        if mask.any(1 - axis).all() and _whole(mask, axis):
            candidates = np.flatnonzero(outer.any(axis))
            drawn = rng.choice(candidates, round(WITHHELD * len(candidates)), replace=False)
            hidden[(slice(None), drawn) if axis == 0 else (drawn, slice(None))] = True
            return mask & ~hidden, outer & hidden
    hidden = outer & (rng.random(mask.shape) < WITHHELD)
    return mask & ~hidden, hidden


def _whole(mask: Array, axis: int) -> bool:
    """Say whether every line along an axis was sampled whole or not at all."""
    share = mask.mean(axis)
    return bool(((share < 0.02) | (share > 0.98)).all())


def prediction_error(problem: Problem, estimate: Estimate, kept: Array, hidden: Array) -> float:
    """Return the squared error of predicted withheld samples beyond their noise, all coils
    together.
    """
    if not isinstance(problem.operator, CartesianMRI):
        raise AssertionError("only Cartesian samples are withheld")
    sampled = torch.from_numpy(kept.astype(np.float32)).to(problem.data.device)
    fewer = prepare(problem.data * sampled, sampled, problem.operator.maps, problem.sigma)
    predicted = fft(fewer.seen(estimate(fewer))[:, 0]) * fewer.scale
    where = torch.from_numpy(hidden).to(problem.data.device)
    error = (predicted - problem.data)[:, where].abs().square().sum()
    return max(float(error) - 2 * problem.data.shape[0] * int(hidden.sum()) * problem.sigma**2, 0.0)


def lost(distance: Array, reach: float) -> Array:
    """Return the share of the power that is not predicted at a distance in samples."""
    return np.asarray(LIMIT * (1 - np.exp(-((distance / reach) ** 3))))


def matching_reach(power: Array, distance: Array, error: float) -> float:
    """Return the reach under which withheld samples of that power and distance have that squared
    error together.
    """
    low, high = REACHES
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (
            (middle, high)
            if float((power * lost(distance, middle)).sum()) > error
            else (low, middle)
        )
    return math.sqrt(low * high)
