"""Boosted trees that predict the dose of each voxel on its own, from what the network sees and a
few measures of the whole patient; stored as plain arrays.

Histogram-based gradient boosting: Ke et al., LightGBM, NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from veridical.compiled import njit
from veridical.models.dose_features import CHANNELS
from veridical.types import Array

FILE = Path(__file__).parent / "files" / "dose_trees.npz"
BLURS = (10.0, 25.0)
"""mm over which the prescription is blurred, for how much target is near."""
LEVEL, INSIDE = CHANNELS.index("prescription"), CHANNELS.index("inside")


@dataclass(frozen=True, eq=False)
class DoseTrees:
    """Trees as arrays `(tree, node)`; node 0 is the root.

    Args:
        feature: which feature a node asks; -1 for a leaf.
        threshold: values up to it go left.
        left, right: the children.
        value: of a leaf.
        start: to which all trees add, `(1,)`.
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    value: Array
    start: Array

    def predict(self, seen: Array, spacing: Sequence[float] | Array) -> Array:
        """Return the dose `(x, y, z)` in the unit of `dose_features`; 0 where
        none may be.

        Args:
            seen: features `(channel, x, y, z)`.
            spacing: mm.
        """
        inside = seen[INSIDE] > 0
        found = np.zeros(inside.shape, np.float32)
        found[inside] = self.of_voxels(voxels(seen, spacing))
        return np.maximum(found, 0)

    def of_voxels(self, rows: Array) -> Array:
        """Return the dose of voxels `(voxel, feature)` in that unit."""
        found = np.full(len(rows), self.start[0], np.float32)
        parts = (self.feature, self.threshold, self.left, self.right, self.value)
        _add(np.ascontiguousarray(rows, np.float32), *parts, found)
        return found

    def arrays(self) -> Mapping[str, Array]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def voxels(seen: Array, spacing: Sequence[float] | Array) -> Array:
    """Return the features of each voxel where dose may be, `(voxel, feature)` float16: those of the
    network, then the prescription blurred, the place relative to the targets, and how large these
    are in the slice and at all.
    """
    level, inside = seen[LEVEL].astype(np.float32), seen[INSIDE] > 0
    target = level > 0
    rows = [one[inside] for one in seen]
    for width in BLURS:
        blurred = ndimage.gaussian_filter(
            level, [width / size for size in spacing], mode="constant"
        )
        rows.append(blurred[inside])
    at = np.argwhere(inside)
    middle = np.argwhere(target).mean(0)
    x, y = ((at[:, axis] - middle[axis]) * spacing[axis] / 100 for axis in (0, 1))
    area = target.sum((0, 1)) * spacing[0] * spacing[1] / 1e4
    volume = float(target.sum()) * float(np.prod(spacing)) / 1e6
    rows += [np.abs(x), y, area[at[:, 2]], np.full(len(at), volume)]
    return np.stack(rows, 1).astype(np.float16)


def read(file: Path) -> DoseTrees:
    """Read trees from a file of arrays."""
    with np.load(file, allow_pickle=False) as stored:
        return DoseTrees(**{field.name: stored[field.name] for field in fields(DoseTrees)})


@cache
def dose_trees() -> DoseTrees:
    """Return the shipped trees."""
    return read(FILE)


@njit(fastmath=True)
def _add(
    rows: Array, feature: Array, threshold: Array, left: Array, right: Array, value: Array,
    out: Array,
) -> None:  # fmt: skip
    for tree in range(feature.shape[0]):
        for row in range(rows.shape[0]):
            node = 0
            asked = feature[tree, 0]
            while asked >= 0:
                if rows[row, asked] <= threshold[tree, node]:
                    node = left[tree, node]
                else:
                    node = right[tree, node]
                asked = feature[tree, node]
            out[row] += value[tree, node]
