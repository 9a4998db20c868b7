"""Frames between frames: the tissue of both neighbours brought to the time between them along its
path, where that makes them agree.

A motion model of few fields is learned from the sequence. Its coefficients are interpolated over
time by cubic splines, so that paths bend and speeds change, where plain optical flow between two
frames goes straight. What an image holds beyond motion comes from the neighbours, weighted by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

from veridical.models.motion_model import MotionModel, learned
from veridical.models.warped import inverse, warped
from veridical.task import Progress, silent

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]

MODES = 6
"""Motion fields at most."""
NEARBY, LITTLE = 1.5, 0.2
"""Voxels (standard deviation) over which disagreement is averaged, and the least that counts, as a
share of the noise.
"""
EXPLAINED = 0.99
"""Share of the motion that they explain, where so many are enough."""


@dataclass(frozen=True, eq=False)
class TimeInterpolation:
    """A sequence whose frames are known at some times.

    Args:
        frames: `(t, x, y, z)`.
        periodic: whether the first frame follows the last.
        model: of the motion.
    """

    frames: Floats
    periodic: bool
    model: MotionModel

    @classmethod
    def of(cls, frames: Floats, periodic: bool, progress: Progress = silent) -> TimeInterpolation:
        """Learn the motion of a sequence.

        Args:
            frames: `(t, x, y, z)`, at equal distances in time.
            periodic: whether the first frame follows the last.
            progress: told after every frame.
        """
        seconds = np.arange(len(frames), dtype=float)
        return cls(
            frames, periodic, learned(frames, seconds, MODES, 0, progress, explained=EXPLAINED)
        )

    def frame(self, place: float, without: Sequence[int] = ()) -> tuple[Floats, Floats]:
        """Return the frame at a time, counted in frames, and how much the two neighbours disagree
        about it, `(x, y, z)` each.

        Args:
            place: 0 is the first frame.
            without: frames that are not to be used, to see how well they are found.
        """
        kept = [n for n in range(len(self.frames)) if n not in without]
        times = np.array(kept, float)
        weights = self._spline(times, self.model.course[kept])(place)
        field = self.model.field(weights)
        before, after, share = self._neighbours(times, place)
        pair = kept[before], kept[after]
        brought = [self._brought(index, field) for index in pair]
        still = [self.frames[index] for index in pair]
        trust = self._trust(brought[1] - brought[0], still[1] - still[0])
        first, second = (
            trust * one + (1 - trust) * other for one, other in zip(brought, still, strict=True)
        )
        image = (1 - share) * first + share * second
        return image.astype(np.float32), np.abs(second - first)

    def linear(self, place: float, without: Sequence[int] = ()) -> Floats:
        """Return the weighted mean of the neighbours; arguments as of `frame`."""
        kept = [n for n in range(len(self.frames)) if n not in without]
        before, after, share = self._neighbours(np.array(kept, float), place)
        return np.asarray(
            (1 - share) * self.frames[kept[before]] + share * self.frames[kept[after]], np.float32
        )

    def _trust(self, moved: Floats, still: Floats) -> Floats:
        """Return the share in [0, 1] of what was brought along the motion, against the neighbours
        as they are: by how much better the two agree then, beyond their noise.
        """
        noise = 2 * self.model.noise**2
        width = [NEARBY if size > 1 else 0.0 for size in moved.shape]
        left = [
            np.maximum(gaussian_filter(one**2, width) - noise, LITTLE * noise + 1e-20)
            for one in (moved, still)
        ]
        return np.asarray(left[1] / (left[0] + left[1]), np.float32)

    def _brought(self, index: int, field: Floats) -> Floats:
        """Return a frame as it would look when the tissue lies as `field` says."""
        back = inverse(self.model.field(self.model.course[index]))
        path = field + np.stack([warped(part, field) for part in back])
        return warped(self.frames[index], path.astype(np.float32))

    def _spline(self, times: Reals, course: Reals) -> CubicSpline:
        if not self.periodic:
            return CubicSpline(times, course)
        around = np.concatenate([times, [times[0] + len(self.frames)]])
        return CubicSpline(around, np.concatenate([course, course[:1]]), bc_type="periodic")

    def _neighbours(self, times: Reals, place: float) -> tuple[int, int, float]:
        """Return positions of the neighbours in `times`, and the share of the second."""
        after = int(np.searchsorted(times, place, "right"))
        length, count = len(self.frames), len(times)
        if not self.periodic:
            after = min(max(after, 1), count - 1)
        start = times[(after - 1) % count] - length * (after == 0)
        end = times[after % count] + length * (after == count)
        return (after - 1) % count, after % count, float((place - start) / (end - start))
