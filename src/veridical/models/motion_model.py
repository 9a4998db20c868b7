"""A motion model of one body, learned from a reference sequence: a template, a few fields that move
it, and a few images of what motion does not explain.

Principal components of the motion fields (Zhang et al., Med Phys 2007, 10.1118/1.2795831) and, of
the frames that the moved template leaves over, a low-rank subspace (Liang, ISBI 2007,
10.1109/ISBI.2007.356984). How coefficients go on in time is a Gaussian process of the Matern-3/2
kind, whose amplitude and rate are those of the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from veridical.errors import InputError
from veridical.models import frame_registration as registration
from veridical.models.warped import inverse, rendered, warped
from veridical.physics.noise import MAD
from veridical.task import Progress, silent
from veridical.types import Array

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]

EXPLAINED = 0.95
"""Share of the variance of the fields that the modes explain, where so many are allowed."""
WIDER = 1.5
"""Standard deviations of the coefficients that are expected, relative to those of the reference:
breaths to come may be deeper.
"""
RATES = np.geomspace(0.2, 40.0, 60)
"""Rates in 1/s among which that of the process is found."""
CLEAR = 1.2
"""Size of a component, over what noise alone makes at most, from which it is kept."""
REST = 1e-2
"""Variance of the coefficients that is no process but error of the registration."""


@dataclass(frozen=True, eq=False)
class MotionModel:
    """What was learned of one body.

    Args:
        template: `(x, y, z)`, the body in the frame `rest`, without noise.
        rest: number of that frame.
        mean: `(3, x, y, z)` voxels: where each voxel of a frame comes from in the template, on
            average.
        modes: `(mode, 3, x, y, z)` voxels per unit of a coefficient.
        course: `(t, mode)`, coefficients of the reference frames; standard deviation 1 each.
        rates: `(mode,)` 1/s of the process.
        images: `(image, x, y, z)`, what motion does not explain, per unit of a coefficient.
        left: `(x, y, z)` standard deviation of what neither explains, without noise.
        unsure: `(3, x, y, z)` voxels, standard deviation of the single fields around the model.
        noise: standard deviation of a voxel of the reference.
        explained: share of the variance of the fields that the modes explain.
    """

    template: Floats
    rest: int
    mean: Floats
    modes: Floats
    course: Reals
    rates: Reals
    images: Floats
    left: Floats
    unsure: Floats
    noise: float
    explained: float

    def rendered(self, weights: Reals) -> tuple[Floats, Floats]:
        """Return the image at some coefficients, `(x, y, z)`, and its derivatives, `(mode, x, y,
        z)`.
        """
        return rendered(self.template, self.mean, self.modes, weights.astype(np.float32))

    def field(self, weights: Reals) -> Floats:
        """Return where each voxel of a frame comes from in the template, `(3, x, y, z)` voxels."""
        return np.asarray(self.mean + np.tensordot(weights.astype(np.float32), self.modes, 1))

    def motion(self, weights: Reals) -> tuple[Floats, Floats]:
        """Return where the tissue of each voxel of the template went, `(3, x, y, z)` voxels, and
        its derivatives by the coefficients, `(mode, 3, x, y, z)`.
        """
        forward = inverse(self.field(weights))
        slopes = np.stack([[-warped(part, forward) for part in mode] for mode in self.modes])
        return forward, slopes.astype(np.float32)

    @cached_property
    def most(self) -> Reals:
        """The largest size of each coefficient in the reference, `(mode, 2)`: least and most."""
        return np.stack([self.course.min(0), self.course.max(0)], -1)


def learned(
    frames: Array, seconds: Reals, modes: int, images: int, progress: Progress = silent,
    explained: float = EXPLAINED,
) -> MotionModel:  # fmt: skip
    """Learn the model of a body.

    Args:
        frames: `(t, x, y, z)` real, of a slice or a volume.
        seconds: `(t,)`, when.
        modes: at most so many motion modes.
        images: so many images of what motion does not explain.
        progress: told after every frame.
        explained: share of the variance of the fields for which modes are taken, where `modes` are
            enough.

    Raises:
        InputError: too few frames, or nothing moves.
    """
    if len(frames) < registration.LEAST:
        raise InputError(
            f"{len(frames)} frames were given; motion is learned from {registration.LEAST} or "
            "more, best from several breaths or beats. Give a longer reference."
        )
    data = np.ascontiguousarray(frames, np.float32)
    rest = registration.middle_frame(data)
    first = registration.fields_to(data, data[rest], progress=progress)
    kept = _components(first, modes, explained)
    template = registration.average_at_rest(data, kept.fields)
    fields = registration.fields_to(data, template, kept.fields, progress)
    kept = _components(fields, modes, explained)
    shown = [rendered(template, f, kept.modes[:0], np.empty(0, np.float32))[0] for f in kept.fields]
    over = data - np.stack(shown)
    noise = _noise(data)
    subspace, left = _subspace(over, min(images, len(data) - 2), noise)
    return MotionModel(
        template, rest, kept.mean, kept.modes, kept.course, _rates(kept.course, seconds),
        subspace, left, (fields - kept.fields).std(0), noise, kept.explained,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Kept:
    mean: Floats
    modes: Floats
    course: Reals
    fields: Floats
    explained: float


def _components(fields: Floats, most: int, explained: float) -> _Kept:
    """Return the principal components of motion fields `(t, 3, x, y, z)`."""
    mean = fields.mean(0)
    flat = (fields - mean).reshape(len(fields), -1)
    u, size, v = np.linalg.svd(flat, full_matrices=False)
    if size[0] < 1e-3 * np.sqrt(flat.size):
        raise InputError(
            "Nothing moves in the reference; expected a sequence of the motion that is to be "
            "tracked. Give the frames of one slice or volume over time."
        )
    shares = np.cumsum(size**2) / np.sum(size**2)
    count = min(most, int(np.searchsorted(shares, explained)) + 1, len(size) - 1)
    unit = size[:count] / np.sqrt(len(fields))
    modes = (v[:count] * unit[:, None]).reshape(count, *fields.shape[1:]).astype(np.float32)
    course = u[:, :count] * np.sqrt(len(fields))
    kept = mean + np.tensordot(course.astype(np.float32), modes, 1)
    return _Kept(mean, modes, course, kept, float(shares[count - 1]))


def _subspace(over: Floats, count: int, noise: float) -> tuple[Floats, Floats]:
    """Return at most `count` images that explain most of what motion leaves over, and the standard
    deviation of the rest without noise. Components that noise alone could make (the edge of the
    Marchenko-Pastur law) are none.
    """
    flat = over.reshape(len(over), -1)
    mean = flat.mean(0)
    u, size, v = np.linalg.svd(flat - mean, full_matrices=False)
    edge = noise * (np.sqrt(flat.shape[1]) + np.sqrt(len(flat)))
    count = min(count, int(np.count_nonzero(size > CLEAR * edge)))
    images = v[:count] * (size[:count] / np.sqrt(len(over)))[:, None]
    rest = flat - (u[:, :count] * size[:count]) @ v[:count]
    # the template is a median of all frames, which has noise left itself
    least = np.pi / 2 * noise**2 / len(over)
    left = np.sqrt(np.maximum((rest**2).mean(0) - noise**2, 0) + least).reshape(over.shape[1:])
    return images.reshape(-1, *over.shape[1:]).astype(np.float32), left.astype(np.float32)


def _noise(frames: Floats) -> float:
    """Return the standard deviation of the noise in what is bright, by the Laplacian of Immerkaer
    (CVIU 1996, 10.1006/cviu.1996.0060), robustly.
    """
    across = [axis for axis in range(1, 4) if frames.shape[axis] > 1][:2]
    found, bright = frames, frames > frames.mean((1, 2, 3), keepdims=True)
    for axis in across:
        found = ndimage.convolve1d(found, np.array([1.0, -2.0, 1.0]) / np.sqrt(6), axis)
    return float(np.median(np.abs(found[bright])) / MAD)


def _rates(course: Reals, seconds: Reals) -> Reals:
    """Return the rate of each coefficient's process, 1/s: the likeliest."""
    gaps = np.abs(seconds[:, None] - seconds[None])
    found = []
    for values in course.T:
        scores = []
        for rate in RATES:
            cover = (1 + rate * gaps) * np.exp(-rate * gaps) + REST * np.eye(len(values))
            lower = np.linalg.cholesky(cover)
            white = np.linalg.solve(lower, values)
            scores.append(-0.5 * white @ white - np.log(np.diag(lower)).sum())
        found.append(RATES[int(np.argmax(scores))])
    return np.array(found)
