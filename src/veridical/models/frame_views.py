"""Frames of few measurements as a filter takes them: for each frame the numbers, the operator that
predicts them from images, and the band of spatial frequency that each belongs to.

Projections are taken to the frequencies along their detector. By the projection theorem they are
then spokes of k-space too; errors of a model are nearly independent there, and alike within a band.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray

from veridical.errors import GeometryError, InputError
from veridical.physics.frames import ProjectionFrames
from veridical.physics.noncartesian_mri import NoncartesianMRI, NoncartesianScan
from veridical.physics.parallel_beam import ParallelBeam
from veridical.physics.projection import turn
from veridical.types import Geometry, Measurement

Floats = NDArray[np.float32]
Complexes = NDArray[np.complex64]
Integers = NDArray[np.int64]

BANDS = 16
"""Bands of spatial frequency, equally wide in its square root: few samples lie near the centre, and
most of the signal.
"""


class FrameViews(ABC):
    """What was measured of each frame.

    Attributes:
        count: frames.
        data: `(frame, n)` complex.
    """

    count: int
    data: Complexes

    @abstractmethod
    def bands(self, frame: int) -> Integers:
        """Return the band of every number, `(n,)`, 0 to `BANDS - 1`."""

    @abstractmethod
    def predicted(self, frame: int, images: Floats) -> Complexes:
        """Return what would be measured of images `(b, x, y, z)`, `(b, n)`."""


class RadialViews(FrameViews):
    """Spokes of k-space of one slice.

    Args:
        scan: `(frame, coil, sample)` complex, its operator a `NoncartesianScan`.
        grid: of the images; one of its axes has one voxel.

    Raises:
        GeometryError: the images are no slice, or of another matrix.
    """

    def __init__(self, scan: Measurement, grid: Geometry) -> None:
        operator = scan.operator
        assert isinstance(operator, NoncartesianScan)
        self.plane = Plane.of(grid)
        if self.plane.rows * self.plane.columns != np.prod(grid.shape):
            raise GeometryError(
                f"Spokes were measured of {grid}; expected a single slice. Give the slice of the "
                "reference that was measured."
            )
        if tuple(operator.matrix) != (self.plane.rows, self.plane.columns):
            raise GeometryError(
                f"The spokes are of a matrix {operator.matrix} (rows, columns), the reference has "
                f"{self.plane.rows, self.plane.columns}. Give a reference of that matrix."
            )
        maps = operator.coils.maps
        self.maps = (
            torch.ones(1, 1, self.plane.rows, self.plane.columns, dtype=torch.complex64)
            if maps is None
            else torch.from_numpy(np.array(maps[0], np.complex64))
        )
        self.trajectory = operator.trajectory
        self._planned: tuple[int, NoncartesianMRI] | None = None
        data = np.asarray(scan.data, np.complex64)
        if data.ndim != 3 or data.shape[1] != self.maps.shape[1]:
            raise GeometryError(
                f"Spokes of shape {data.shape} with {self.maps.shape[1]} coil maps; expected "
                "(frame, coil, sample) and a map a coil."
            )
        self.count, self.coils = data.shape[0], data.shape[1]
        self.data = data.reshape(self.count, -1)

    def bands(self, frame: int) -> Integers:
        size = np.linalg.norm(self.trajectory[frame], axis=-1)
        edge = max(self.plane.rows, self.plane.columns) / 2
        return np.tile(_band(size / edge), self.coils)

    def predicted(self, frame: int, images: Floats) -> Complexes:
        operator = self._operator(frame)
        turned = torch.from_numpy(self.plane.turned(images)).to(torch.complex64)
        return np.asarray(operator.forward(turned[:, None]).reshape(len(images), -1).numpy())

    def _operator(self, frame: int) -> NoncartesianMRI:
        """Return the operator of a frame, planned once while that frame is worked on."""
        if self._planned is None or self._planned[0] != frame:
            where = torch.from_numpy(np.array(self.trajectory[frame]))
            self._planned = frame, NoncartesianMRI(where, self.maps)
        return self._planned[1]


class ProjectedViews(FrameViews):
    """Projections of a slice or a volume.

    Args:
        scan: `(frame, view, z, detector)` real, its operator `ProjectionFrames`.
        grid: of the images, which are in 1/mm.

    Raises:
        GeometryError: the data do not fit the grid.
    """

    def __init__(self, scan: Measurement, grid: Geometry) -> None:
        operator = scan.operator
        assert isinstance(operator, ProjectionFrames)
        self.plane, self.angles = Plane.of(grid), operator.angles
        data = np.asarray(scan.data, np.float32)
        self.shape = (self.plane.rows, self.plane.columns)
        self.pitch = operator.pitch or min(self.plane.spacing)
        views, deep = self.angles.shape[1], int(np.prod(grid.shape) // np.prod(self.shape))
        if data.ndim != 4 or data.shape[:3] != (len(self.angles), views, deep):
            raise GeometryError(
                f"Projections of shape {data.shape}; expected (frame, view, z, detector) with "
                f"{len(self.angles)} frames, {views} views and {deep} planes."
            )
        self.count, self.detectors = len(data), data.shape[3]
        if self.detectors < max(self.shape):
            needed = turn(self.shape, self.plane.spacing, self.pitch)
            raise GeometryError(
                f"{self.detectors} detector bins do not see the whole body; expected about "
                f"{needed} of {self.pitch:g} mm."
            )
        self.data = self._frequencies(data).reshape(self.count, -1)
        along = scipy.fft.rfftfreq(self.detectors)
        size = np.hypot(scipy.fft.fftfreq(deep)[:, None], along) / 0.5
        self._bands = np.tile(_band(size).ravel(), views)

    def bands(self, frame: int) -> Integers:
        return self._bands

    def predicted(self, frame: int, images: Floats) -> Complexes:
        operator = ParallelBeam(
            self.shape, self.plane.spacing, torch.from_numpy(np.array(self.angles[frame])),
            self.detectors, self.pitch,
        )  # fmt: skip
        turned = self.plane.turned(images).reshape(-1, *self.shape)
        views = operator.forward(torch.from_numpy(turned)).numpy()
        views = views.reshape(len(images), -1, *views.shape[-2:]).swapaxes(1, 2)
        return self._frequencies(views).reshape(len(images), -1)

    def _frequencies(self, views: Floats) -> Complexes:
        """Return `(..., z, detector)` as frequencies."""
        return np.asarray(scipy.fft.rfft2(views, norm="ortho"), np.complex64)


class Plane:
    """The planes of a grid as operators take them: rows and columns.

    Attributes:
        rows, columns: pixels.
        spacing: `(dy, dx)` mm.
    """

    def __init__(self, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
        kept = [axis for axis in range(3) if shape[axis] > 1]
        if len(kept) < 2:
            raise InputError(f"Images of {shape} voxels; expected slices or volumes.")
        self.across = kept[:2] if len(kept) == 2 else [0, 1]
        self.along = next(axis for axis in range(3) if axis not in self.across)
        self.columns, self.rows = (shape[axis] for axis in self.across)
        self.spacing = (spacing[self.across[1]], spacing[self.across[0]])

    @classmethod
    def of(cls, grid: Geometry) -> Plane:
        """Return those of a grid: the plane of a slice, the axial planes of a volume."""
        return cls(grid.shape, grid.spacing)

    def turned(self, images: Floats) -> Floats:
        """Return images `(b, x, y, z)` as `(b, rows, columns)`, of volumes `(b, z, rows,
        columns)`.
        """
        x, y = self.across
        turned = np.ascontiguousarray(images.transpose(0, self.along + 1, y + 1, x + 1))
        return turned[:, 0] if turned.shape[1] == 1 else turned


def views_of(scan: Measurement, grid: Geometry) -> FrameViews:
    """Return the frames of a measurement.

    Raises:
        InputError: it is no sequence that can be tracked.
        GeometryError: it does not fit the grid.
    """
    if not np.isfinite(scan.data).all():
        raise InputError("The measurements hold NaN or infinities. Leave those frames out.")
    if isinstance(scan.operator, NoncartesianScan):
        return RadialViews(scan, grid)
    if isinstance(scan.operator, ProjectionFrames):
        return ProjectedViews(scan, grid)
    raise InputError(
        f"Raw data of {scan.operator.name!r} cannot be tracked; expected radial k-space "
        "(noncartesian-mri), projection-frames or surrogate-frames."
    )


def _band(size: NDArray[np.floating]) -> Integers:
    """Return the bands of frequencies, given as shares of the largest."""
    found: Integers = np.minimum(np.sqrt(np.minimum(size, 1)) * BANDS, BANDS - 1).astype(np.int64)
    return found
