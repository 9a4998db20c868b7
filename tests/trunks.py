"""A trunk with a target, for tests of the dose."""

from __future__ import annotations

from functools import cache

import numpy as np

from veridical.types import Array, Geometry, Image

SIZE = 6.0


def body(
    hu: float = 20.0, shape: tuple[int, int, int] = (40, 34, 24), wide: float = 100.0
) -> Array:
    """An elliptic trunk in air with a bone in it."""
    x, y = (SIZE * (np.arange(n) - (n - 1) / 2) for n in shape[:2])
    inside = (x[:, None] / wide) ** 2 + (y / 80.0) ** 2 < 1
    bone = (x[:, None] ** 2 + (y + 40) ** 2) < 15.0**2
    flat = np.where(inside, np.where(bone, 700.0, hu), -1000.0)
    return np.repeat(flat[:, :, None], shape[2], 2).astype(np.float32)


def mask(shape: tuple[int, int, int] = (40, 34, 24), middle: float = 0.5) -> Array:
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    far = (x - 19.5) ** 2 + (y - 18.5) ** 2 + (z - middle * (shape[2] - 1)) ** 2
    return far < (20.0 / SIZE) ** 2


def image(ct: Array, target: Array | None = None) -> Image:
    target = mask() if target is None else target
    grid = Geometry(ct.shape, np.diag([SIZE, SIZE, SIZE, 1.0]))  # type: ignore[arg-type]
    data = np.stack([ct, target.astype(np.float32)])
    return Image(data, grid, "mixed", ("CT", "GTV"), {"units": {"CT": "HU", "GTV": "label"}})


@cache
def patient() -> Image:
    return image(body())
