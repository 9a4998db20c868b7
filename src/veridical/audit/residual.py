"""Residuals of an estimate, or of predictions, against the noise of the measurement: the numbers
behind `consistency`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from veridical.errors import InputError
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.linear import LinearOperator
from veridical.types import Finding, Verdict

LIMITS = (1.5, 3.0)
"""Residual over expected noise, in variance: at most the first passes, above the second fails."""
BANDS = 5
MAP_ERROR = 0.05
"""Share of the signal by which estimated coil maps may be wrong; without it a clean scan would
never be consistent.
"""
RARE = 1e-3
"""Chance below which a single sample is too far off."""


@dataclass(frozen=True)
class Misfit:
    """How far an estimate is from the data it was made from.

    Args: chi_square: over all samples; 1: the residual is as large as the noise, below 1: the noise
        has been fitted too. bands: the same for radial k-space bands from the centre outwards
        (Cartesian MRI only). counts: samples of each band. relative: residual over data. largest:
        residual in standard deviations. samples: number of them. parts: real numbers a sample has:
        2 for complex data. operator_error: share of the data's magnitude by which the operator may
        be wrong. rare: one sample is too far off for chance. limits: up to which it passes, and
        above which it fails; widened by four standard errors. what: was compared, in words.
    """

    chi_square: float
    bands: tuple[float, ...]
    counts: tuple[int, ...]
    relative: float
    largest: float
    samples: int
    parts: int
    operator_error: float
    rare: bool
    limits: tuple[float, float] = LIMITS
    what: str = "the residual"

    @property
    def verdict(self) -> Verdict:
        """The worst band decides; a single sample too far off for chance is a warning."""
        excess = max(
            c - 4 * math.sqrt(2 / (self.parts * n))
            for c, n in zip(self.bands, self.counts, strict=True)
        )
        return (
            "fail"
            if excess > self.limits[1]
            else "warn"
            if excess > self.limits[0] or self.rare
            else "pass"
        )

    def finding(self, check: str) -> Finding:
        """Return it in words."""
        text = (
            f"In variance {self.what} is {self.chi_square:.2f} times what the noise explains over "
            f"{self.samples} samples "
            f"({self.relative:.1%} of the data); it passes up to {self.limits[0]:g} and fails "
            "above "
            f"{self.limits[1]:g}, in every band."
        )
        if len(self.bands) > 1 and max(self.bands) > self.limits[0]:
            worst = self.bands.index(max(self.bands)) + 1
            text += (
                f" The worst k-space band is number {worst} of {len(self.bands)}, with "
                f"{max(self.bands):.2f}."
            )
        if self.rare:
            text += (
                f" One sample is {self.largest:.1f} standard deviations off, too far for chance."
            )
        evidence = {
            key: value
            for key, value in asdict(self).items()
            if key not in ("counts", "parts", "rare", "what")
        }
        evidence |= {
            "bands": list(self.bands) if len(self.bands) > 1 else [],
            "limits": list(self.limits),
        }
        return Finding(
            check, self.verdict, f"{text} Nothing is said about what was not sampled.", evidence
        )


def misfit(
    operator: LinearOperator,
    y: Tensor,
    x: Tensor,
    sigma: float,
    operator_error: float = 0.0,
    limits: tuple[float, float] = LIMITS,
) -> Misfit:
    """Compare `A x` with the data it was made from.

    Args: operator: A. y: `(..., *range)`, zero where not sampled. x: `(..., *domain)`, the estimate
        or one draw; as many leading axes as `y`. sigma: noise standard deviation per real
        component, in the units of `y`. operator_error: share of the data's magnitude by which A
        itself may be wrong (coil maps, trajectory), added in quadrature to the noise, band by band.
        0 trusts A. limits: reduced chi-square up to which it passes, and above which it fails.

    Raises:
        InputError: sigma is not above 0, or nothing was sampled.
    """
    return _compared(
        operator, y, y - operator.forward(x), sigma**2, operator_error, limits, "the residual"
    )


def withheld(
    operator: LinearOperator,
    y: Tensor,
    draws: Tensor,
    sigma: float,
    operator_error: float = 0.0,
    limits: tuple[float, float] = LIMITS,
) -> Misfit:
    """Compare the draws' predictions with data they have not seen: a posterior predictive check.

    Args: operator: A of the withheld data: for MRI the mask of the withheld samples, with the same
        maps. y: `(*range)`, the withheld data, zero elsewhere. draws: `(draw, *domain)`, at least
        2, made without `y`. sigma: noise standard deviation per real component. operator_error: as
        in `misfit`. limits: as in `misfit`.

    Returns: As `misfit`, with the residual of the draws' mean against noise plus the draws' own
        variance: a chi-square above 1 says that the draws are surer than they are right. Single
        samples are not judged: a variance of few draws cannot say what is rare.

    Raises:
        InputError: fewer than 2 draws, sigma not above 0, or nothing was withheld.
    """
    if draws.shape[0] < 2:
        raise InputError(
            f"{draws.shape[0]} draw was given; predictions need at least 2 to know their spread."
        )
    predicted = operator.forward(draws)
    spread = predicted.var(0) * ((1 + 1 / draws.shape[0]) / (2 if predicted.is_complex() else 1))
    residual = y - predicted.mean(0)
    return _compared(
        operator, y, residual, sigma**2 + spread, operator_error, limits, "the error of prediction"
    )


def _compared(
    operator: LinearOperator,
    y: Tensor,
    residual: Tensor,
    variance: float | Tensor,
    operator_error: float,
    limits: tuple[float, float],
    what: str,
) -> Misfit:
    """Compare a residual with its variance per real component (a number when known, a tensor when
    estimated).
    """
    bands = _bands(operator, y)
    if bool((torch.as_tensor(variance) <= 0).any()) or not bool((bands >= 0).any()):
        raise InputError(
            "Consistency needs a noise level above 0 and at least one sample. Give the noise "
            "level, or estimate it from "
            "samples without signal."
        )
    parts = 2 if residual.is_complex() else 1
    expected = torch.as_tensor(variance, dtype=y.real.dtype, device=y.device).expand(residual.shape)
    power, signal = residual.abs().square() / parts, y.abs().square() / parts
    chi_square, counts, largest = [], [], 0.0
    for band in range(BANDS):
        inside = bands == band
        if not bool(inside.any()):
            continue
        allowed = expected[inside] + operator_error**2 * signal[inside].mean()
        chi_square.append(float(power[inside].mean() / allowed.mean()))
        largest = max(largest, float((power[inside] / allowed).max()))
        counts.append(int(inside.sum()))
    samples = sum(counts)
    return Misfit(
        sum(c * n for c, n in zip(chi_square, counts, strict=True)) / samples,
        tuple(chi_square),
        tuple(counts),
        float((power.sum() / signal.sum().clamp_min(1e-30)).sqrt()),
        math.sqrt(parts * largest),
        samples,
        parts,
        operator_error,
        not isinstance(variance, Tensor) and samples * _tail(largest, parts) < RARE,
        limits,
        what,
    )


def _bands(operator: LinearOperator, y: Tensor) -> Tensor:
    """Return the band of every sample, -1 where there is none: radial shells of equal width for
    Cartesian MRI.
    """
    if not isinstance(operator, CartesianMRI):
        return torch.zeros(y.shape, dtype=torch.int64, device=y.device)
    rows, columns = y.shape[-2:]
    ky = (torch.arange(rows, device=y.device) - rows // 2)[:, None] / max(1, rows / 2)
    kx = (torch.arange(columns, device=y.device) - columns // 2)[None] / max(1, columns / 2)
    shell = (torch.sqrt(ky**2 + kx**2) * BANDS).long().clamp_max(BANDS - 1)
    return torch.where(operator.mask > 0, shell, -1).expand(y.shape)


def _tail(square: float, parts: int) -> float:
    """Return the chance that one sample's squared residual over its expectation exceeds
    `square`.
    """
    return math.exp(-square) if parts == 2 else math.erfc(math.sqrt(square / 2))
