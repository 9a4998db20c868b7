"""Motion from a signal that goes with it: coefficients by regression on the signal and its rate of
change, both learned on the reference, and filtered as measurements of images are.

The rate tells breathing in from breathing out (Low et al., Med Phys 2005, 10.1118/1.1876253).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veridical.errors import GeometryError, InputError
from veridical.models.motion_filter import Believing, FrameBelief
from veridical.models.motion_model import MotionModel
from veridical.physics.frames import SurrogateFrames
from veridical.types import Measurement

Reals = NDArray[np.float64]

RIDGE = 1e-3
"""Of the regression, relative to the variance of the signal."""


class SurrogateFilter(Believing):
    """A filter for a signal.

    Args:
        model: of the body.
        scan: `(frame, signal)`, its operator `SurrogateFrames`.
        before: `(t,)` s of the reference.
        seconds: `(frame,)` s.

    Raises:
        GeometryError: signals and frames do not fit.
        InputError: the signal holds NaN or infinities, or is constant.
    """

    def __init__(
        self, model: MotionModel, scan: Measurement, before: Reals, seconds: Reals
    ) -> None:
        super().__init__(model)
        operator, now = scan.operator, np.asarray(scan.data, float)
        assert isinstance(operator, SurrogateFrames)
        known = operator.reference
        if now.ndim != 2 or now.shape[1] != known.shape[1] or len(known) != len(before):
            raise GeometryError(
                f"Signals of shape {now.shape}, and {known.shape} for {len(before)} frames of the "
                "reference; expected (frame, signal) with the same signals."
            )
        if not np.isfinite(now).all() or not (known.std(0) > 0).all():
            raise InputError(
                "The surrogate signal holds NaN or infinities, or does not change during the "
                "reference. Give a signal that goes with the motion."
            )
        centre, unit = known.mean(0), known.std(0)
        seen = _features((known - centre) / unit, before)
        square = seen.T @ seen + RIDGE * len(seen) * np.eye(seen.shape[1])
        leverage = np.einsum("ti,ij,tj->t", seen, np.linalg.inv(square), seen)
        regression = np.linalg.solve(square, seen.T @ model.course)
        # errors as of frames that the regression did not see
        left = (model.course - seen @ regression) / (1 - np.minimum(leverage, 0.9))[:, None]
        self.noise = left.T @ left / len(left) + 1e-6 * np.eye(len(model.modes))
        self.found = _features((now - centre) / unit, seconds) @ regression
        self.reach = np.abs((now - centre) / unit).max(1)
        self.usual = float(np.abs((known - centre) / unit).max())

    def _taken_in(self, frame: int, value: Reals, joint: Reals) -> FrameBelief:
        k = self.modes
        gain = joint[:, :k] @ np.linalg.inv(joint[:k, :k] + self.noise)
        off = self.found[frame] - value[:k]
        here, after = value + gain @ off, joint - gain @ joint[:k]
        expected = joint[:k, :k] + self.noise
        misfit = float(off @ np.linalg.solve(expected, off)) / k
        m = self.images
        cover, before = np.eye(k + m), np.eye(k + m)
        cover[:k, :k], before[:k, :k] = after[:k, :k], joint[:k, :k]
        weights = np.concatenate([here[:k], np.zeros(m)])
        return FrameBelief(weights, cover, before, value[:k], misfit, 0.0, here[k:], after)


def _features(signal: Reals, seconds: Sequence[float] | Reals) -> Reals:
    """Return 1, the signals and their rates of change since the last frame, `(t, 1 + 2 signal)`."""
    gaps = np.diff(np.asarray(seconds, float), prepend=np.nan)[:, None]
    rate = np.diff(signal, axis=0, prepend=signal[:1]) / gaps
    rate[0] = 0
    return np.concatenate([np.ones((len(signal), 1)), signal, rate], 1)
