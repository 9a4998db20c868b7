"""Slices of a tilted gantry, or with gaps between them, on a straight and even grid.

The planes stay as they are; each slice is moved within its plane, and where there was none it is
interpolated between its neighbours. Both are linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veridical.io.dicom_slice import Slice
from veridical.io.dicom_stacks import uneven
from veridical.io.guards import within
from veridical.types import Array

TILT = 0.1
"""Degrees between the slice axis and the normal above which a series is called tilted."""
AIR = -1000.0
"""Hounsfield units outside of the slices."""
USUAL = 10
"""Percentile of the distances that becomes the distance of all: gaps are the larger ones."""


@dataclass(frozen=True, eq=False)
class Straight:
    """The slices on their straight grid.

    Args:
        data: `(x, y, z)` float32.
        affine: voxel index to mm, LPS, with right angles.
        tilt: of the gantry, degrees.
        notes: what was done, in sentences.
    """

    data: Array
    affine: Array
    tilt: float
    notes: tuple[str, ...]


def tilt_of(affine: Array) -> float:
    """Return the angle between the slice axis and the normal of the slices, in degrees."""
    row, column, step = (affine[:3, k] / np.linalg.norm(affine[:3, k]) for k in range(3))
    return float(np.degrees(np.arccos(np.clip(np.cross(row, column) @ step, -1, 1))))


def straightened(
    images: Sequence[Slice], data: Array, units: str, budget: int, path: Path
) -> Straight:
    """Resample slices onto a straight grid with the planes and the pixels that they have.

    Args:
        images: at least two, in the order of their places.
        data: `(x, y, slice)` their values.
        units: `HU` is air outside of the slices, all else zero.
        budget: bytes of memory that the grid may take.
        path: for messages.

    Raises:
        BudgetError: the grid would take more memory.
    """
    first = images[0]
    row, column = first.orientation.reshape(2, 3)
    normal, sides = np.cross(row, column), first.spacing[::-1]
    away = np.array([one.position - first.position for one in images])
    heights = away @ normal
    moved = np.stack([away @ row, away @ column], 1) / sides
    step = float(np.percentile(np.diff(heights), USUAL)) if uneven(images) else _mean(heights)
    wanted = np.arange(0, heights[-1] + step / 2, step)
    low, high = np.floor(moved.min(0) + 1e-3), np.ceil(moved.max(0) - 1e-3)
    shape = (*(int(n) for n in data.shape[:2] + (high - low)), len(wanted))
    within(int(np.prod(shape)) * 8, budget, path)
    found = np.empty(shape, np.float32)
    outside = AIR if units == "HU" else 0.0
    for index, height in enumerate(wanted):
        found[:, :, index] = _at(height, heights, data, moved - low, shape[:2], outside)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([row * sides[0], column * sides[1], normal * step], 1)
    affine[:3, 3] = first.position + affine[:3, :2] @ low
    slope = np.linalg.norm((moved[-1] - moved[0]) * sides) / heights[-1]
    tilt = float(np.degrees(np.arctan(slope)))
    return Straight(found, affine, tilt, tuple(_said(heights, wanted, tilt, path)))


def _at(
    height: float,
    heights: Array,
    data: Array,
    moved: Array,
    shape: tuple[int, ...],
    outside: float,
) -> Array:
    """Return the plane at a height, between the two slices around it."""
    from scipy import ndimage

    above = int(np.clip(np.searchsorted(heights, height), 1, len(heights) - 1))
    share = (height - heights[above - 1]) / (heights[above] - heights[above - 1])
    share = float(np.clip(share, 0, 1))
    found = np.zeros(shape, np.float32)
    for index, weight in ((above - 1, 1 - share), (above, share)):
        if weight > 1e-6:
            found += weight * ndimage.affine_transform(
                data[:, :, index], np.eye(2), -moved[index], shape, np.float32, 1, "constant",
                outside, False,
            )  # fmt: skip
    return found


def _mean(heights: Array) -> float:
    return float(heights[-1] / (len(heights) - 1))


def _said(heights: Array, wanted: Array, tilt: float, path: Path) -> list[str]:
    """Return what was done in words."""
    said = []
    if tilt > TILT:
        said.append(
            f"{path.name}: the gantry was tilted by {tilt:.1f} degrees; the slices were resampled "
            "linearly onto a straight grid in their own planes."
        )
    alone = np.abs(wanted[:, None] - heights).min(1) > 0.01 * (wanted[1] - wanted[0])
    if alone.any():
        said.append(
            f"{path.name}: {int(alone.sum())} of {len(wanted)} slices lie between measured ones, "
            f"which are up to {float(np.diff(heights).max()):.2f} mm apart; they were interpolated "
            "linearly, which assumes that nothing happens between."
        )
    return said
