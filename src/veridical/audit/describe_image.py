"""Descriptors of one channel of an image for scope: intensities, sharpness, noise and extent, free of units."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from veridical.types import Array

QUANTILES = (10, 30, 50, 70, 90)


def describe_image(image: Array) -> dict[str, float]:
    """Describe a slice `(y, x)` in network units (relative to the 99th percentile of its volume, CT in thousands of HU).

    Returns:
        `quantile_10` to `quantile_90` of the foreground; `foreground`, its share of the slice; `edges`, log10 of the mean
        gradient over the median intensity; `fine`, log10 of the energy that a 3x3 mean removes over that which a 9x9 mean
        removes: noise and sharpness together; `skew` of the foreground.
    """
    lifted = image - min(0.0, float(image.min()))
    top = float(np.percentile(lifted, 99)) or 1.0
    inside = ndimage.binary_opening(lifted > 0.1 * top, iterations=1)
    if inside.sum() < 16:
        inside = lifted >= 0
    values = image[inside]
    gradient = np.hypot(*np.gradient(image))[inside]
    fine = np.square(image - ndimage.uniform_filter(image, 3))[inside].mean()
    coarse = np.square(image - ndimage.uniform_filter(image, 9))[inside].mean()
    spread = float(values.std()) or 1.0
    return {
        **{f"quantile_{q}": float(np.percentile(values, q)) for q in QUANTILES},
        "foreground": float(inside.mean()),
        "edges": float(np.log10(max(float(gradient.mean()), 1e-6) / max(abs(float(np.median(values))), 1e-3))),
        "fine": float(np.log10(max(float(fine), 1e-12) / max(float(coarse), 1e-12))),
        "skew": float((((values - values.mean()) / spread) ** 3).mean()),
    }
