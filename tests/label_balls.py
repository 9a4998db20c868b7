"""A head of nested balls as an anatomy."""

from __future__ import annotations

from functools import cache

import numpy as np

from veridical.phantoms.head_painting import Anatomy, anatomy
from veridical.phantoms.label_maps import structure
from veridical.types import Geometry

BALLS = (
    ("fat", 34),
    ("muscle", 30),
    ("compact bone", 27),
    ("fluid around the brain", 24),
    ("cortex", 22),
    ("white matter", 19),
    ("lateral ventricle", 5),
)
"""Structures from the outside in, and their radii in mm."""


@cache
def ball(spacing: float = 2.0) -> Anatomy:
    count = round(72 / spacing)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = 100 - spacing * (count - 1) / 2
    index = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"))
    radius = np.sqrt((((index - (count - 1) / 2) * spacing) ** 2).sum(0))
    labels = np.zeros((count,) * 3, np.uint8)
    for name, size in BALLS:
        labels[radius < size] = structure(name)
    return anatomy(labels, Geometry((count,) * 3, affine), np.random.default_rng(0))
