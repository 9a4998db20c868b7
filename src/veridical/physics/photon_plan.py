"""A standard plan: static fields around a target, each as wide as the target looks from the source.

What planners call three-dimensional conformal: the same weight for each field, no wedges, no
modulation (Khan FM, Gibbons JP, The Physics of Radiation Therapy, 5th ed. 2014, chapter 19).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from veridical.errors import InputError, SettingError
from veridical.physics.photon_dose import PIXEL, SOURCE, PhotonField
from veridical.types import Array

LARGEST = 400.0
"""mm, the side of the largest field of a machine, in the plane of the isocentre."""


def conformal(
    target: Array, spacing: Sequence[float], angles: Sequence[float], margin: float
) -> list[PhotonField]:
    """Return fields of one weight with the isocentre in the middle of a target.

    Args:
        target: bool `(x, y, z)`, axes as in `photon_dose`.
        spacing: mm.
        angles: of the gantry, degrees.
        margin: mm between the target and the edge of a field, for penumbra.

    Raises:
        InputError: no voxel is a target, or it is larger than a field can be.
        SettingError: no angle, or a margin below 0.
    """
    if not len(angles) or margin < 0:
        raise SettingError(
            f"{len(angles)} gantry angles and a margin of {margin:g} mm were given; expected at "
            "least one angle, and 0 mm or more."
        )
    places = np.argwhere(target) * np.asarray(spacing)
    if not len(places):
        raise InputError("The target is empty; expected a mask with at least one voxel.")
    x, y, z = places.mean(0)
    reach = margin + max(spacing) / 2
    bare = [PhotonField(float(g), (float(x), float(y), float(z)), np.zeros((1, 1))) for g in angles]
    return [replace(field, opening=_opening(field, places, reach)) for field in bare]


def _opening(field: PhotonField, places: Array, reach: float) -> Array:
    """Return the opening that shows all points and `reach` mm around them."""
    seen = places - field.source
    flat = (seen @ field.axes[:2].T) * (SOURCE / (seen @ field.axes[2]))[:, None]
    half = int(np.ceil((np.abs(flat).max() + reach) / PIXEL)) + 1
    if 2 * half * PIXEL > LARGEST:
        raise InputError(
            f"At gantry angle {field.gantry:g} the target needs a field of {2 * half * PIXEL:.0f} "
            f"mm; a machine opens {LARGEST:.0f} mm. Is this mask the target alone?"
        )
    away = np.ones((2 * half + 1, 2 * half + 1), bool)
    index = np.rint(flat / PIXEL).astype(int) + half
    away[index[:, 0], index[:, 1]] = False
    return np.asarray(ndimage.distance_transform_edt(away) * PIXEL <= reach, np.float32)
