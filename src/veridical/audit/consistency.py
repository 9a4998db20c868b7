"""Consistency: does the image reproduce what was measured, to within the noise?

It sees what A sees and nothing else: a structure in the null space of A can neither fail nor pass it. Evidence says where
that is.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from veridical.errors import InputError
from veridical.physics.cartesian_mri import CartesianMRI
from veridical.physics.linear import LinearOperator
from veridical.types import Finding, Verdict

LIMITS = (1.5, 3.0)
"""Residual over expected noise, in variance: at most the first passes, above the second fails."""

BANDS = 5
RARE = 1e-3


def consistency(
    operator: LinearOperator,
    y: Tensor,
    x: Tensor,
    sigma: float,
    operator_error: float = 0.0,
    limits: tuple[float, float] = LIMITS,
) -> Finding:
    """Compare `A x` with the data it was made from.

    Args:
        operator: A.
        y: `(..., *range)`, zero where not sampled.
        x: `(..., *domain)`, the estimate or one draw; as many leading axes as `y`.
        sigma: noise standard deviation per real component, in the units of `y`.
        operator_error: share of the data's magnitude by which A itself may be wrong (coil maps, trajectory), added in
            quadrature to the noise, band by band. 0 trusts A.
        limits: reduced chi-square up to which it passes, and above which it fails; widened by four standard errors.

    Returns:
        A finding. Evidence: `chi_square` over all samples (1: the residual is as large as the noise; below 1: the noise
        has been fitted too), the same for radial k-space bands from the centre outwards (`bands`; Cartesian MRI only),
        `relative` residual, `largest` residual in standard deviations, `samples`. The worst band decides; a single
        sample too far off for chance (1 in 1000) is a warning.

    Raises:
        InputError: sigma is not above 0, or nothing was sampled.
    """
    residual = y - operator.forward(x)
    return _judge("consistency", operator, y, residual, sigma**2, operator_error, limits, "the residual")


def withheld(
    operator: LinearOperator,
    y: Tensor,
    draws: Tensor,
    sigma: float,
    operator_error: float = 0.0,
    limits: tuple[float, float] = LIMITS,
) -> Finding:
    """Compare the draws' predictions with data they have not seen: a posterior predictive check.

    Args:
        operator: A of the withheld data: for MRI the mask of the withheld samples, with the same maps.
        y: `(*range)`, the withheld data, zero elsewhere.
        draws: `(draw, *domain)`, at least 2, made without `y`.
        sigma: noise standard deviation per real component.
        operator_error: as in `consistency`.
        limits: as in `consistency`.

    Returns:
        As `consistency`, with the residual of the draws' mean against noise plus the draws' own variance: a chi-square
        above 1 says that the draws are surer than they are right. Single samples are not judged: a variance of few draws
        cannot say what is rare.

    Raises:
        InputError: fewer than 2 draws, sigma not above 0, or nothing was withheld.
    """
    if draws.shape[0] < 2:
        raise InputError(f"{draws.shape[0]} draw was given; predictions need at least 2 to know their spread.")
    predicted = operator.forward(draws)
    parts = 2 if predicted.is_complex() else 1
    spread = predicted.var(0) * ((1 + 1 / draws.shape[0]) / parts)
    residual = y - predicted.mean(0)
    return _judge("withheld data", operator, y, residual, sigma**2 + spread, operator_error, limits, "the error of prediction")


def _judge(
    check: str,
    operator: LinearOperator,
    y: Tensor,
    residual: Tensor,
    variance: float | Tensor,
    operator_error: float,
    limits: tuple[float, float],
    what: str,
) -> Finding:
    """Turn a residual and its variance per real component (a number when known, a tensor when estimated) into a finding."""
    bands = _bands(operator, y)
    if bool((torch.as_tensor(variance) <= 0).any()) or not bool((bands >= 0).any()):
        raise InputError(
            "Consistency needs a noise level above 0 and at least one sample. Give the noise level, or estimate it from "
            "samples without signal."
        )
    parts = 2 if residual.is_complex() else 1
    expected = torch.as_tensor(variance, dtype=y.real.dtype, device=y.device).expand(residual.shape)
    power = residual.abs().square() / parts
    signal = y.abs().square() / parts
    present = [band for band in range(BANDS) if bool((bands == band).any())]
    chi_square, samples = [], []
    largest = 0.0
    for band in present:
        inside = bands == band
        allowed = expected[inside] + operator_error**2 * signal[inside].mean()
        chi_square.append(float(power[inside].mean() / allowed.mean()))
        largest = max(largest, float((power[inside] / allowed).max()))
        samples.append(int(inside.sum()))
    total = float(sum(c * n for c, n in zip(chi_square, samples, strict=True)) / sum(samples))
    excess = [c - 4 * math.sqrt(2 / (parts * n)) for c, n in zip(chi_square, samples, strict=True)]
    evidence: dict[str, Any] = {
        "chi_square": total,
        "bands": chi_square if len(present) > 1 else [],
        "relative": float((power.sum() / signal.sum().clamp_min(1e-30)).sqrt()),
        "largest": math.sqrt(parts * largest),
        "samples": sum(samples),
        "operator_error": operator_error,
        "limits": list(limits),
    }
    rare = not isinstance(variance, Tensor) and sum(samples) * _tail(largest, parts) < RARE
    verdict: Verdict = "fail" if max(excess) > limits[1] else "warn" if max(excess) > limits[0] or rare else "pass"
    return Finding(check, verdict, _reason(evidence, what, rare), evidence)


def _bands(operator: LinearOperator, y: Tensor) -> Tensor:
    """Return the band of every sample, -1 where there is none: radial shells of equal width for Cartesian MRI."""
    if not isinstance(operator, CartesianMRI):
        return torch.zeros(y.shape, dtype=torch.int64, device=y.device)
    rows, columns = y.shape[-2:]
    ky = (torch.arange(rows, device=y.device) - rows // 2)[:, None] / max(1, rows / 2)
    kx = (torch.arange(columns, device=y.device) - columns // 2)[None] / max(1, columns / 2)
    shell = (torch.sqrt(ky**2 + kx**2) * BANDS).long().clamp_max(BANDS - 1)
    return torch.where(operator.mask > 0, shell, -1).expand(y.shape)


def _tail(square: float, parts: int) -> float:
    """Return the chance that one sample's squared residual over its expectation exceeds `square`."""
    return math.exp(-square) if parts == 2 else math.erfc(math.sqrt(square / 2))


def _reason(evidence: dict[str, Any], what: str, rare: bool) -> str:
    chi_square, bands = evidence["chi_square"], evidence["bands"]
    text = (
        f"In variance {what} is {chi_square:.2f} times what the noise explains over {evidence['samples']} samples "
        f"({evidence['relative']:.1%} of the data); it passes up to {evidence['limits'][0]:g} and fails above "
        f"{evidence['limits'][1]:g}, in every band."
    )
    if bands and max(bands) > evidence["limits"][0]:
        text += f" The worst k-space band is number {bands.index(max(bands)) + 1} of {len(bands)}, with {max(bands):.2f}."
    if rare:
        text += f" One sample is {evidence['largest']:.1f} standard deviations off, too far for chance."
    return text + " Nothing is said about what was not sampled."
