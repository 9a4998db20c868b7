"""What every metric says of itself, and the checks that all share.

A metric is one function that returns one float. Its parameters say what it needs and are filled by
name:

| parameter | what it gets |
|---|---|
| `candidate`, `reference` | two real images, `(x, y)`, `(x, y, z)` or `(channel, x, y, z)` |
| `mask` | bool, the voxels that count |
| `data_range` | peak to peak of the signal, in the images' unit |
| `spacing` | voxel size in mm, one number an axis of the arrays |
| `interval`, `draws` | an `Interval`; `(draw, *image)` posterior draws |
| `candidate_structure`, `reference_structure` | bool `(x, y, z)`, one structure as segmented and as
it is |
| `candidate_features`, `reference_features` | `(n, d)` and `(m, d)`, one row an image |
| `candidate_dose`, `reference_dose` | `(x, y, z)` in Gy |
| `seed` | of what is random in it |
| `predicted`, `truth` | `(n,)` numbers or scores for n cases and what they should be (bool for
classes) |

Everything else is a setting with a default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from veridical.errors import GeometryError, InputError, UnitsError
from veridical.types import Array, Level


@dataclass(frozen=True)
class Facts:
    """What a metric says of itself; each metric's file has one under the name `ABOUT`.

    Args: label: as it is written in tables. units: of the value; `1` for a plain number. better:
        which way is better. level: what it judges. target: in words, what to aim at where neither
        more nor less is simply better; empty otherwise. ideal: the perfect value where deviation to
        both sides is worse (a bias: 0); results are then judged by their distance from it, whatever
        `better` says. None otherwise. worst: what a failed case counts as; None where the metric
        has no bound (the worst value seen in the comparison then counts). cites: the source, as it
        is printed in a methods paragraph.
    """

    label: str
    units: str
    better: Literal["higher", "lower"]
    level: Level
    target: str = ""
    ideal: float | None = None
    worst: float | None = None
    cites: str = ""


def region(mask: Array | None, *arrays: Array) -> Array:
    """Check that real arrays can be compared, and return the voxels that count.

    Args: mask: bool, of the arrays' shape, or `(x, y, z)` for arrays `(channel, x, y, z)`; None:
        all voxels. arrays: of one shape.

    Returns:
        Bool, of the arrays' shape.

    Raises:
        GeometryError: shapes differ.
        InputError: complex values, NaN or infinity where it counts, or no voxel that counts.
    """
    shape = arrays[0].shape
    for array in arrays[1:]:
        if array.shape != shape:
            raise GeometryError(
                f"Arrays of shape {shape} and {array.shape} were given; a metric needs one grid. "
                "Resample one."
            )
    if any(np.iscomplexobj(array) for array in arrays):
        raise InputError(
            "A metric compares real images, complex ones were given. Take magnitudes first: "
            "abs(image)."
        )
    if mask is None:
        counted = np.ones(shape, dtype=bool)
    elif mask.shape == shape or (len(shape) == 4 and mask.shape == shape[1:]):
        counted = np.broadcast_to(np.asarray(mask, dtype=bool), shape)
    else:
        raise GeometryError(
            f"A mask of shape {mask.shape} was given; expected {shape}, the channel axis left out "
            "or not."
        )
    if not counted.any():
        raise InputError(
            "No voxel counts: the mask (or the image) is empty. Give a mask with at least one "
            "voxel."
        )
    for array in arrays:
        bad = int(np.count_nonzero(counted & ~np.isfinite(array)))
        if bad:
            raise InputError(
                f"{bad} voxels that count are NaN or infinite; a metric over the rest would hide "
                "them. Mend them."
            )
    return counted


def checked_range(data_range: float) -> float:
    """Return the data range, or refuse it.

    Raises:
        UnitsError: it is not a finite number above 0.
    """
    if not np.isfinite(data_range) or data_range <= 0:
        raise UnitsError(
            f"A data range of {data_range} was given; expected a finite number above 0, one for "
            "all cases that are compared: "
            "255 for 8-bit images, or a percentile of the reference images."
        )
    return float(data_range)
