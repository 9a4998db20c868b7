"""What is measured of a lesion: its pieces, its longest diameter in an axial plane, its volume."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from veridical.types import Array, Geometry

TOUCHING = np.ones((3, 3, 3), bool)
"""Voxels that share a face, an edge or a corner hang together."""


def pieces(mask: Array, least: int = 1) -> Iterator[Array]:
    """Yield the connected pieces of a mask `(x, y, z)`, the largest first.

    Args:
        mask: bool.
        least: voxels of a piece that counts.
    """
    parts, count = ndimage.label(mask, TOUCHING)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    for index in np.argsort(-sizes, kind="stable"):
        if sizes[index] < least:
            return
        yield parts == index + 1


def diameter(mask: Array, geometry: Geometry) -> float:
    """Return the longest diameter of a mask in one axial plane, mm; half a voxel is added at either
    end. Planes are those of the array axis that runs most along the body.

    Args:
        mask: `(x, y, z)` bool; 0 where it is empty.
        geometry: its grid.
    """
    axis = int(np.argmax(np.abs(geometry.affine[2, :3]) / np.array(geometry.spacing)))
    index = np.argwhere(mask)
    longest = 0.0
    for plane in np.unique(index[:, axis]):
        points = index[index[:, axis] == plane] @ geometry.affine[:3, :3].T
        longest = max(longest, _farthest(points))
    inplane = [size for k, size in enumerate(geometry.spacing) if k != axis]
    return longest + float(np.mean(inplane)) if len(index) else 0.0


def volume(mask: Array, geometry: Geometry) -> float:
    """Return the volume of a mask, ml."""
    return float(np.count_nonzero(mask)) * abs(float(np.linalg.det(geometry.affine[:3, :3]))) / 1000


def _farthest(points: Array) -> float:
    """Return the largest distance between points `(n, 3)` of a plane, mm."""
    flat = points - points.mean(0)
    if len(flat) > 3:
        basis = np.linalg.svd(flat, full_matrices=False)[2][:2]
        try:
            flat = flat[ConvexHull(flat @ basis.T).vertices]
        except QhullError:  # all on one line
            order = np.argsort(flat @ basis[0])
            flat = flat[order[[0, -1]]]
    return float(np.sqrt(((flat[:, None] - flat[None]) ** 2).sum(-1).max()))
