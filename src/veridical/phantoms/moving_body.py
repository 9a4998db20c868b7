"""What bodies that move have in common: material that is known at every point, a motion that is
known at every time, and images of any frame.

Motion maps are given in closed form, so that the truth holds on any grid and no frame is
interpolated from another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.errors import InputError, SettingError, nearest
from veridical.phantoms.template import periodic_noise
from veridical.types import Geometry, Image

Reals = NDArray[np.float64]
Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
Look = Literal["bSSFP", "CT"]

TISSUES: Mapping[str, tuple[float, float, float, float]] = {
    "air": (1.0, 1.0, 0.0, -1000.0),
    "fat": (343.0, 58.0, 0.9, -95.0),
    "muscle": (856.0, 27.0, 0.8, 55.0),
    "blood": (1441.0, 290.0, 0.95, 45.0),
    "myocardium": (1030.0, 40.0, 0.8, 50.0),
    "lung": (1200.0, 40.0, 0.2, -780.0),
    "liver": (586.0, 46.0, 0.8, 60.0),
    "spleen": (1057.0, 79.0, 0.85, 50.0),
    "kidney": (966.0, 87.0, 0.85, 35.0),
    "bone": (549.0, 49.0, 0.5, 300.0),
    "lesion": (900.0, 90.0, 0.85, 35.0),
}
"""Tissue -> T1 and T2 at 1.5 T in ms, proton density relative to CSF, HU. Liver, spleen, kidney,
muscle, fat, marrow: de Bazelaire et al., Radiology 2004, 10.1148/radiol.2303021331. Blood and
myocardium: Stanisz et al., Magn Reson Med 2005, 10.1002/mrm.20605. Lung, lesion, densities and HU
are assumed.
"""
NAMES = tuple(TISSUES)
FLIP = 50.0
"""Degrees, of the balanced steady state."""
TEXTURE, GRAIN = 0.04, 2.0
"""Relative standard deviation of the brightness within a tissue, and mm of a voxel of its noise."""
FINE = 2
"""Points across a voxel, along each axis."""


@dataclass(frozen=True, eq=False)
class Moving(ABC):
    """A body that moves: a function of `seed` alone.

    Args:
        seed: of anatomy and motion.
        spacing: voxel size, mm.
    """

    seed: int = 0
    spacing: float = 3.0

    half: ClassVar[tuple[float, float, float]]
    """mm from the middle to the border of the field of view along x, y, z."""

    @abstractmethod
    def tissue(self, points: Reals) -> Labels:
        """Return the tissue of points of the body at rest, `(n, 3)` mm to `(n,)` positions in
        `NAMES`.
        """

    @abstractmethod
    def moved(self, points: Reals, time: float) -> Reals:
        """Return where points of the body at rest are at a time (s), `(n, 3)` mm."""

    @abstractmethod
    def at_rest(self, points: Reals, time: float) -> Reals:
        """Return where points of space at a time (s) lie in the body at rest, `(n, 3)` mm."""

    @abstractmethod
    def surrogate(self, time: float) -> float:
        """Return the signal that is measured beside the images, 0 at rest, about 1 at most."""

    def generator(self, purpose: int) -> np.random.Generator:
        """Return the random numbers of this body for one purpose."""
        return np.random.default_rng((self.seed, purpose))

    @property
    def geometry(self) -> Geometry:
        """The grid of all frames."""
        x, y, z = (2 * round(h / self.spacing) for h in self.half)
        affine = np.diag([self.spacing] * 3 + [1.0])
        affine[:3, 3] = -self.spacing * (np.array([x, y, z]) - 1) / 2
        return Geometry((x, y, z), affine)

    def displacement(
        self, time: float, slices: Sequence[int] | None = None, along: int = 2
    ) -> Floats:
        """Return where each voxel of the body at rest is at a time, relative to where it was:
        `(x, y, z, 3)` mm. It is the true deformation.

        Args:
            time: s.
            slices: of the body at rest; None: all.
            along: axis that slices are counted along.
        """
        points = self.points(slices, 1, along)
        shift = self.moved(points, time) - points
        shape = list(self.geometry.shape)
        shape[along] = shape[along] if slices is None else len(slices)
        return shift.reshape(*shape, 3).astype(np.float32)

    def labels(self, time: float) -> Labels:
        """Return the tissue at the middle of each voxel at a time, `(x, y, z)`, positions in
        `NAMES`.
        """
        found = self.tissue(self.at_rest(self.points(None, 1), time))
        return found.reshape(self.geometry.shape)

    def image(
        self, time: float, look: Look = "bSSFP", noise: float = 0.0,
        slices: Sequence[int] | None = None, along: int = 2,
    ) -> Image:  # fmt: skip
        """Return a frame.

        Args:
            time: s.
            look: `bSSFP` (cine MR, balanced steady state on resonance: Scheffler and Lehnhardt, Eur
                Radiol 2003, 10.1007/s00330-003-1957-x) or `CT` (HU).
            noise: standard deviation, relative to blood (bSSFP, per real component) or in HU.
            slices: which, in a row; None: all.
            along: axis that slices are counted along: 0 sagittal, 1 coronal, 2 axial.

        Raises:
            SettingError: the look is unknown.
            InputError: a slice lies outside.
        """
        if look not in ("bSSFP", "CT"):
            raise SettingError(f"look = {look!r}. {nearest(look, ('bSSFP', 'CT'))}")
        grid = self.geometry
        chosen = list(range(grid.shape[along])) if slices is None else list(slices)
        if not chosen or min(chosen) < 0 or max(chosen) >= grid.shape[along]:
            raise InputError(f"Slices {chosen} of {grid.shape[along]}; expected some from 0 on.")
        points = self.at_rest(self.points(chosen, FINE, along), time)
        bright = _brightness(look)
        values = bright[self.tissue(points)]
        if look == "bSSFP":
            values = values * (1 + TEXTURE * _grain(points))
        x, y, z = (len(chosen) if axis == along else grid.shape[axis] for axis in range(3))
        data = values.reshape(x, FINE, y, FINE, z, FINE).mean((1, 3, 5)).astype(np.float32)
        data = self._noisy(data, look, noise, time, float(bright[NAMES.index("blood")]))
        affine = grid.affine.copy()
        affine[:3, 3] += affine[:3, along] * chosen[0]
        units = "HU" if look == "CT" else "a.u."
        channel = "CT" if look == "CT" else "cine"
        return Image(data[None], Geometry((x, y, z), affine), units, (channel,))

    def _noisy(self, data: Floats, look: Look, noise: float, time: float, blood: float) -> Floats:
        if not noise:
            return data
        rng = np.random.default_rng((self.seed, 9, round(time * 1e4)))
        parts = rng.standard_normal((2, *data.shape), np.float32)
        if look == "CT":
            return np.asarray(data + np.float32(noise) * parts[0])
        return np.asarray(np.hypot(data + noise * blood * parts[0], noise * blood * parts[1]))

    def points(self, slices: Sequence[int] | None, fine: int, along: int = 2) -> Reals:
        """Return `(n, 3)` points, `fine` across each voxel of some slices."""
        grid = self.geometry
        inner = (np.arange(fine) + 0.5) / fine - 0.5
        axes = []
        for axis in range(3):
            whole = axis != along or slices is None
            places = np.arange(grid.shape[axis]) if whole else np.array(slices)
            mm = grid.affine[axis, 3] + self.spacing * (places[:, None] + inner)
            axes.append(mm.ravel())
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def ball(points: Reals, centre: Sequence[float], radii: Sequence[float]) -> NDArray[np.bool_]:
    """Return which points lie in an ellipsoid."""
    return np.asarray((((points - centre) / np.asarray(radii, float)) ** 2).sum(-1) < 1)


def smooth(x: Reals) -> Reals:
    """Return 0 up to 0, 1 from 1 on, and a smooth rise between."""
    t = np.clip(x, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _brightness(look: Look) -> Reals:
    t1, t2, density, hu = np.array(list(TISSUES.values())).T
    if look == "CT":
        return np.asarray(hu)
    cosine = np.cos(np.deg2rad(FLIP))
    signal = density * np.sin(np.deg2rad(FLIP)) / (1 + cosine + (1 - cosine) * t1 / t2)
    return np.asarray(signal * 100)


@cache
def _noise() -> Floats:
    return (periodic_noise(13, 0.05, 0.3, 64) / 36.0).astype(np.float32)


def _grain(points: Reals) -> Floats:
    """Return the texture of points of the body at rest; it moves with them."""
    places = (points / GRAIN).T
    return np.asarray(
        ndimage.map_coordinates(_noise(), places, order=1, mode="grid-wrap"), np.float32
    )
