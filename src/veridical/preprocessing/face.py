"""Where the face is in an image of a head, by geometry alone: no template, no network.

The head is what stands out from air. Its vertex, its forehead (40 to 60 mm below the vertex, the
most anterior surface) and its length there give a frame in which the face lies below a plane that
slopes from the brows down and back. A nose that stands out higher than usual, as in a head that
looks up, raises it. In 12 of 13 label maps of real heads the plane leaves all of
the brain, and half of each eye; in one it cuts the lowest frontal lobe by a few millimetres.
Lengths are in units of an adult head, 185 mm long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.errors import InputError
from veridical.types import Array, Geometry

STEP = 3.0
"""mm of the grid that a head is looked at on; its axes point right, forward and up."""
LENGTH = 185.0
FOREHEAD = (40.0, 60.0)
"""mm below the vertex."""
BROWS, SLOPE = 92.0, 0.8
"""The plane: so many mm below the vertex at the forehead, and lower by this share of the way back.
"""
BACK = 95.0
"""mm behind the forehead where what is removed ends: ears and neck stay."""
HIGHEST = 70.0
"""mm below the vertex above which nothing is removed, wherever a nose seems to be."""
BRIDGE, ABOVE = 8.0, 10.0
"""mm by which the bridge of a nose stands out, and how far above it the plane lies."""
NOSE, CHEEKS = 12.0, (18.0, 36.0)
"""mm from the middle within which the nose is sought, and where the cheeks are."""
FACE = (80.0, 175.0)
"""mm below the vertex between which a nose is sought."""
TALL = 9.0
"""mm along which a nose must stand out."""
SHOWN = 110.0
"""mm below the vertex that must be in the image to see a face."""
AIR = 0.15
"""Share of the 98th percentile above air from which a voxel is head."""
SMALLEST, LARGEST = 20.0, 90.0
"""cm^2 of a level of the head that is its vertex, and of the highest level of the image from which
the vertex is cut off.
"""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class HeadFrame:
    """Where a head lies.

    Args:
        head: `(x, y, z)` bool on a grid of 3 mm whose axes point right, forward and up.
        corner: `(3,)` mm, its first point.
        middle, front, top: mm: the middle plane, the forehead, the vertex.
        scale: length of the head over that of an adult.
    """

    head: Mask
    corner: Array
    middle: float
    front: float
    top: float
    scale: float

    @property
    def depth(self) -> float:
        """How far the image reaches below the vertex, in mm of an adult head."""
        return float((self.top - self.corner[2]) / self.scale)


def head_frame(data: Array, geometry: Geometry) -> HeadFrame:
    """Find the head in one channel `(x, y, z)` of any units.

    Raises:
        InputError: the voxel size is not known, or nothing like a head is there.
    """
    if geometry.frame == "index":
        raise InputError(
            "The voxel size of this image is not known, and a face is found in millimetres. Read "
            "it with its header, or give it a geometry."
        )
    if not np.isfinite(data).all():
        raise InputError("The image holds NaN or infinite values; write a number there.")
    head, corner = _head(data, geometry)
    areas = head.sum((0, 1)) * STEP**2 / 100
    levels = np.flatnonzero(areas > SMALLEST)
    if len(levels) == 0:
        raise InputError("No head stands out from the air; expected a volume of a head.")
    top = int(levels[-1])
    if top >= len(areas) - 2 and areas[top] > LARGEST:
        raise InputError(
            "The top of the head is cut off, and a face is found by its distance from there. Give "
            "an image of the whole head, or remove the face with a tool that registers a template."
        )
    first, last = (round(mm / STEP) for mm in FOREHEAD)
    brow = np.asarray(head[:, :, max(0, top - last) : max(1, top - first)].any(2))
    x, y = (np.flatnonzero(np.any(brow, axis)) for axis in (1, 0))
    if len(x) == 0 or len(y) * STEP < LENGTH / 2:
        raise InputError(
            "No forehead lies 4 to 6 cm below the top; expected a volume of a head, its vertex up "
            "in the patient's coordinates."
        )
    middle = (x[0] + x[-1]) / 2
    near = brow[round(middle) - 3 : round(middle) + 4]
    front = float(np.median([np.flatnonzero(line)[-1] for line in near if line.any()] or [y[-1]]))
    placed = (corner + STEP * np.array([middle, front, top])).tolist()
    scale = float(np.clip((front - y[0]) * STEP / LENGTH, 0.6, 1.15))
    return HeadFrame(head, corner, placed[0], placed[1], placed[2], scale)


def face_region(frame: HeadFrame, geometry: Geometry, keep: Mask | None = None) -> Mask:
    """Return which voxels of a grid are face.

    Args:
        frame: of the head.
        geometry: of the image.
        keep: brain, bool on that grid: the plane is lowered until it leaves it whole.
    """
    place = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), -1)
    _, y, z = np.moveaxis(place @ geometry.affine[:3, :3].T + geometry.affine[:3, 3], -1, 0)
    back = (frame.front - y) / frame.scale
    below = (frame.top - z) / frame.scale - SLOPE * np.maximum(back, 0)
    there = back < BACK
    brows = _brows(frame)
    if keep is not None and (keep & there).any():
        brows = max(brows, float(below[keep & there].max()) + 2)
    return np.asarray(there & (below > brows))


def nose(frame: HeadFrame) -> float:
    """Return how far a nose stands out beyond the cheeks, mm of an adult head; 0 where none is
    seen.
    """
    _, out = _profile(frame)
    return float(out.max(initial=0.0))


def _profile(frame: HeadFrame) -> tuple[Array, Array]:
    """Return levels of the face, mm below the vertex, and how far the middle stands out beyond the
    foremost point of the cheek on either side; what is no taller than a nose counts as 0.
    """
    rows = np.arange(frame.head.shape[1])[:, np.newaxis]
    surface = np.where(frame.head.any(1), (frame.head * rows[np.newaxis]).max(1), -np.inf)
    x = (frame.corner[0] + STEP * np.arange(len(surface)) - frame.middle) / frame.scale
    z = (frame.top - frame.corner[2] - STEP * np.arange(surface.shape[1])) / frame.scale
    levels = (z > FACE[0]) & (z < FACE[1])
    near, far = CHEEKS
    parts = (np.abs(x) <= NOSE, (x >= near) & (x <= far), (-x >= near) & (-x <= far))
    if not levels.any() or not all(part.any() for part in parts):
        return np.zeros(0), np.zeros(0)
    ridge, *cheeks = (surface[part][:, levels].max(0) for part in parts)
    plain = np.minimum(*cheeks)
    seen = np.isfinite(ridge) & np.isfinite(plain)
    out = np.where(seen, ridge, 0) - np.where(seen, plain, 0)
    tall = ndimage.minimum_filter1d(out, max(1, round(TALL / STEP * frame.scale)), mode="constant")
    return z[levels], np.maximum(tall, 0) * STEP / frame.scale


def _brows(frame: HeadFrame) -> float:
    """Return how far below the vertex the brows are: where they usually are, or above the bridge of
    the nose where that lies higher, as in a head that looks up.
    """
    z, out = _profile(frame)
    if out.max(initial=0.0) < BRIDGE:
        return BROWS
    return float(np.clip(z[out > BRIDGE].min() - ABOVE, HIGHEST, BROWS))


def air_of(data: Array) -> float:
    """Return the value of air: the 2nd percentile of the voxels at the edges of the volume."""
    faces = [np.take(data, end, axis).ravel() for axis in range(3) for end in (0, -1)]
    return float(np.percentile(np.concatenate(faces), 2))


def _head(data: Array, geometry: Geometry) -> tuple[Mask, Array]:
    """Return the largest part that stands out from air, without holes, and the grid's corner."""
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in geometry.shape], [1], indexing="ij"))
    corners = (geometry.affine @ ends.reshape(4, -1))[:3]
    low, high = corners.min(1), corners.max(1)
    shape = tuple(int(n) for n in np.maximum(np.ceil((high - low) / STEP) + 1, 1))
    steps = np.maximum(STEP / np.array(geometry.spacing), 1)
    smooth = ndimage.gaussian_filter(np.asarray(data, np.float32), 0.4 * (steps - 1))
    inverse = np.linalg.inv(geometry.affine)
    air = air_of(smooth)
    sampled = ndimage.affine_transform(
        smooth, inverse[:3, :3] * STEP, inverse[:3, :3] @ low + inverse[:3, 3], shape, order=1,
        cval=air,
    )  # fmt: skip
    lifted = sampled - air
    shown = ndimage.binary_opening(lifted > AIR * float(np.percentile(lifted, 98)))
    labels, count = ndimage.label(shown)
    if count == 0:
        return shown, low
    largest = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    closed = ndimage.binary_closing(np.pad(largest, 4), iterations=3)[4:-4, 4:-4, 4:-4]
    filled = [ndimage.binary_fill_holes(closed[..., level]) for level in range(closed.shape[2])]
    return np.stack(filled, -1), low
