"""Small studies and results for the tests of audits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from veridical.types import Array, Evidence, Geometry, Image, Result, Study

SHAPE = (32, 28, 6)
GRID = Geometry(SHAPE, np.diag([4.0, 4.0, 5.0, 1.0]))


def picture(seed: int = 0) -> Array:
    """An ellipse of 100 with a trace of noise in air, `(x, y, z)`."""
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    noise = np.random.default_rng(seed).normal(0, 1, SHAPE)
    return np.asarray(100 * (x**2 + y**2 < 0.6) + noise, np.float32)


def blob(radius: float = 0.25) -> Array:
    """A ball inside of the ellipse, bool."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    return np.asarray((x - 0.2) ** 2 + y**2 + (z / 2) ** 2 < radius**2)


def image(data: Array, name: str = "T1w", units: str = "a.u.", grid: Geometry = GRID) -> Image:
    return Image(data[None], grid, units, (name,))


def study(images: Mapping[str, Image], notes: tuple[str, ...] = ()) -> Study:
    return Study("p", {0.0: dict(images)}, notes=notes)


def result(data: Array, name: str = "T1w", evidence: Array | None = None, **facts: Any) -> Result:
    """A result of one channel; the evidence is its map `(x, y, z)`."""
    about = None if evidence is None else Evidence(evidence[None].astype(np.float32))
    return Result(image(data, name), "posterior mean", evidence=about, facts=facts)
