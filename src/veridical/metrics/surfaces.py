"""Surfaces of structures and the distances between them, exact, in mm; what the structure metrics
share.

A voxel is of the surface when it is of the structure and one of its six neighbours is not (outside
of the image nothing is), as in MONAI and in Metrics Reloaded. Distances are between voxel centres.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veridical.compiled import njit
from veridical.errors import GeometryError, InputError, UnitsError
from veridical.types import Array

FAR = np.int32(1 << 28)
RINGS = 6
"""How many voxels around are searched one by one before whole lines are."""


def check_structures(candidate: Array, reference: Array, spacing: Sequence[float]) -> None:
    """Check that two structures can be compared.

    Args:
        candidate, reference: bool `(x, y, z)`.
        spacing: voxel size in mm, three numbers.

    Raises:
        GeometryError: other shapes than one common `(x, y, z)`.
        InputError: an array that is not bool: a label map or a probability needs a decision first.
        UnitsError: spacing is not three finite numbers above 0.
    """
    if candidate.shape != reference.shape or candidate.ndim != 3:
        raise GeometryError(
            f"Structures of shape {candidate.shape} and {reference.shape} were given; expected one "
            "(x, y, z). Resample one."
        )
    for array in (candidate, reference):
        if array.dtype != np.bool_:
            raise InputError(
                f"A structure of type {array.dtype} was given; expected bool. Pick one label, "
                "labels == 2, or a cut, p > 0.5."
            )
    check_spacing(spacing)


def check_spacing(spacing: Sequence[float]) -> None:
    """Refuse a spacing that is not three finite numbers above 0 (UnitsError)."""
    if len(spacing) != 3 or not all(np.isfinite(size) and size > 0 for size in spacing):
        raise UnitsError(
            f"A spacing of {tuple(spacing)} was given; expected three voxel sizes above 0, in mm."
        )


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Return the diagonal of an image in mm: no distance within it is longer."""
    return float(np.linalg.norm(np.multiply(shape, spacing)))


def surface_distances(
    candidate: Array, reference: Array, spacing: Sequence[float]
) -> tuple[Array, Array]:
    """Return how far each surface voxel of one structure is from the other's surface.

    Exact Euclidean distances, inside the box that holds both structures and only where a surface
    voxel asks: one scan along x, then a search of the surroundings, then, for what is farther away,
    lower envelopes of parabolas as Felzenszwalb and Huttenlocher (Theory of Computing 2012,
    10.4086/toc.2012.v008a019).

    Args:
        candidate, reference: bool `(x, y, z)`, neither empty.
        spacing: voxel size in mm.

    Returns: Distances in mm, from the candidate's surface voxels to the reference's surface and the
        other way round, each in the order of the array.
    """
    either = candidate | reference
    box = tuple(_extent(np.asarray(either.any(axis=axes))) for axes in ((1, 2), (0, 2), (0, 1)))
    a, b = (_surface(np.array(structure[box], order="C")) for structure in (candidate, reference))
    size = np.asarray(spacing, dtype=np.float64)
    return np.sqrt(_squared(a, b, size, np.count_nonzero(a))), np.sqrt(
        _squared(b, a, size, np.count_nonzero(b))
    )


def _extent(occupied: Array) -> slice:
    found = np.flatnonzero(occupied)
    return slice(int(found[0]), int(found[-1]) + 1)


@njit(nogil=True)
def _surface(structure: Array) -> Array:
    nx, ny, nz = structure.shape
    found = np.zeros((nx, ny, nz), dtype=np.bool_)
    for x in range(nx):
        for y in range(ny):
            if x == 0 or y == 0 or x == nx - 1 or y == ny - 1:
                for z in range(nz):
                    found[x, y, z] = structure[x, y, z]
                continue
            for z in range(1, nz - 1):
                inside = (
                    structure[x - 1, y, z]
                    & structure[x + 1, y, z]
                    & structure[x, y - 1, z]
                    & structure[x, y + 1, z]
                )
                inside &= structure[x, y, z - 1] & structure[x, y, z + 1]
                found[x, y, z] = structure[x, y, z] & ~inside
            found[x, y, 0] = structure[x, y, 0]
            found[x, y, nz - 1] = structure[x, y, nz - 1]
    return found


