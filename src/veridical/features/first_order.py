"""Intensity statistics and intensity histogram, as the Image Biomarker Standardisation Initiative
(IBSI) defines them.

Sections 3.3 and 3.4 of the IBSI reference manual, arXiv 1612.07003.
"""

from __future__ import annotations

import numpy as np

from veridical.types import Array


def intensity_statistics(values: Array) -> dict[str, float]:
    """Return the 18 intensity-based statistics of a region (IBSI 3.3).

    Args:
        values: `(n,)` intensities, n at least 1, finite.

    Returns: IBSI name -> value. Kurtosis is excess kurtosis (0 for a Gaussian). A constant region
        has skewness, kurtosis and coefficient of variation 0; the two coefficients are 0, too,
        where their denominator is.
    """
    values = values.astype(np.float64)
    p10, p25, median, p75, p90 = (float(p) for p in np.percentile(values, (10, 25, 50, 75, 90)))
    mean = float(values.mean())
    deviation = values - mean
    squared = deviation**2
    variance = float(squared.mean())
    flat = np.ptp(values) == 0
    middle = values[(values >= p10) & (values <= p90)]
    energy = float(values @ values)
    return {
        "stat_mean": mean,
        "stat_variance": variance,
        "stat_skewness": 0.0 if flat else float(squared @ deviation) / values.size / variance**1.5,
        "stat_excess_kurtosis": 0.0
        if flat
        else float(squared @ squared) / values.size / variance**2 - 3,
        "stat_median": median,
        "stat_minimum": float(values.min()),
        "stat_10th_percentile": p10,
        "stat_90th_percentile": p90,
        "stat_maximum": float(values.max()),
        "stat_interquartile_range": p75 - p25,
        "stat_range": float(np.ptp(values)),
        "stat_mean_absolute_deviation": float(np.abs(deviation).mean()),
        "stat_robust_mean_absolute_deviation": float(np.abs(middle - middle.mean()).mean()),
        "stat_median_absolute_deviation": float(np.abs(values - median).mean()),
        "stat_coefficient_of_variation": variance**0.5 / mean if mean else 0.0,
        "stat_quartile_coefficient_of_dispersion": (p75 - p25) / (p75 + p25) if p75 + p25 else 0.0,
        "stat_energy": energy,
        "stat_root_mean_square": (energy / values.size) ** 0.5,
    }


def intensity_histogram(grey: Array, levels: int) -> dict[str, float]:
    """Return the 23 intensity histogram features of a discretised region (IBSI 3.4).

    Args:
        grey: `(n,)` grey levels, integers from 1 to `levels`, n at least 1.
        levels: number of grey levels.

    Returns: IBSI name -> value. The mode is, of equally frequent levels, the one nearest to the
        mean. With a single level the histogram has no gradient, and its gradients are 0.
    """
    counts = np.bincount(grey, minlength=levels + 1)[1:].astype(np.float64)
    shared = {
        f"ih_{name.removeprefix('stat_')}": value
        for name, value in intensity_statistics(grey).items()
        if name not in ("stat_energy", "stat_root_mean_square")
    }
    fullest = 1 + np.flatnonzero(counts == counts.max())
    share = counts[counts > 0] / grey.size
    gradient = np.gradient(counts) if levels > 1 else np.zeros(1)
    return shared | {
        "ih_mode": float(fullest[np.argmin(np.abs(fullest - shared["ih_mean"]))]),
        "ih_entropy": abs(float(share @ np.log2(share))),
        "ih_uniformity": float(share @ share),
        "ih_maximum_histogram_gradient": float(gradient.max()),
        "ih_maximum_histogram_gradient_intensity": float(gradient.argmax() + 1),
        "ih_minimum_histogram_gradient": float(gradient.min()),
        "ih_minimum_histogram_gradient_intensity": float(gradient.argmin() + 1),
    }
