"""What is known of the coefficients of a motion model, frame by frame: a Kalman filter over few
numbers, causal, whose noise is what the model leaves unexplained.

The state is the value and the rate of change of every coefficient. Between frames it follows the
Matern-3/2 process of the model, in closed form (Hartikainen and Sarkka, MLSP 2010,
10.1109/MLSP.2010.5589113). A frame is taken in by Gauss-Newton steps (iterated extended Kalman
filter: Bell and Cathey 1993, 10.1109/9.250476), together with the coefficients of the images that
motion does not explain, which are new in every frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from veridical.models.frame_views import BANDS, FrameViews
from veridical.models.motion_model import REST, WIDER, MotionModel
from veridical.types import Array

Reals = NDArray[np.float64]

STEPS = 3
"""Gauss-Newton steps a frame."""
CLOSE = 1e-2
"""Change of the coefficients below which no further step is taken."""
MEMORY = 0.8
"""Share of what was thought of the noise before a frame that is kept after it."""


@dataclass(frozen=True, eq=False)
class FrameBelief:
    """What is known of the body in one frame.

    Args:
        weights: `(mode + image,)` coefficients: of motion, then of images.
        cover: `(mode + image, mode + image)`, their covariance after the frame's own measurements.
        before: the same before them.
        predicted: `(mode,)`, what was expected.
        misfit: residual over what is expected of it, in variance; 1 is usual.
        left: residual over the data, root mean square.
        rate, joint: `(mode,)` rate of change and covariance `(2 mode, 2 mode)` of values and rates.
    """

    weights: Reals
    cover: Reals
    before: Reals
    predicted: Reals
    misfit: float
    left: float
    rate: Reals
    joint: Reals


@dataclass(frozen=True, eq=False)
class Expected:
    """What is known of errors before anything is tracked.

    Args:
        bands: `(BANDS,)` variance per real component of what the model leaves unexplained,
            measurement noise included.
        factor: by which the variance of the filter was too small on the reference, at least 1.
        misfits: of the frames of the reference, for comparison.
    """

    bands: Reals
    factor: float = 1.0
    misfits: Reals = field(default_factory=lambda: np.ones(1))


class Believing(ABC):
    """What all filters share: the process of the coefficients between frames.

    Args:
        model: of the body.
    """

    def __init__(self, model: MotionModel) -> None:
        self.model, self.modes, self.images = model, len(model.modes), len(model.images)
        self.amplitude = WIDER**2 * np.ones(self.modes)

    @abstractmethod
    def _taken_in(self, frame: int, value: Reals, joint: Reals) -> FrameBelief:
        """Return what is known after the measurements of a frame, given mean `(2 mode,)` and
        covariance of values and rates before them.
        """

    def track(self, seconds: Sequence[float] | Reals) -> Iterator[FrameBelief]:
        """Yield what is known after each frame; nothing later is used.

        Args:
            seconds: `(frame,)`, when, in order.
        """
        rate2 = self.amplitude * self.model.rates**2
        value, joint = np.zeros(2 * self.modes), np.diag(np.concatenate([self.amplitude, rate2]))
        last = float(seconds[0])
        for frame, now in enumerate(seconds):
            value, joint = self._ahead(value, joint, float(now) - last)
            belief = self._taken_in(frame, value, joint)
            yield belief
            value = np.concatenate([belief.weights[: self.modes], belief.rate])
            joint, last = belief.joint, float(now)

    def _ahead(self, value: Reals, joint: Reals, gap: float) -> tuple[Reals, Reals]:
        """Return mean and covariance of values and rates after `gap` seconds."""
        rate = self.model.rates
        fade = np.exp(-rate * gap)
        step = np.block([
            [np.diag(fade * (1 + rate * gap)), np.diag(fade * gap)],
            [np.diag(-fade * rate**2 * gap), np.diag(fade * (1 - rate * gap))],
        ])  # fmt: skip
        still = np.diag(np.concatenate([self.amplitude, self.amplitude * rate**2]))
        new = step @ joint @ step.T + still - step @ still @ step.T
        new[: self.modes, : self.modes] += REST * np.eye(self.modes) * (gap > 0)
        return step @ value, new


class MotionFilter(Believing):
    """A filter for a sequence of few measurements a frame.

    Args:
        model: of the body.
        views: what was measured.
        expected: the errors.
    """

    def __init__(self, model: MotionModel, views: FrameViews, expected: Expected) -> None:
        super().__init__(model)
        self.views, self.expected, self.louder = views, expected, 1.0

    def _taken_in(self, frame: int, value: Reals, joint: Reals) -> FrameBelief:
        k, m = self.modes, self.images
        before = np.zeros((2 * k + m, 2 * k + m))
        before[: 2 * k, : 2 * k] = joint
        before[2 * k :, 2 * k :] = np.eye(m)
        start = np.concatenate([value, np.zeros(m)])
        seen = [*range(k), *range(2 * k, 2 * k + m)]
        information, data = np.linalg.inv(before), self.views.data[frame]
        variance = self.expected.bands[self.views.bands(frame)] * self.expected.factor
        variance = variance * self.louder
        here = start.copy()
        nothing = np.empty((0, data.size), np.complex64)
        images = self.views.predicted(frame, self.model.images) if m else nothing
        for _ in range(STEPS):
            residual, slopes = self._compared(frame, data, here[seen], images)
            weighted = slopes.conj() / variance
            precision = information.copy()
            precision[np.ix_(seen, seen)] += (weighted @ slopes.T).real
            pull = information @ (start - here)
            pull[seen] += (weighted @ residual).real
            step = np.linalg.solve(precision, pull)
            here = here + step
            if np.abs(step[:k]).max() < CLOSE:
                break
        after = np.linalg.inv(precision)
        left = residual - step[seen] @ slopes
        misfit = float(np.mean(np.abs(left) ** 2 / variance)) / 2 * self.louder
        self.louder = max(1.0, MEMORY * self.louder + (1 - MEMORY) * misfit)
        return FrameBelief(
            here[seen], after[np.ix_(seen, seen)], before[np.ix_(seen, seen)], value[:k], misfit,
            float(np.linalg.norm(left) / max(float(np.linalg.norm(data)), 1e-30)),
            here[k : 2 * k], after[: 2 * k, : 2 * k],
        )  # fmt: skip

    def _compared(
        self, frame: int, data: Array, weights: Reals, images: Array
    ) -> tuple[Array, Array]:
        """Return measured less predicted `(n,)` and the derivatives of what is predicted, `(mode +
        image, n)`.

        Args:
            frame: number.
            data: `(n,)`.
            weights: `(mode + image,)`.
            images: `(image, n)`, what would be measured of the images of the model.
        """
        image, slopes = self.model.rendered(weights[: self.modes])
        found = self.views.predicted(frame, np.concatenate([image[None], slopes]))
        rest = weights[self.modes :].astype(np.float32) @ images
        return data - found[0] - rest, np.concatenate([found[1:], images])


def errors_on_reference(
    model: MotionModel, frames: Array, seconds: Reals, views: FrameViews, noise: float
) -> Expected:
    """Return what the model leaves unexplained, from the reference measured as the frames were.

    Args:
        model: of the body.
        frames: `(t, x, y, z)` of the reference.
        seconds: `(t,)`, when.
        views: of the frames to track: frame i of the reference is measured as frame i of them.
        noise: standard deviation of a measurement per real component, in the units of the views.
    """
    replay = Replayed(views, np.asarray(frames, np.float32))
    sums, counts = np.zeros(BANDS), np.zeros(BANDS)
    for frame, weights in enumerate(model.course):
        over = (
            replay.data[frame]
            - views.predicted(replay.source(frame), model.rendered(weights)[0][None])[0]
        )
        bands = replay.bands(frame)
        sums += np.bincount(bands, np.abs(over) ** 2 / 2, BANDS)
        counts += np.bincount(bands, minlength=BANDS)
    variance = _filled(sums, counts) + noise**2
    expected = Expected(variance)
    beliefs = list(MotionFilter(model, replay, expected).track(seconds))
    return replace(
        expected, factor=_factor(model, beliefs), misfits=np.array([b.misfit for b in beliefs])
    )


class Replayed(FrameViews):
    """The reference, measured as other frames were.

    Args:
        views: of those frames.
        frames: `(t, x, y, z)` of the reference.
    """

    def __init__(self, views: FrameViews, frames: Array) -> None:
        self.views, self.count = views, len(frames)
        self.data = np.stack(
            [views.predicted(self.source(t), frame[None])[0] for t, frame in enumerate(frames)]
        )

    def source(self, frame: int) -> int:
        """Return the frame that this one is measured as."""
        return frame % self.views.count

    def bands(self, frame: int) -> NDArray[np.int64]:
        return self.views.bands(self.source(frame))

    def predicted(self, frame: int, images: Array) -> Array:
        return self.views.predicted(self.source(frame), images)


def _filled(sums: Reals, counts: Reals) -> Reals:
    """Return the mean of each band; a band without samples gets that of the next one inwards."""
    found = np.divide(sums, counts, out=np.full(BANDS, np.nan), where=counts > 0)
    known = np.flatnonzero(counts)
    return np.asarray(np.interp(np.arange(BANDS), known, found[known]))


def _factor(model: MotionModel, beliefs: Sequence[FrameBelief]) -> float:
    """Return how much larger the errors of the coefficients were than the filter said, in
    variance.
    """
    k = len(model.modes)
    found = []
    for belief, truth in zip(beliefs, model.course, strict=True):
        off = belief.weights[:k] - truth
        found.append(off @ np.linalg.solve(belief.cover[:k, :k] + REST * np.eye(k), off) / k)
    return max(1.0, float(np.mean(found)))
