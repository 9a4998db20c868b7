"""A small head of balls that shrinks at known rates, for tests of forecasts."""

from __future__ import annotations

from functools import cache

import numpy as np

from veridical.models.atrophy_rates import NAMES
from veridical.models.regional_change import warp
from veridical.models.regional_flow import RegionalFlow, regional_flow
from veridical.phantoms.head_labels import LABELS
from veridical.types import Array, Geometry, Image, Study

SHAPE = (34, 36, 34)
SPACING = 4.0
GRID = Geometry(SHAPE, np.diag([SPACING, SPACING, SPACING, 1.0]))
BRIGHT = {
    "background": 2.0, "compact bone": 15.0, "fluid around the brain": 30.0, "cortex": 75.0,
    "white matter": 110.0, "lateral ventricle": 28.0, "hippocampus and amygdala": 78.0,
    "putamen": 90.0, "caudate": 80.0, "cerebellar cortex": 72.0,
}  # fmt: skip
RATES = dict.fromkeys(NAMES, -0.01) | {
    "hippocampus and amygdala": -0.05, "cortex": -0.02, "lateral ventricle": 0.08, "caudate": 0.0
}  # fmt: skip
"""Change of the log volume a year."""


@cache
def labels() -> Array:
    """Return the label map at half the voxel size, `(x, y, z)` uint8."""
    axes = [(np.arange(2 * n) - (2 * n - 1) / 2) * SPACING / 2 for n in SHAPE]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    radius = np.sqrt(x**2 + y**2 + z**2)
    found = np.zeros(radius.shape, np.uint8)
    for name, size in (
        ("compact bone", 62.0), ("fluid around the brain", 57.0), ("cortex", 51.0),
        ("white matter", 42.0),
    ):  # fmt: skip
        found[radius < size] = LABELS.index(name)
    for name, middle, size in (
        ("lateral ventricle", (0, 0, 8), 13.0), ("hippocampus and amygdala", (0, 0, -22), 11.0),
        ("putamen", (24, 0, 0), 9.0), ("caudate", (-24, 0, 0), 9.0),
        ("cerebellar cortex", (0, -26, -8), 10.0),
    ):  # fmt: skip
        a, b, c = middle
        found[np.sqrt((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) < size] = LABELS.index(name)
    return found


def fine() -> Geometry:
    """Return the grid of the label map."""
    affine = np.diag([SPACING / 2, SPACING / 2, SPACING / 2, 1.0])
    affine[:3, 3] = -SPACING / 4
    return Geometry((2 * SHAPE[0], 2 * SHAPE[1], 2 * SHAPE[2]), affine)


@cache
def shares() -> dict[str, Array]:
    """Return structure -> share of each voxel."""
    x, y, z = SHAPE
    blocks = labels().reshape(x, 2, y, 2, z, 2)
    return {
        name: (blocks == LABELS.index(name)).mean((1, 3, 5)).astype(np.float32) for name in BRIGHT
    }


@cache
def flow() -> RegionalFlow:
    """Return how the regions of the head change it."""
    return regional_flow(shares(), GRID)


@cache
def brightness() -> Array:
    """Return the head without noise `(x, y, z)`."""
    return np.asarray(sum(BRIGHT[name] * share for name, share in shares().items()), np.float32)


def seen(years: float, noise: float = 1.0, seed: int = 0) -> Array:
    """Return the head some years after the label map, `(x, y, z)`."""
    change = np.array([RATES[name] for name in NAMES]) * years
    back = flow().displacement(change, -1.0)
    moved = warp(brightness(), back, SPACING)
    rng = np.random.default_rng((seed, round(1000 * (years + 100))))
    return np.asarray(moved + noise * rng.standard_normal(SHAPE), np.float32)


def study(years: tuple[float, ...] = (-2.0, -1.0, 0.0), noise: float = 1.0) -> Study:
    """Return visits; the last is that of the label map."""
    first = min(years)
    visits: dict[float, dict[str, Image]] = {
        365.25 * (year - first): {"T1w": Image(seen(year, noise)[None], GRID, "a.u.", ("T1w",))}
        for year in years
    }
    marked = Image(labels()[None].astype(np.float32), fine(), "label", ("structures",))
    visits[365.25 * (max(years) - first)]["structures"] = marked
    said = {"age": 70, "sex": "female", "diagnosis": "Alzheimer"}
    return Study("shrinking", visits, said)