@njit(nogil=True)
def _steps_along_x(surface: Array) -> Array:
    """Return the number of voxels along x to the nearest surface voxel of that line; FAR or more
    where it has none.
    """
    nx, ny, nz = surface.shape
    steps = np.empty((nx, ny, nz), dtype=np.int32)
    for y in range(ny):
        for z in range(nz):
            steps[0, y, z] = 0 if surface[0, y, z] else FAR
        for x in range(1, nx):
            for z in range(nz):
                steps[x, y, z] = 0 if surface[x, y, z] else steps[x - 1, y, z] + 1
        for x in range(nx - 2, -1, -1):
            for z in range(nz):
                steps[x, y, z] = min(steps[x, y, z], steps[x + 1, y, z] + 1)
    return steps


@njit(nogil=True)
def _envelope(heights: Array, places: Array, count: int, borders: Array) -> int:
    """Keep of `count` parabolas, `(q - place)^2 + height`, those of the lower envelope;
    `borders[k]`: where k takes over.
    """
    kept = 0
    for index in range(count):
        place, height = places[index], heights[index]
        border = -np.inf
        while kept > 0:
            last = places[kept - 1]
            border = 0.5 * ((height - heights[kept - 1]) / (place - last) + place + last)
            if border > borders[kept - 1]:
                break
            kept -= 1
            border = -np.inf
        places[kept], heights[kept], borders[kept] = place, height, border
        kept += 1
    return kept


@njit(nogil=True)
def _line(steps: Array, sx: float, sz: float, work: Array, squared: Array) -> None:
    """Fill `squared` with the squared distance, within the plane of x and this line along z, to the
    nearest surface voxel.
    """
    heights, places, borders = work
    count = 0
    for z in range(len(steps)):
        if steps[z] < FAR:
            heights[count] = (steps[z] * sx) ** 2
            places[count] = z * sz
            count += 1
    count = _envelope(heights, places, count, borders)
    if count == 0:
        squared[:] = np.inf
        return
    at = 0
    for z in range(len(steps)):
        while at + 1 < count and borders[at + 1] < z * sz:
            at += 1
        squared[z] = (z * sz - places[at]) ** 2 + heights[at]


@njit(nogil=True)
def _nearby(steps: Array, y: int, z: int, spacing: Array) -> tuple[float, bool]:
    """Search square rings of the plane of x around a voxel; return the squared distance found and
    whether it is the least.
    """
    ny, nz = steps.shape
    best = np.inf
    for ring in range(RINGS + 1):
        if (ring * min(spacing[1], spacing[2])) ** 2 >= best:
            return best, True
        for row in range(max(y - ring, 0), min(y + ring + 1, ny)):
            stride = 1 if abs(row - y) == ring else 2 * ring
            for column in range(z - ring, z + ring + 1, stride):
                if 0 <= column < nz and steps[row, column] < FAR:
                    away = ((row - y) * spacing[1]) ** 2 + ((column - z) * spacing[2]) ** 2
                    best = min(best, away + (steps[row, column] * spacing[0]) ** 2)
    return best, False


@njit(nogil=True)
def _squared(asking: Array, surface: Array, spacing: Array, count: int) -> Array:
    """Return squared distances from `count` asking voxels to the surface."""
    nx, ny, nz = surface.shape
    steps = _steps_along_x(surface)
    plane, work, found = np.empty((ny, nz)), np.empty((3, nz)), np.empty(count)
    position = 0
    for x in range(nx):
        filled = np.zeros(ny, dtype=np.bool_)
        for y in range(ny):
            for z in range(nz):
                if not asking[x, y, z]:
                    continue
                best, least = _nearby(steps[x], y, z, spacing)
                step = 0
                while not least and step < ny and (step * spacing[1]) ** 2 < best:
                    for row in (y - step, y + step):
                        if 0 <= row < ny:
                            if not filled[row]:
                                _line(steps[x, row], spacing[0], spacing[2], work, plane[row])
                                filled[row] = True
                            best = min(best, (step * spacing[1]) ** 2 + plane[row, z])
                    step += 1
                found[position] = best
                position += 1
    return found
