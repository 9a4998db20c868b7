"""Dose of 6 MV photon fields in a patient: ray tracing, then collapsed cones.

Of each field the energy that the beam releases in every voxel follows from the distance to the
source (inverse square), the opening of the collimator seen from there, and the water-equivalent
depth along the ray, with a spectrum that hardens. Collapsed cones carry it away. Left out are
scatter from the head of the machine, electrons in the beam (the skin gets too little), leakage, and
the softer spectrum off the axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from veridical.compiled import njit
from veridical.errors import GeometryError, InputError
from veridical.physics.collapsed_cone import THINNEST, deposited
from veridical.physics.photon_kernel import cones
from veridical.physics.photon_spectrum import released
from veridical.types import Array

SOURCE = 1000.0
"""mm from the source to the isocentre."""
SPOT = 2.0
"""Standard deviation of the source's image in the plane of the isocentre, mm."""
PIXEL = 1.0
"""mm of an opening, in the plane of the isocentre."""
CALIBRATION = 0.3959
"""Gy per monitor unit and unit of energy deposited: 1 cGy per monitor unit at the depth of 15 mm in
water, 10 cm x 10 cm, 1000 mm from source to surface.
"""
DEPTHS = np.arange(0.0, 801.0)
"""mm of water of the table of released energy."""


@dataclass(frozen=True, eq=False)
class PhotonField:
    """One static field.

    Args:
        gantry: degrees; 0 comes from the front, 90 from the patient's left (head first, supine).
        isocentre: `(3,)` mm from the middle of voxel (0, 0, 0), along the axes of the grid.
        opening: `(across, along)`, 1 where the collimator is open, pixels of `PIXEL` mm around the
            isocentre in its plane; across points to the patient's right at gantry 0, along to the
            head.
        units: monitor units.
        couch: degrees that the couch turns about the vertical axis.
    """

    gantry: float
    isocentre: tuple[float, float, float]
    opening: Array
    units: float = 100.0
    couch: float = 0.0

    @property
    def axes(self) -> Array:
        """Return rows across, along and travel: unit vectors to right, front and head."""
        g, c = np.radians(self.gantry), np.radians(self.couch)
        across = np.array([np.cos(g), np.sin(g), 0.0])
        travel = np.array([np.sin(g), -np.cos(g), 0.0])
        turn = np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
        return np.stack([turn @ across, turn @ np.array([0.0, 0.0, 1.0]), turn @ travel])

    @property
    def source(self) -> Array:
        """Return where the source is, mm."""
        return np.asarray(np.asarray(self.isocentre) - SOURCE * self.axes[2])


