"""Make the atlas from the shapes of heads in the package: `python -m
veridical.training.head_atlas`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from veridical.models.head_atlas import FILE
from veridical.models.head_segmenter import GROUPS, grouped
from veridical.phantoms.head_shapes import HIGH, LOW, flow, shape_model
from veridical.phantoms.warp import GRID_ORIGIN, GRID_SPACING
from veridical.types import Array

SPACING, MARGIN = 2.0, 8.0
"""mm: of the atlas, and beyond the corners of a new head's volume."""


def shares() -> tuple[Array, Array]:
    """Return the share of heads with each group `(group, x, y, z)` uint8, 255 all of them, and the
    first voxel in mm.

    A map ends at the neck: below that its head has no vote.
    """
    model = shape_model()
    axes = [
        np.arange(low, high, SPACING, dtype=np.float32)
        for low, high in zip(LOW - MARGIN, HIGH + MARGIN, strict=True)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    place = ((points - GRID_ORIGIN) / GRID_SPACING).T
    found = np.zeros((len(GROUPS), len(points)), np.float32)
    votes = np.zeros(len(points), np.float32)
    for index in range(len(model.names)):
        moved = flow(model.fields[index])
        shift = [
            ndimage.map_coordinates(moved[..., d], place, order=1, mode="nearest") for d in range(3)
        ]
        affine, labels = model.affines[index], model.map(index)
        voxels = np.rint((points + np.stack(shift, -1)) @ affine[:, :3].T + affine[:, 3])
        nearest = voxels.astype(np.int64)
        inside = ((nearest >= 0) & (nearest < labels.shape)).all(1)
        groups = np.zeros(len(points), np.uint8)
        groups[inside] = grouped(labels[tuple(nearest[inside].T)])
        counted = ((nearest[:, 2] >= 0) | (points[:, 2] > 0)).astype(np.float32)
        found[groups, np.arange(len(points))] += counted
        votes += counted
    shape = tuple(len(axis) for axis in axes)
    share = np.rint(255 * found / np.maximum(votes, 1)).astype(np.uint8)
    return share.reshape(-1, *shape), np.array([axis[0] for axis in axes], np.float32)


if __name__ == "__main__":
    made, origin = shares()
    np.savez_compressed(FILE, shares=made, origin=origin, spacing=np.float32(SPACING))
