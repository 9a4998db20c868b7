"""How CT and PET slices are degraded in lessons: lower dose, fewer views, fewer counts, lower resolution.

These are fast models in the image domain, to train on; `physics.low_dose` and `physics.low_count` make the data to test with,
so that a network can't have learned the simulator that it is tested with.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from veridical.models.known import HOUNSFIELD
from veridical.physics.backprojection import filtered_backprojection
from veridical.physics.ct_noise import low_dose_surrogate
from veridical.physics.low_dose import GE
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.types import Array

ODDS = {"CT": {"noise": 0.55, "ghosts": 0.25, "blur": 0.2}, "PET": {"noise": 0.75, "blur": 0.25}}
"""How often each degradation of a channel is rehearsed; `ghosts` are the streaks of missing views."""
PIXELS, PIXEL_ODDS = (0.5, 0.7, 0.85, 1.0, 1.3), (0.15, 0.2, 0.2, 0.3, 0.15)
"""Pixel sizes, mm, that the texture of CT noise is that of."""
KERNELS = (GE, replace(GE, window="shepp-logan"))
"""A soft and a sharp reconstruction."""
DOSE = (0.003, 0.5)
"""Decides how much stronger noise is behind bone and fat bodies; its size is drawn apart."""
CT_NOISE, PET_NOISE = (0.004, 0.15), (0.01, 0.15)
"""Standard deviation in network units: 4 to 150 HU, 0.05 to 0.75 SUV."""
VIEWS = (10, 45)
"""Of half a turn about a patch: about as far apart, seen from its middle, as 60 to 250 a full turn about a body."""
GRAIN = (4.0, 9.0)
"""Full width at half maximum of PET noise, mm: resolution of the reconstruction and post-filter."""


def low_dose(images: Array, support: Array, rng: np.random.Generator) -> tuple[Array, float]:
    """Add noise of a lower dose to CT slices `(n, y, x)` in thousands of HU; returns them and the size of the noise.

    Args:
        images: what is degraded.
        support: `(y, x)` or `(n, y, x)`, where noise has the size that is drawn.
        rng: everything random comes from it.
    """
    hu = HOUNSFIELD * images
    pixel = PIXELS[int(rng.choice(len(PIXELS), p=PIXEL_ODDS))]
    kernel = KERNELS[int(rng.random() < 0.25)]
    noise = low_dose_surrogate(hu, (pixel, pixel), _log_uniform(DOSE, rng), rng, kernel) - hu
    size = _log_uniform(CT_NOISE, rng)
    return images + noise * (size / _size(noise, support)), size


def sparse_views(images: Array, support: Array, rng: np.random.Generator) -> tuple[Array, float]:
    """Add the streaks of few views to CT slices `(n, y, x)` in thousands of HU; returns them and the size of the streaks."""
    shape, views = images.shape[-2:], round(_log_uniform(VIEWS, rng))
    full = half_turn(round(max(shape) * np.pi / 2))
    few = half_turn(views) + float(rng.uniform(0, np.pi / views))
    density = torch.from_numpy(np.asarray(images + 1, np.float32))
    window = GE.window

    def seen(angles: Tensor) -> Array:
        beam = ParallelBeam((shape[0], shape[1]), (1.0, 1.0), angles)
        return np.asarray(filtered_backprojection(beam, beam.forward(density), window))

    streaks = seen(few) - seen(full)
    return images + streaks, _size(streaks, support)


def low_counts(images: Array, support: Array, pixel: float, rng: np.random.Generator) -> tuple[Array, float]:
    """Add noise of fewer counts to PET slices `(n, y, x)`, >= 0; returns them and the size of the noise.

    Noise of an iterative reconstruction is correlated over the post-filter's width and grows with the local activity, between
    its square root and itself (Barrett, Wilson and Tsui 1994, 10.1088/0031-9155/39/5/004).

    Args:
        images, support, rng: as for `low_dose`.
        pixel: mm.
    """
    width = float(rng.uniform(*GRAIN)) / 2.355 / pixel
    white = ndimage.gaussian_filter(rng.standard_normal(images.shape, np.float32), (0, width, width), mode="wrap")
    local = ndimage.gaussian_filter(images, (0, 2 * width, 2 * width)) + 0.02
    noise = white * local ** float(rng.uniform(0.5, 1.0))
    size = _log_uniform(PET_NOISE, rng)
    return np.maximum(images + noise * (size / _size(noise, support)), 0), size


def _size(noise: Array, support: Array) -> float:
    """Return the root mean square over the support of the first slice, or of all where there is a support of each."""
    shown = noise if support.ndim == 3 else noise[0]
    return float(np.sqrt((np.square(shown) * support).sum() / max(float(support.sum()), 1.0)).clip(1e-6))


def _log_uniform(ends: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]))))
