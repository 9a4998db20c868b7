"""One subject's head as a function of position: every point in space has tissue fractions, whatever
grid asks for them.

A subject is the template head seen through a random diffeomorphism, with layers of its own
thickness, sulci and ventricles of its own width, cortical folds shifted by band-limited noise,
tissue texture and lesions. Slices and volumes evaluate the same function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.phantoms.composition import CLASSES, compose
from veridical.phantoms.template import Template
from veridical.phantoms.warp import GRID_ORIGIN, GRID_SPACING
from veridical.physics.tissue import TissueClass

Floats = NDArray[np.float32]

LAYER = (
    "fluid",
    "skull",
    "scalp",
    "skin",
    "table",
    "sulci",
    "ventricles",
    "edge",
    "folds",
    "septa",
    "muscle",
    "vessels",
    "air",
)


@dataclass(frozen=True, eq=False)
class Subject:
    """What makes a subject.

    Args: affine: `(3, 4)` from the subject's millimetres (RAS+) to template millimetres.
        displacement: `(x, y, z, 3)` mm on the coarse grid of the warp, added after the affine map.
        layers: `(13,)` in the order of `LAYER`: thicknesses in mm (subarachnoid fluid, skull,
        scalp, skin, bone table), widening of sulci, widening of ventricles in mm, width of a tissue
        border in mm, amplitude of the fold noise, density of septa in fat, shift of muscle borders
        in mm, shift of vessel walls in mm, shift of air cells in mm. offsets: `(4, 3)` positions in
        the periodic noise, voxels, large enough that every point of the head is positive. lesions:
        `(n, 17)` in template space: kind, centre (3), the map to the unit ball (9), mean radius in
        mm, roughness, reach of the surround in units of the radius, exponent of the norm (2:
        ellipsoid; else superellipsoid). age: years.
    """

    affine: Floats
    displacement: Floats
    layers: Floats
    offsets: Floats
    lesions: Floats
    age: float

    def locate(self, point: Floats) -> Floats:
        """Return where in the subject, `(3,)` mm, a point of the template lies: the inverse warp by
        fixed-point iteration.
        """
        target = np.asarray(point, np.float64)
        moved = target.copy()
        for _ in range(20):
            position = ((moved - GRID_ORIGIN) / GRID_SPACING)[:, None]
            shift = [
                ndimage.map_coordinates(
                    self.displacement[..., d], position, order=1, mode="nearest"
                )[0]
                for d in range(3)
            ]
            moved = target - shift
        found = np.linalg.solve(self.affine[:, :3].astype(np.float64), moved - self.affine[:, 3])
        return found.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Sampled:
    """A subject on a grid `(n0, n1, n2)`.

    Args: fractions: `(tissue, n0, n1, n2)` float32, sum to 1. texture: `(2, n0, n1, n2)` float32,
        standard deviation about 1: of the relaxation times, and of the proton density. labels:
        uint8, the strongest class. brain: float32, share of the voxel inside the dura.
    """

    fractions: Floats
    texture: Floats
    labels: NDArray[np.uint8]
    brain: Floats


def evaluate(
    subject: Subject, head: Template, origin: Floats, steps: Floats, shape: tuple[int, int, int]
) -> Sampled:
    """Return the tissue at `origin + i steps[0] + j steps[1] + k steps[2]`, in the subject's
    millimetres.

    Args:
        origin: `(3,)`; steps: `(3, 3)`, one row an axis.
        shape: `(n0, n1, n2)`.
    """
    fractions = np.zeros((CLASSES, *shape), np.float32)
    fractions[TissueClass.AIR] = 1.0
    texture = np.zeros((2, *shape), np.float32)
    labels = np.zeros(shape, np.uint8)
    brain = np.zeros(shape, np.float32)
    first = (subject.affine[:, :3] @ origin + subject.affine[:, 3]).astype(np.float32)
    moved = np.ascontiguousarray(steps @ subject.affine[:, :3].T, dtype=np.float32)
    compose(
        first, moved, subject.displacement, subject.layers, subject.offsets, subject.lesions,
        head.brain, head.head, head.noise, fractions, texture, labels, brain,
    )  # fmt: skip
    return Sampled(fractions, texture, labels, brain)
