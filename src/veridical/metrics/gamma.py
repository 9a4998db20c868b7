"""Gamma pass rate of a dose: dose difference and distance to agreement in one (Low et al., Med Phys
1998, 10.1118/1.598248).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numba
import numpy as np

from veridical.compiled import njit
from veridical.errors import GeometryError, InputError, SettingError
from veridical.metrics.about import Facts, region
from veridical.metrics.surfaces import check_spacing
from veridical.types import Array

ABOUT = Facts(
    "gamma pass rate",
    "%",
    "higher",
    "task",
    worst=0.0,
    cites="Low DA, Harms WB, Mutic S, Purdy JA. A technique for the quantitative evaluation of "
    "dose distributions. "
    "Med Phys 1998;25:656-661.",
)

Normalization = Literal["global", "local"]
PASSED = 1 + 1e-9
"""Squared gamma that passes, rounding forgiven."""
STEPS = 10
"""Points of a ray within the distance criterion."""
PER_EDGE = 4
"""Rays to half a right angle on the faces of a cube: 386 in all, up to 0.2 rad apart."""


def gamma(
    candidate_dose: Array,
    reference_dose: Array,
    spacing: Sequence[float],
    *,
    mask: Array | None = None,
    difference: float = 2.0,
    distance: float = 2.0,
    cutoff: float = 10.0,
    normalization: Normalization = "global",
) -> float:
    """Return the share of the reference's voxels with a gamma of at most 1, `gamma_map` says how.

    Args: candidate_dose, reference_dose: `(x, y, z)` in Gy. spacing: voxel size in mm. mask: bool
        `(x, y, z)`; None counts all voxels above the cutoff. difference: dose criterion, %.
        distance: distance to agreement, mm. cutoff: voxels of the reference below this share of its
        maximum, %, do not count. normalization: `global`, the dose criterion is a share of the
        reference's maximum; `local`, of its dose at the voxel.

    Returns:
        %, in [0, 100].

    Raises: GeometryError: shapes differ. InputError: NaN or infinity, a reference without dose, or
        no voxel of the mask above the cutoff. UnitsError: spacing is not three numbers above 0.
        SettingError: a criterion of 0 or less, a cutoff outside (0, 100), or an unknown
        normalization.
    """
    criteria = difference, distance, cutoff, normalization
    squared, _ = _search(candidate_dose, reference_dose, spacing, mask, criteria, PASSED)
    return 100.0 * float(np.count_nonzero(squared <= PASSED)) / squared.size


def gamma_map(
    candidate_dose: Array,
    reference_dose: Array,
    spacing: Sequence[float],
    *,
    mask: Array | None = None,
    difference: float = 2.0,
    distance: float = 2.0,
    cutoff: float = 10.0,
    normalization: Normalization = "global",
) -> Array:
    """Return gamma at the voxels of the reference: the least of `sqrt((distance / mm)^2 + (dose
    difference / %)^2)`.

    The search goes out along rays, 0.2 rad apart, as far as the distance criterion: what passes is
    found, and a gamma above 1 is an upper bound. The candidate's dose is interpolated linearly at
    every tenth of that distance, and between two such points gamma's minimum is taken in closed
    form (Ju et al., Med Phys 2008, 10.1118/1.2836952), so that steep gradients are not stepped
    over. Outside of its grid the candidate has no dose.

    Arguments and errors as in `gamma`.

    Returns:
        `(x, y, z)`; NaN where a voxel does not count.
    """
    criteria = difference, distance, cutoff, normalization
    squared, counted = _search(candidate_dose, reference_dose, spacing, mask, criteria, 0.0)
    found = np.full(reference_dose.shape, np.nan)
    found[counted] = np.sqrt(squared)
    return found


def _search(
    candidate: Array,
    reference: Array,
    spacing: Sequence[float],
    mask: Array | None,
    criteria: tuple[float, float, float, str],
    enough: float,
) -> tuple[Array, Array]:
    """Return the squared gammas of the voxels that count, each no longer lessened when at most
    `enough`, and these voxels.
    """
    difference, distance, cutoff, normalization = criteria
    region(None, candidate, reference)
    counted = region(mask, candidate, reference)
    if reference.ndim != 3:
        raise GeometryError(
            f"Doses of shape {reference.shape} were given; expected (x, y, z). For one slice: "
            "dose[:, :, None]."
        )
    check_spacing(spacing)
    if not (difference > 0 and distance > 0 and 0 < cutoff < 100) or normalization not in (
        "global",
        "local",
    ):
        raise SettingError(
            f"difference={difference} %, distance={distance} mm, cutoff={cutoff} %, "
            f"normalization={normalization!r} were "
            "given; expected criteria above 0, a cutoff in (0, 100), and 'global' or 'local'."
        )
    peak = float(reference.max())
    counted = counted & (reference >= cutoff / 100 * peak)
    if peak <= 0 or not counted.any():
        raise InputError(
            f"No voxel that counts has {cutoff:g} % of the reference's highest dose, {peak:g} Gy. "
            "Give the reference dose "
            "in Gy, with a mask that the beams reach."
        )
    doses = np.asarray(reference, dtype=np.float64)[counted]
    allowed = difference / 100 * (doses if normalization == "local" else np.full_like(doses, peak))
    rays = _rays(np.asarray(spacing, dtype=np.float64), distance)
    searched = np.array(candidate, dtype=np.float64, order="C")
    return _least(searched, doses, allowed, np.argwhere(counted), *rays, enough), counted


def _rays(spacing: Array, distance: float) -> tuple[Array, Array]:
    """Return the points on rays through the grid of a cube's surface, `(step, ray, 3)`: whole
    voxels and the fractions left.
    """
    axis = np.tan(np.linspace(-np.pi / 4, np.pi / 4, 2 * PER_EDGE + 1))
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    rays = grid[np.isclose(np.abs(grid).max(1), 1)]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    voxels = np.round(np.linspace(0, distance, STEPS + 1)[1:, None, None] * rays / spacing, 9)
    shifts = np.floor(voxels).astype(np.int64)
    return shifts, voxels - shifts


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _dose(dose: Array, x: int, y: int, z: int, fx: float, fy: float, fz: float) -> float:
    """Return the dose at `(x + fx, y + fy, z + fz)`, linear in between; NaN outside of the grid."""
    x1, y1, z1 = x + (fx > 0), y + (fy > 0), z + (fz > 0)
    if min(x, y, z) < 0 or x1 >= dose.shape[0] or y1 >= dose.shape[1] or z1 >= dose.shape[2]:
        return np.nan
    a = dose[x, y, z] + fz * (dose[x, y, z1] - dose[x, y, z])
    b = dose[x, y1, z] + fz * (dose[x, y1, z1] - dose[x, y1, z])
    c = dose[x1, y, z] + fz * (dose[x1, y, z1] - dose[x1, y, z])
    d = dose[x1, y1, z] + fz * (dose[x1, y1, z1] - dose[x1, y1, z])
    low, high = a + fy * (b - a), c + fy * (d - c)
    return low + fx * (high - low)  # type: ignore[no-any-return]


@njit(nogil=True, error_model="numpy")
def _least(
    dose: Array,
    reference: Array,
    allowed: Array,
    places: Array,
    shifts: Array,
    fractions: Array,
    enough: float,
) -> Array:
    """Return the least squared gamma of each place, or the first one found that is at most
    `enough`.
    """
    steps, rays = shifts.shape[:2]
    length = 1.0 / steps
    found, gaps = np.empty(len(reference)), np.empty(rays)
    for index in range(len(reference)):
        x, y, z = places[index, 0], places[index, 1], places[index, 2]
        scale = 1.0 / allowed[index]
        gaps[:] = (dose[x, y, z] - reference[index]) * scale
        best = gaps[0] ** 2
        for step in range(steps):
            near = step * length
            if best <= max(enough, near * near):
                break
            for ray in range(rays):
                i, f = shifts[step, ray], fractions[step, ray]
                value = _dose(dose, x + i[0], y + i[1], z + i[2], f[0], f[1], f[2])
                start, gap = gaps[ray], (value - reference[index]) * scale
                gaps[ray] = gap
                change = gap - start
                part = -(near * length + start * change) / (length * length + change * change)
                part = min(max(part, 0.0), 1.0)
                squared = (near + part * length) ** 2 + (start + part * change) ** 2
                if squared < best:
                    best = squared
                    if best <= enough:
                        break
        found[index] = best
    return found
