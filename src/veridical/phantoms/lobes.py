"""Side and lobe of a place in a brain, by rules over its position relative to the brain's own
middle and size.

The rule is quadratic: for each lobe ten numbers over `(|x|, y, z)`, where the middle of the brain's
tissue is 0 and its standard deviation along each axis is 1; the largest wins. It was fitted by
logistic regression to the lobes of five healthy heads of IXI (DLMUSE labels: white matter of lobes,
deep structures, cerebellum, brain stem) and names 92 to 95 % of the voxels of five others rightly,
see docs/measurements/text.md. Left and right are mirrored by construction. Lobes have no borders
that a rule could know to the millimetre.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veridical.errors import InputError
from veridical.phantoms.head_labels import LABELS, TUMOUR
from veridical.phantoms.label_maps import BRAIN
from veridical.types import Array, Geometry

Floats = NDArray[np.float64]

RULE: dict[str, tuple[float, ...]] = {
    "frontal": (1.39, -0.09, 2.89, 9.18, 2.49, -0.24, 1.25, 5.83, -0.54, 6.08),
    "occipital": (-8.29, -0.58, -8.64, -4.09, 2.9, -6.24, 6.78, 6.0, -6.09, 3.57),
    "parietal": (1.99, 1.32, -1.23, 9.12, 3.13, -2.96, 2.12, 4.98, -6.75, 1.47),
    "temporal": (-1.98, 6.21, -8.87, -1.28, 2.71, -0.21, -2.02, 1.8, -11.05, -0.4),
    "deep": (5.86, 11.29, 5.53, 6.46, -15.47, 5.17, -6.94, -3.71, 10.57, -11.61),
    "cerebellum": (-1.54, -17.96, -0.32, -10.93, 7.04, 3.61, -10.24, -1.54, 5.91, -0.41),
    "brain stem": (2.57, -0.19, 10.64, -8.46, -2.8, 0.87, 9.04, -13.36, 7.95, 1.31),
}
"""Lobe -> 1, x, y, z, xx, xy, xz, yy, yz, zz."""
NAMES = tuple(RULE)
MIDDLE = 4.0
"""mm from the plane between the hemispheres within which the middle of a lesion is in the midline.
"""
FLUID = ("lateral ventricle", "third and fourth ventricle", "fluid around the brain", "vessel",
         "sinus and dura")  # fmt: skip
TISSUE = np.array([(name in BRAIN and name not in FLUID) or name in TUMOUR for name in LABELS])
"""Which labels are tissue of the brain."""


@dataclass(frozen=True, eq=False)
class BrainFrame:
    """Where a brain lies and how large it is.

    Args:
        centre: `(3,)` mm, RAS+, the middle of its tissue.
        size: `(3,)` mm, standard deviation of its tissue along each axis.
    """

    centre: Floats
    size: Floats

    @classmethod
    def of(cls, tissue: Array, geometry: Geometry) -> BrainFrame:
        """Return the frame of a brain.

        Args:
            tissue: `(x, y, z)` bool, brain without ventricles and the fluid around it.
            geometry: its grid, RAS+ millimetres; the head should lie straight within about 10
                degrees.

        Raises:
            InputError: there is no brain, or nobody knows where left and right are.
        """
        if geometry.frame == "index":
            raise InputError(
                "The image does not say where left and right are, so no side or lobe can be named. "
                "Convert it to NIfTI or DICOM with its orientation."
            )
        points = placed(tissue, geometry)
        if len(points) < 2:
            raise InputError("No brain was found, so no side or lobe can be named.")
        return cls(points.mean(0), np.maximum(points.std(0), 1e-3))

    def margins(self, points: Array) -> Floats:
        """Return the rule's values of each lobe `(n, lobe)` at points `(n, 3)` mm, RAS+."""
        x, y, z = ((np.asarray(points, np.float64) - self.centre) / self.size).T
        x = np.abs(x)
        terms = np.stack([np.ones_like(x), x, y, z, x * x, x * y, x * z, y * y, y * z, z * z], 1)
        return np.asarray(terms @ np.array(list(RULE.values())).T)

    def lobe(self, points: Array) -> str:
        """Return the lobe that most of some points `(n, 3)` lie in."""
        votes = Counter(self.margins(points).argmax(1).tolist())
        return NAMES[votes.most_common(1)[0][0]]

    def side(self, points: Array) -> str:
        """Return `left`, `right` or `midline`, by the middle of some points `(n, 3)`."""
        across = float(np.mean(np.asarray(points)[:, 0]) - self.centre[0])
        return "midline" if abs(across) < MIDDLE else "right" if across > 0 else "left"


def placed(mask: Array, geometry: Geometry) -> Floats:
    """Return where the voxels of a mask lie, `(n, 3)` mm."""
    return np.asarray(np.argwhere(mask) @ geometry.affine[:3, :3].T + geometry.affine[:3, 3])


def frame_of_labels(labels: Array, geometry: Geometry) -> BrainFrame:
    """Return the frame of a label map `(x, y, z)`, positions in `head_labels.LABELS`."""
    return BrainFrame.of(TISSUE[labels], geometry)
