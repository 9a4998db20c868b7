"""Images of any contrast at all: every structure gets a random brightness, whatever physics allows.

A network that has seen only such images recognizes shapes, not a sequence, and works on scanners
and contrasts that it was never trained on (Billot et al., Medical Image Analysis 2023,
10.1016/j.media.2023.102789).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from veridical.phantoms.label_maps import NAMES, structure
from veridical.physics.bias_shading import random_polynomial, smooth_field
from veridical.types import Array

ALIKE = (
    ("lateral ventricle", "third and fourth ventricle", "fluid around the brain"),
    ("white matter", "cerebellar white matter", "brain stem", "spinal cord"),
    ("cortex", "cerebellar cortex", "hippocampus and amygdala"),
    ("thalamus", "caudate", "putamen", "pallidum"),
    ("fat", "spongy bone"),
    ("muscle", "skin", "mucosa"),
)
"""Structures of one tissue: in most images they are about equally bright."""
TOGETHER, APART = 0.75, 0.06
"""How often they are, and then the standard deviation of their differences."""
DARK_BONE = 0.8
"""How often compact bone is dark, as in MR."""
TEXTURE = 0.07
"""Largest standard deviation within a structure; brightness lies between 0 and 1."""
SHADING = 1.0
"""Largest strength of the bias field, as BrainWeb counts it."""
NOISE, GAMMA = 0.08, 0.25
"""Largest standard deviation of the noise, and standard deviation of the log of gamma."""
THICKEST = 6.0
"""mm of the thickest slices; half of the images have voxels as fine as they are drawn."""


def free_contrast(structures: Array, rng: np.random.Generator) -> Array:
    """Return an image `(x/2, y/2, z/2)` float32, its brightest percent about 1, of structures drawn
    at twice its resolution.

    Args:
        structures: `(x, y, z)` uint8, even sides, at 1 mm.
        rng: everything random comes from it.
    """
    mean, deviation = _brightness(rng)
    fine = mean[structures] + deviation[structures] * rng.standard_normal(
        structures.shape, np.float32
    )
    image = _halved(np.asarray(fine, np.float32))
    image *= smooth_field(image.shape, random_polynomial(3, rng), rng.uniform(0, SHADING))
    image = _sliced(image, rng)
    image += np.float32(rng.uniform(0, NOISE)) * rng.standard_normal(image.shape, np.float32)
    return np.asarray(scaled(np.abs(image)) ** np.exp(rng.normal(0, GAMMA)), np.float32)


def scaled(image: Array) -> Array:
    """Return an image relative to its 99.5th percentile, from 0 to 1.5: how the segmenter sees
    every image.
    """
    top = float(np.percentile(image, 99.5)) or 1.0
    return np.asarray(np.clip(image / np.float32(top), 0, 1.5), np.float32)


def _brightness(rng: np.random.Generator) -> tuple[Array, Array]:
    mean = rng.uniform(0.05, 1.0, len(NAMES))
    for group in ALIKE:
        if rng.random() < TOGETHER:
            places = [structure(name) for name in group]
            mean[places] = np.clip(rng.uniform(0.05, 1.0) + rng.normal(0, APART, len(group)), 0, 1)
    if rng.random() < DARK_BONE:
        mean[structure("compact bone")] = rng.uniform(0, 0.12)
    mean[structure("background")] = rng.uniform(0, 0.04)
    deviation = rng.uniform(0.01, TEXTURE, len(NAMES))
    deviation[structure("background")] = 0.01
    return mean.astype(np.float32), deviation.astype(np.float32)


def _halved(image: Array) -> Array:
    """Average 2 x 2 x 2 voxels: the partial volume of a scan."""
    x, y, z = (n // 2 for n in image.shape)
    return np.asarray(image.reshape(x, 2, y, 2, z, 2).mean((1, 3, 5)))


def _sliced(image: Array, rng: np.random.Generator) -> Array:
    """Blur one axis as thick slices do that were interpolated, and all axes a little."""
    widths = rng.uniform(0, 0.5, 3)
    if rng.random() < 0.5:
        widths[int(rng.integers(3))] = rng.uniform(0, THICKEST) / 2 / 2.0
    return np.asarray(ndimage.gaussian_filter(image, widths))
