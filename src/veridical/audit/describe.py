"""Descriptors of an MRI scan for scope: how it was sampled, how noisy it is, and what its image looks like.

They are scale-free: multiplying the data, the noise level and the estimate by one number changes none of them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from veridical.errors import InputError
from veridical.physics.fourier import fft, ifft
from veridical.physics.masks import fully_sampled_centre
from veridical.types import Array


def describe_scan(kspace: Array, mask: Array, estimate: Array, sigma: float) -> dict[str, float]:
    """Describe one slice by numbers that do not depend on the units of the data.

    Args:
        kspace: `(coil, ky, kx)` complex, centred, zero where not sampled.
        mask: `(ky, kx)`, nonzero where sampled.
        estimate: `(y, x)` complex, a classical estimate (CG-SENSE) in the units of the data.
        sigma: noise standard deviation per real component, > 0.

    Returns:
        Finite numbers by name.
        Sampling: `sampled` (log10 of the fraction), `centre_y` and `centre_x` (fractions of the matrix without a gap),
        `gap` (log2) and `gap_spread` (relative) of neighbouring samples along kx, `along_y` (share of the mask's variation
        that lies along ky: 0 for phase encoding along kx alone).
        Noise: `noise` (log10 of sigma over the 99th percentile of the image), `excess` (log10 of the data's power at the
        edge of the sampled k-space over that of the noise).
        Image: `slope` of its power spectrum and `high` (log10 share of power above half the resolution), `quantile_10` to
        `quantile_90` of the foreground over the 99th percentile, `foreground` (fraction), `phase` (log10 of the
        incoherence of neighbours), `fit` (log10 of the relative difference from the root-sum-of-squares image at low
        resolution).

    Raises:
        InputError: shapes that differ, values that are not finite, an empty image or mask, or no noise level.
    """
    sampled = np.asarray(mask) > 0
    if kspace.ndim != 3 or kspace.shape[1:] != sampled.shape or estimate.shape != sampled.shape:
        raise InputError(
            f"k-space {kspace.shape}, mask {sampled.shape} and estimate {estimate.shape}; expected (coil, ky, kx), (ky, kx) "
            "and (y, x) of one matrix."
        )
    finite = bool(np.isfinite(kspace).all() and np.isfinite(estimate).all())
    if not finite or not sampled.any() or not np.abs(estimate).max() > 0 or not sigma > 0:
        raise InputError("A scan can be described when its data are finite, something was sampled, and the noise level is > 0.")
    spectrum = fft(torch.from_numpy(np.ascontiguousarray(estimate))).numpy()
    return {
        **_sampling(sampled),
        **_noise(kspace, sampled, estimate, sigma),
        **_spectrum(spectrum),
        **_intensity(np.abs(estimate)),
        "phase": _coherence(estimate),
        "fit": _fit(kspace, sampled, spectrum),
    }


def _sampling(mask: Array) -> dict[str, float]:
    rows, columns = fully_sampled_centre(mask)
    outside = mask.copy()
    outside[rows, columns] = False
    gap, gap_spread = _gaps(outside)
    total = float(mask.var())
    within = float(mask.var(axis=0).mean())
    return {
        "sampled": float(np.log10(mask.mean())),
        "centre_y": (rows.stop - rows.start) / mask.shape[0],
        "centre_x": (columns.stop - columns.start) / mask.shape[1],
        "gap": gap,
        "gap_spread": gap_spread,
        "along_y": within / total if total > 0 else 0.0,
    }


def _gaps(mask: Array) -> tuple[float, float]:
    """Return mean (log2) and relative spread of the distance from a sample to the next along kx: 0 for a regular pattern."""
    gaps = np.concatenate([np.diff(np.flatnonzero(row)) for row in mask])
    if not len(gaps):
        return 0.0, 0.0
    inside = gaps[gaps <= np.quantile(gaps, 0.95)]
    return float(np.log2(inside.mean())), float(inside.std() / inside.mean())


def _noise(kspace: Array, mask: Array, estimate: Array, sigma: float) -> dict[str, float]:
    radius = _radius(mask.shape)
    edge = mask & (radius >= np.quantile(radius[mask], 0.8))
    power = float((np.abs(kspace[:, edge]) ** 2).mean())
    scale = float(np.quantile(np.abs(estimate), 0.99))
    return {
        "noise": float(np.log10(sigma / max(scale, 1e-12 * float(np.abs(estimate).max())))),
        "excess": float(np.log10(max(power, 1e-12 * sigma**2) / (2 * sigma**2))),
    }


def _spectrum(spectrum: Array) -> dict[str, float]:
    """Return the exponent of the radial power spectrum between 5 and 50 % of the highest frequency, and the share above."""
    radius = _radius(spectrum.shape)
    power = np.abs(spectrum) ** 2
    found = []
    for low, high in pairwise(np.geomspace(0.05, 0.5, 9)):
        shell = power[(radius >= low) & (radius < high)]
        if shell.size:
            found.append((np.log(low * high) / 2, shell.mean()))
    floor = 1e-12 * power.max()
    levels = np.log([max(mean, floor) for _, mean in found])
    slope = np.polyfit([at for at, _ in found], levels, 1)[0] if len(found) > 1 else 0.0
    share = power[radius >= 0.5].sum() / power.sum()
    return {"slope": float(slope), "high": float(np.log10(max(share, 1e-12)))}


def _intensity(magnitude: Array) -> dict[str, float]:
    top = float(np.quantile(magnitude, 0.99)) or float(magnitude.max())
    inside = magnitude > 0.1 * top
    values = magnitude[inside] / top
    quantiles = {f"quantile_{q}": float(np.quantile(values, q / 100)) for q in (10, 25, 50, 75, 90)}
    return {**quantiles, "foreground": float(inside.mean())}


def _coherence(estimate: Array) -> float:
    """Return log10 of `1 - |sum x conj(x next)| / sum |x| |x next|` along the worse axis: low for a smooth phase."""
    worst = 1.0
    for axis in (0, 1):
        first = np.moveaxis(estimate, axis, 0)
        across, sizes = first[1:] * first[:-1].conj(), np.abs(first[1:]) * np.abs(first[:-1])
        worst = min(worst, float(np.abs(across.sum()) / max(float(sizes.sum()), 1e-30)))
    return float(np.log10(max(1 - worst, 1e-6)))


def _low_resolution(kspace: Array) -> Array:
    return np.asarray(np.abs(ifft(torch.from_numpy(np.ascontiguousarray(kspace))).numpy()))


def _fit(kspace: Array, mask: Array, spectrum: Array) -> float:
    rows, columns = fully_sampled_centre(mask)
    window = np.zeros(mask.shape)
    middle = [n // 2 for n in mask.shape]
    reach = [max(4, (s.stop - s.start) // 2) for s in (rows, columns)]
    taper = [np.hanning(2 * r + 1) for r in reach]
    low = [max(0, m - r) for m, r in zip(middle, reach, strict=True)]
    high = [min(n, m + r + 1) for n, m, r in zip(mask.shape, middle, reach, strict=True)]
    parts = [t[a - m + r : b - m + r] for t, a, b, m, r in zip(taper, low, high, middle, reach, strict=True)]
    window[low[0] : high[0], low[1] : high[1]] = np.outer(*parts)
    measured = np.linalg.norm(_low_resolution(kspace * (window * mask)), axis=0)
    estimated = _low_resolution(spectrum * (window * mask))
    difference = np.linalg.norm(measured - estimated) / max(float(np.linalg.norm(measured)), 1e-30)
    return float(np.log10(max(float(difference), 1e-6)))


def _radius(shape: tuple[int, ...]) -> Array:
    """Return the distance from the k-space centre, 1 at the edge of the shorter way out."""
    y, x = [(np.arange(n) - n // 2) / (n / 2) for n in shape[-2:]]
    return np.asarray(np.hypot(y[:, None], x[None]))
