"""The official scores of OpenKBP: mean dose difference, and differences of dose-volume points
(Babier et al., Medical Physics 2021, 10.1002/mp.14845).

Points are those of the challenge's own code: `D0.1cc` and `mean` of organs, `D1`, `D95` and `D99`
of targets, percentiles interpolated between voxels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from veridical.errors import GeometryError
from veridical.physics.prescriptions import TARGETS
from veridical.types import Array

PERCENTILES = {"D1": 99.0, "D95": 5.0, "D99": 1.0}
"""Point -> percentile of the doses in a target."""


def points(
    dose: Array, structures: Mapping[str, Array], spacing: Sequence[float]
) -> dict[tuple[str, str], float]:
    """Return (structure, point) -> Gy, of structures with at least one voxel.

    Args:
        dose: `(x, y, z)` Gy.
        structures: name -> bool, of that shape; targets are called as in `TARGETS`.
        spacing: mm.

    Raises:
        GeometryError: shapes differ.
    """
    found: dict[tuple[str, str], float] = {}
    for name, mask in structures.items():
        if mask.shape != dose.shape:
            raise GeometryError(f"{name} has shape {mask.shape}, the dose {dose.shape}.")
        inside = np.asarray(dose[mask > 0], np.float64)
        if not inside.size:
            continue
        if name in TARGETS:
            for point, percent in PERCENTILES.items():
                found[name, point] = float(np.percentile(inside, percent))
        else:
            small = max(1, round(100 / float(np.prod(spacing))))
            share = max(0.0, 100 - 100 * small / inside.size)
            found[name, "D0.1cc"] = float(np.percentile(inside, share))
            found[name, "mean"] = float(inside.mean())
    return found


def dose_score(predicted: Array, planned: Array, possible: Array) -> float:
    """Return the mean absolute difference in Gy where dose may be; of several patients the mean of
    theirs counts.
    """
    return float(np.abs(predicted - planned)[possible > 0].mean(dtype=np.float64))


def point_differences(
    predicted: Array,
    planned: Array,
    structures: Mapping[str, Array],
    spacing: Sequence[float],
) -> dict[tuple[str, str], float]:
    """Return (structure, point) -> absolute difference in Gy; their mean over all points of all
    patients is the DVH score.
    """
    wanted = points(planned, structures, spacing)
    given = points(predicted, structures, spacing)
    return {key: abs(given[key] - wanted[key]) for key in wanted}
