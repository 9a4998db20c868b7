"""What is measured of a body while it moves, frame by frame: a few projections or a surrogate
signal. Radial k-space is a `NoncartesianScan` whose slices are the frames.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from veridical.errors import GeometryError
from veridical.types import Array, readonly


@dataclass(frozen=True, eq=False)
class ProjectionFrames:
    """X-ray projections by parallel rays, `data` `(frame, view, z, detector)` line integrals.

    The planes of a volume are projected each for itself, which is a beam without divergence along
    z; a slice has one plane.

    Args:
        angles: `(frame, view)` radians, as of `ParallelBeam`.
        pitch: mm of a detector bin; None: the smaller pixel size.

    Raises:
        GeometryError: the angles are no finite table.
    """

    angles: Array
    pitch: float | None = None
    name: str = "projection-frames"

    def __post_init__(self) -> None:
        angles = np.asarray(self.angles, np.float32)
        if angles.ndim != 2 or not angles.size or not np.isfinite(angles).all():
            raise GeometryError(
                f"Angles of shape {angles.shape}; expected finite (frame, view). For one view a "
                "frame: angles[:, None]."
            )
        object.__setattr__(self, "angles", readonly(angles))

    def describe(self) -> dict[str, Any]:
        """Return the numbers of frames and views, the pitch and a hash of the angles."""
        frames, views = self.angles.shape
        return {
            "operator": self.name,
            "frames": frames,
            "views": views,
            "pitch": self.pitch,
            "angles": _digest(self.angles),
        }


@dataclass(frozen=True, eq=False)
class SurrogateFrames:
    """A signal that goes with the motion, `data` `(frame, signal)`: a belt, a camera, an ECG phase.

    Args:
        reference: `(reference frame, signal)`, the same signal while the reference was measured.
    """

    reference: Array
    name: str = "surrogate-frames"

    def __post_init__(self) -> None:
        signal = np.asarray(self.reference, np.float64)
        if signal.ndim != 2 or not signal.size or not np.isfinite(signal).all():
            raise GeometryError(
                f"A reference signal of shape {signal.shape}; expected finite (frame, signal). For "
                "one signal: signal[:, None]."
            )
        object.__setattr__(self, "reference", readonly(signal))

    def describe(self) -> dict[str, Any]:
        """Return the numbers of frames and signals and a hash of the reference signal."""
        frames, signals = self.reference.shape
        return {
            "operator": self.name,
            "reference frames": frames,
            "signals": signals,
            "reference": _digest(self.reference),
        }


def _digest(array: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
