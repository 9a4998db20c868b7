"""A moving body under a scanner: a reference sequence, then a few measurements a frame, with the
true motion of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from veridical.errors import SettingError
from veridical.phantoms.moving_body import Look, Moving
from veridical.physics.frames import ProjectionFrames, SurrogateFrames
from veridical.physics.low_dose import attenuation
from veridical.physics.noncartesian_mri import NoncartesianMRI, NoncartesianScan, radial
from veridical.physics.parallel_beam import ParallelBeam
from veridical.physics.projection import turn
from veridical.types import Array, Image, Measurement, Noise, Study

Reals = NDArray[np.float64]
Means = Literal["spokes", "projections", "surrogate"]

VIEWS = {1: (90.0,), 2: (45.0, 135.0)}
"""Number of projections -> their angles in degrees; 0 looks along the rows of a plane."""


@dataclass(frozen=True, eq=False)
class CineScan:
    """One slice of a body that moves, or all of it.

    Args:
        body: while the reference is measured.
        later: the same body while it is tracked: another session.
        index: of the slice; None: the whole volume.
        along: axis that slices are counted along: 0 sagittal, 1 coronal, 2 axial.
        look: `bSSFP` or `CT`.
        noise: of the reference, as of `Moving.image`.
    """

    body: Moving
    later: Moving
    index: int | None = None
    along: int = 2
    look: Look = "bSSFP"
    noise: float = 0.03

    def reference(self, seconds: Sequence[float] | Reals) -> Image:
        """Return the reference sequence: a channel a frame, with their times."""
        return self._frames(self.body, seconds, self.noise)

    def truth(self, seconds: Sequence[float] | Reals) -> Image:
        """Return the frames to be found, without noise."""
        return self._frames(self.later, seconds, 0.0)

    def motion(self, moving: Moving, rest: float, seconds: float) -> Array:
        """Return where the tissue of each voxel of `body` at `rest` s is at a time of a session,
        relative to where it was: `(x, y, z, 3)` mm.
        """
        slices = None if self.index is None else [self.index]
        points = self.body.points(slices, 1, self.along)
        shift = moving.moved(self.body.at_rest(points, rest), seconds) - points
        shape = list(self.body.geometry.shape)
        if slices is not None:
            shape[self.along] = 1
        return np.asarray(shift.reshape(*shape, 3), np.float32)

    def study(
        self, before: Reals, seconds: Reals, means: Means, number: int = 1, noise: float = 0.0
    ) -> Study:
        """Return reference and measurements, as `veridical track` takes them.

        Args:
            before: `(t,)` s of the reference.
            seconds: `(frame,)` s of the frames to be tracked, from the start of their session.
            means: what is measured of them.
            number: of spokes or projections a frame.
            noise: of a measurement: a share of the root mean square of all, or of a usual signal.
        """
        scan = self.measured(before, seconds, means, number, noise)
        return Study("phantom", {0.0: {"reference": self.reference(before), "frames": scan}})

    def measured(
        self, before: Reals, seconds: Reals, means: Means, number: int = 1, noise: float = 0.0
    ) -> Measurement:
        """Return the measurements of the frames; arguments as of `study`."""
        rng = np.random.default_rng((self.later.seed, 17, number))
        header = {"times": tuple(float(s) for s in seconds)}
        if means == "surrogate":
            known, now = (
                np.array([[body.surrogate(s)] for s in times])
                for body, times in ((self.body, before), (self.later, seconds))
            )
            known, now = (one + noise * rng.standard_normal(one.shape) for one in (known, now))
            return Measurement(
                now, SurrogateFrames(known), Noise("gaussian", noise), self.body.geometry, header
            )
        truth = self.truth(seconds)
        planes = np.moveaxis(np.asarray(truth.data), self.along + 1, 1).swapaxes(-2, -1)
        planes = np.ascontiguousarray(planes)
        operator: NoncartesianScan | ProjectionFrames
        if means == "spokes":
            data, operator = _spokes(planes, number)
        elif means == "projections":
            spacing = (self.body.spacing, self.body.spacing)
            data, operator = _projections(planes, spacing, number)
        else:
            raise SettingError(f"means = {means!r}; expected spokes, projections or surrogate.")
        level = noise * float(np.sqrt(np.mean(np.abs(data) ** 2)))
        parts = rng.standard_normal((2, *data.shape), np.float32) * np.float32(level)
        data = data + (parts[0] + 1j * parts[1] if np.iscomplexobj(data) else parts[0])
        kind = np.complex64 if np.iscomplexobj(data) else np.float32
        return Measurement(
            data.astype(kind), operator, Noise("gaussian", level), truth.geometry, header
        )

    def _frames(self, body: Moving, seconds: Sequence[float] | Reals, noise: float) -> Image:
        slices = None if self.index is None else [self.index]
        shown = [body.image(float(s), self.look, noise, slices, self.along) for s in seconds]
        names = tuple(f"frame-{number:04d}" for number in range(1, len(shown) + 1))
        data = np.concatenate([one.data for one in shown])
        times = tuple(float(s) for s in seconds)
        return Image(data, shown[0].geometry, shown[0].units, names, {"times": times})


def _spokes(planes: Array, number: int) -> tuple[Array, NoncartesianScan]:
    """Return k-space `(frame, 1, sample)` of frames `(frame, 1, y, x)`, golden angle throughout."""
    frames, _, rows, columns = planes.shape
    size = min(rows, columns)
    every = radial(number * frames, size, size).reshape(frames, number * size, 2)
    ones = torch.ones(1, 1, rows, columns, dtype=torch.complex64)
    data = [
        NoncartesianMRI(where, ones).forward(torch.from_numpy(plane).to(torch.complex64))
        for where, plane in zip(every, planes, strict=True)
    ]
    return torch.stack(data).numpy(), NoncartesianScan(every.numpy(), (rows, columns))


def _projections(
    planes: Array, spacing: tuple[float, float], number: int
) -> tuple[Array, ProjectionFrames]:
    """Return line integrals `(frame, view, z, detector)` of frames `(frame, z, y, x)` in HU."""
    if number not in VIEWS:
        raise SettingError(
            f"number = {number} projections; expected {' or '.join(map(str, VIEWS))}."
        )
    shape = (planes.shape[-2], planes.shape[-1])
    angles = torch.deg2rad(torch.tensor(VIEWS[number]))
    beam = ParallelBeam(shape, spacing, angles, turn(shape, spacing, min(spacing)))
    data = beam.forward(attenuation(planes)).numpy().swapaxes(1, 2)
    return data, ProjectionFrames(np.tile(angles.numpy(), (len(planes), 1)))
