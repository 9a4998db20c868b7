"""A head of ellipsoids, seen from elsewhere under another contrast: what registration is to
undo.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from veridical.types import Array, Geometry, Image

PARTS = (
    ((0, 0, 0), (62, 78, 66), 1.0),
    ((0, 0, 0), (56, 72, 60), 0.5),
    ((0, 8, -4), (48, 60, 50), 0.75),
    ((-16, 4, 4), (10, 24, 12), 0.2),
    ((16, 4, 4), (9, 22, 12), 0.2),
    ((22, -30, 10), (9, 8, 10), 0.95),
    ((-20, 34, -16), (14, 9, 8), 0.9),
    ((0, -40, -34), (26, 18, 16), 0.6),
)
"""Centre and half axes in mm, and the value inside."""


def head(spacing: float = 4.0, shape: tuple[int, int, int] = (40, 48, 42)) -> Image:
    """A T1w head about the origin, in values of 0 to about 1, with folds as a brain has them."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * spacing for n in shape]
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    at = spacing * index + affine[:3, 3, None, None, None]
    data = np.zeros(shape, np.float32)
    for centre, half, value in PARTS:
        inside = (
            ((at - np.reshape(centre, (3, 1, 1, 1))) / np.reshape(half, (3, 1, 1, 1))) ** 2
        ).sum(0) < 1
        data[inside] = value
    folds = ndimage.gaussian_filter(np.random.default_rng(7).normal(size=shape), 1.2)
    data += np.where((data > 0.3) & (data < 1), 0.12 * folds / folds.std(), 0).astype(np.float32)
    return Image(
        ndimage.gaussian_filter(data, 0.7)[None], Geometry(shape, affine), "a.u.", ("T1w",)
    )


def contrast(data: Array) -> Array:
    """Another contrast of the same head: bright where T1w is dark, dark outside."""
    return np.where(data > 0.08, (1.3 - data).clip(0) ** 1.5, 0).astype(np.float32)


def rigid(
    shift: tuple[float, float, float], turn: tuple[float, float, float], geometry: Geometry
) -> Array:
    """A rigid transform, mm to mm: a turn in degrees about the centre of a grid, then a shift."""
    a, b, c = np.radians(turn)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    centre = (geometry.affine @ [*((n - 1) / 2 for n in geometry.shape), 1])[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = z @ y @ x
    matrix[:3, 3] = centre + shift - matrix[:3, :3] @ centre
    return matrix


def seen(image: Image, turn: Array, frame: str = "scanner") -> Image:
    """The image moved by `turn` and under another contrast, with noise, on another grid."""
    shape = tuple(n - 2 for n in image.geometry.shape)
    affine = image.geometry.affine @ np.diag([1.1, 1.1, 1.1, 1])
    step = np.linalg.inv(image.geometry.affine) @ np.linalg.inv(turn) @ affine
    data = contrast(
        ndimage.affine_transform(image.data[0], step[:3, :3], step[:3, 3], shape, order=1)
    )
    noise = np.random.default_rng(0).normal(0, 0.02, data.shape)
    return Image(
        (data + noise)[None].astype(np.float32), Geometry(shape, affine, frame), "a.u.", ("T2w",)
    )