def rectangle(across: float, along: float) -> Array:
    """Return an opening of so many mm in the plane of the isocentre."""
    if min(across, along) <= 0:
        raise InputError(
            f"A field of {across:g} mm x {along:g} mm was given; expected more than 0."
        )
    counts = [2 * int(np.ceil(side / 2 / PIXEL)) + 1 for side in (across, along)]
    edges = [
        np.clip(side / 2 + 0.5 - np.abs(np.arange(n) - n // 2), 0, 1)
        for side, n in zip((across / PIXEL, along / PIXEL), counts, strict=True)
    ]
    return np.asarray(np.outer(*edges), np.float32)


def photon_dose(density: Array, spacing: Sequence[float], fields: Iterable[PhotonField]) -> Array:
    """Return the dose `(x, y, z)` in Gy of all fields.

    Args:
        density: `(x, y, z)` electron density relative to water; x to the patient's right, y to the
            front, z to the head.
        spacing: mm.
        fields: of the plan.

    Raises:
        GeometryError: the density is no volume, or the spacing is not three numbers above 0.
    """
    if density.ndim != 3 or len(spacing) != 3 or min(spacing) <= 0:
        raise GeometryError(
            f"A density of shape {density.shape} with spacing {tuple(spacing)} was given; expected "
            "(x, y, z) and three spacings above 0 mm."
        )
    whole = np.zeros(density.shape, np.float32)
    table = np.stack(released(DEPTHS)).astype(np.float64)
    for field in fields:
        primary, scatter = _released(np.asarray(density, np.float32), spacing, field, table)
        taken = deposited(primary, scatter, density, spacing, cones(field.axes[2]))
        whole += np.float32(field.units * CALIBRATION) * taken
    return whole / np.maximum(density, THINNEST).astype(np.float32)


def _released(
    density: Array, spacing: Sequence[float], field: PhotonField, table: Array
) -> tuple[Array, Array]:
    """Return the energy released to electrons and to scattered photons, `(x, y, z)` each."""
    steps = np.asarray(spacing, np.float64)
    blur = np.hypot(SPOT, steps.mean() / np.sqrt(12)) / PIXEL
    margin = int(np.ceil(4 * blur))
    opening = ndimage.gaussian_filter(np.pad(field.opening.astype(np.float32), margin), blur)
    found = np.zeros((2, *density.shape), np.float32)
    _trace(density, steps, field.source, field.axes, opening, table, found)
    return found[0], found[1]


@njit(nogil=True)
def _trace(
    density: Array,
    spacing: Array,
    source: Array,
    axes: Array,
    opening: Array,
    table: Array,
    out: Array,
) -> None:
    """Fill `out`, `(kind, x, y, z)`, with the energy that the beam releases."""
    nx, ny, nz = density.shape
    middle = (opening.shape[0] - 1) / 2, (opening.shape[1] - 1) / 2
    for x in range(nx):
        for y in range(ny):
            for z in range(nz):
                if density[x, y, z] <= 0:
                    continue
                rx = x * spacing[0] - source[0]
                ry = y * spacing[1] - source[1]
                rz = z * spacing[2] - source[2]
                deep = axes[2, 0] * rx + axes[2, 1] * ry + axes[2, 2] * rz
                if deep <= 0:
                    continue
                scale = SOURCE / deep / PIXEL
                u = (axes[0, 0] * rx + axes[0, 1] * ry + axes[0, 2] * rz) * scale + middle[0]
                v = (axes[1, 0] * rx + axes[1, 1] * ry + axes[1, 2] * rz) * scale + middle[1]
                i, j = int(np.floor(u)), int(np.floor(v))
                if i < 0 or j < 0 or i + 1 >= opening.shape[0] or j + 1 >= opening.shape[1]:
                    continue
                f, g = u - i, v - j
                open_ = (1 - f) * ((1 - g) * opening[i, j] + g * opening[i, j + 1]) + f * (
                    (1 - g) * opening[i + 1, j] + g * opening[i + 1, j + 1]
                )
                if open_ < 1e-4:
                    continue
                far = np.sqrt(rx * rx + ry * ry + rz * rz)
                ways = rx / far / spacing[0], ry / far / spacing[1], rz / far / spacing[2]
                water = _depth(density, x, y, z, ways)
                row = min(water, table.shape[1] - 1.001)
                low = int(row)
                part = row - low
                fluence = open_ * (SOURCE / far) ** 2 * density[x, y, z]
                for kind in range(2):
                    here = (1 - part) * table[kind, low] + part * table[kind, low + 1]
                    out[kind, x, y, z] = fluence * here


@njit(nogil=True, inline="always")
def _depth(density: Array, x: int, y: int, z: int, ways: tuple[float, float, float]) -> float:
    """Return mm of water in front of the middle of a voxel, exact for the boxes that voxels are.

    Args: ways: voxels per mm along the ray, away from the source.
    """
    nx, ny, nz = density.shape
    ax = 1 / max(abs(ways[0]), 1e-12)
    ay = 1 / max(abs(ways[1]), 1e-12)
    az = 1 / max(abs(ways[2]), 1e-12)
    sx, sy, sz = -1 if ways[0] > 0 else 1, -1 if ways[1] > 0 else 1, -1 if ways[2] > 0 else 1
    tx, ty, tz = ax / 2, ay / 2, az / 2
    water, at = 0.0, 0.0
    while 0 <= x < nx and 0 <= y < ny and 0 <= z < nz:
        here = density[x, y, z]
        if tx <= ty and tx <= tz:
            water, at, tx, x = water + here * (tx - at), tx, tx + ax, x + sx
        elif ty <= tz:
            water, at, ty, y = water + here * (ty - at), ty, ty + ay, y + sy
        else:
            water, at, tz, z = water + here * (tz - at), tz, tz + az, z + sz
    return water
