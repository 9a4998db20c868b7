"""A digital neck for radiotherapy: CT, targets and organs at risk, made of ellipses.

Sizes are about those of an adult; no patient is behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.physics.prescriptions import ALLOWED, STRUCTURES
from veridical.types import Array, Geometry, Image

SIZE = (190.0, 200.0, 180.0)
"""mm of the field of view to the right, to the front and to the head."""
SOFT, BONE, AIRWAY, AROUND = 40.0, 700.0, -950.0, -1000.0
"""HU of soft tissue, bone, the airway and the air outside."""
Ellipse = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Middle and half axes in mm: right, front, head."""
OUTLINES: dict[str, Ellipse] = {
    "Brainstem": ((0, -18, 82), (13, 11, 22)),
    "SpinalCord": ((0, -28, -10), (6, 6, 78)),
    "RightParotid": ((48, 0, 42), (11, 15, 22)),
    "LeftParotid": ((-48, 0, 42), (11, 15, 22)),
    "Esophagus": ((0, -6, -66), (7, 6, 20)),
    "Larynx": ((0, 22, -34), (15, 15, 19)),
    "Mandible": ((0, 48, 28), (40, 13, 12)),
    "PTV56": ((0, 6, 0), (50, 22, 58)),
    "PTV70": ((20, 14, 14), (21, 19, 25)),
}
"""Structure -> its ellipse. The lower target holds the higher one only in part."""


def neck(
    spacing: Sequence[float] = (4.0, 4.0, 3.0), shift: Sequence[float] = (0.0, 0.0, 0.0)
) -> Image:
    """Return CT (HU), masks of structures and where dose may be, on one grid in RAS.

    Args:
        spacing: mm.
        shift: of the high-dose target, mm.
    """
    shape = tuple(round(side / size) for side, size in zip(SIZE, spacing, strict=True))
    places = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, spacing, strict=True)]
    x, y, z = np.meshgrid(*places, indexing="ij")

    def inside(middle: Sequence[float], axes: Sequence[float]) -> Array:
        parts = zip((x, y, z), middle, axes, strict=True)
        return np.asarray(sum(((at - m) / a) ** 2 for at, m, a in parts) < 1)

    wide = 1 + 0.35 * np.clip(-z / 90, 0, 1)  # towards the shoulders
    body = (x / (66 * wide)) ** 2 + (y / 84) ** 2 < 1
    masks = {name: inside(*ellipse) & body for name, ellipse in OUTLINES.items()}
    (middle, axes) = OUTLINES["PTV70"]
    masks["PTV70"] = inside([m + s for m, s in zip(middle, shift, strict=True)], axes) & body
    ct = np.where(body, SOFT, AROUND).astype(np.float32)
    ct[((x / 20) ** 2 + ((y + 42) / 18) ** 2 < 1) & body] = BONE
    ct[masks["Mandible"]] = BONE
    ct[masks["SpinalCord"] | masks["Brainstem"]] = SOFT
    ct[((x / 9) ** 2 + ((y - 22) / 9) ** 2 < 1) & (z < 40)] = AIRWAY
    parts = {"CT": ct, **{n: masks[n] for n in STRUCTURES if n in masks}, ALLOWED: body}
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [at[0] for at in places]
    units = {name: "HU" if name == "CT" else "label" for name in parts}
    return Image(
        np.stack([part.astype(np.float32) for part in parts.values()]),
        Geometry((shape[0], shape[1], shape[2]), affine),
        "mixed",
        tuple(parts),
        {"units": units},
    )
