"""Interpolate in time: two or four times as many frames of a cine, by the motion of the tissue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from veridical.errors import InputError, SettingError
from veridical.task import Progress, Takes, Task
from veridical.types import Array, Evidence, Finding, Image, Interval, Result, Study

if TYPE_CHECKING:
    from veridical.models.time_interpolation import TimeInterpolation

Floats = NDArray[np.float32]

LEVEL = 0.9
LEAST = 6
"""Frames that a sequence must have."""
MOVES = 0.1
"""Temporal standard deviation, relative to the largest of a voxel, from which a voxel moves."""
ABOUT = (
    "the frame at its time: 1 where it was measured; between frames the share of the variance over "
    "time that the neighbours explain, as far as held-out frames tell"
)


@dataclass(frozen=True)
class InterpolateTime(Task):
    """Make frames between the frames of a cine, from the motion of the tissue.

    The channels of the image, or the images of the visit, are the frames, at equal distances in
    time. Held-out frames decide whether motion compensation is used: where linear interpolation is
    better, that is. All frames that are made are imagined.
    """

    takes: ClassVar[Takes] = "visit"

    factor: Literal[2, 4] = 2
    """Frames for each frame."""
    cyclic: bool = True
    """Whether the first frame follows the last, as of one heart beat or breath."""

    def __post_init__(self) -> None:
        if self.factor not in (2, 4):
            raise SettingError(f"factor = {self.factor}; expected 2 or 4.")

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.models.time_interpolation import TimeInterpolation

        image = study.image()
        frames = _checked(image)
        sequence = TimeInterpolation.of(frames, self.cyclic, progress)
        errors = held_out(sequence, self.cyclic)
        by_motion = errors.motion <= errors.linear
        places = self.places(len(frames))
        made = list(_made(sequence, places, by_motion))
        data = np.stack([one for one, _ in made])
        half = np.stack([errors.width(spread, by_motion) for _, spread in made])
        measured = np.array([place.is_integer() for place in places])
        half[measured] = 0
        names = tuple(f"t{place + 1:07.2f}" for place in places)
        units = image.units_of(image.channels[0])
        changes = np.maximum(frames.std(0), 1e-12)
        evidence = np.clip(1 - (half / 1.645 / changes) ** 2, 0, 1)
        evidence[measured] = 1
        progress("interpolating", 1, 1)
        band = Interval(
            data - half, data + half, LEVEL, 1,
            "held-out frames of this sequence, each found from neighbours twice as far away",
            "On average over the frames that were held out, 90 % of the voxels lay inside. It says "
            "nothing about what happened between two frames and left no trace in either.",
        )  # fmt: skip
        return Result(
            Image(data, image.geometry, units, names, {"places": tuple(places)}),
            "point estimate", interval=band, evidence=Evidence(evidence, about=ABOUT),
            findings=(errors.finding(by_motion),),
            absent={"draws": "Interpolation in time has no posterior to draw from."},
            facts={"measured": study.visit()},
        )  # fmt: skip

    def places(self, count: int) -> list[float]:
        """Return the times of all frames, counted in frames from 0."""
        last = count if self.cyclic else count - 1 + 1 / self.factor
        return [float(place) for place in np.arange(0, last - 1e-9, 1 / self.factor)]

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        return self, names, tuple(f"t{place + 1:07.2f}" for place in self.places(len(names)))

    def model_and_weights(self) -> tuple[str, str]:
        return "time-interpolation", "none"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What held-out frames said.

    Args:
        motion, linear: root mean square error where something moves.
        local: `(x, y, z)` root mean square error by motion, of the frames together.
        local_linear: the same by linear interpolation.
        multiplier: of `local` and the disagreement of the neighbours, for 90 %.
    """

    motion: float
    linear: float
    local: Array
    local_linear: Array
    multiplier: tuple[float, float]

    def width(self, disagreement: Array, by_motion: bool) -> Array:
        """Return the half-width of the interval of a frame."""
        base = self.local if by_motion else self.local_linear
        size = np.sqrt(base**2 + (disagreement / 2) ** 2)
        return np.asarray(self.multiplier[0 if by_motion else 1] * size, np.float32)

    def finding(self, by_motion: bool) -> Finding:
        """Say which way was taken, and why."""
        gain = 20 * float(np.log10(max(self.linear, 1e-12) / max(self.motion, 1e-12)))
        evidence = {"rms_motion": self.motion, "rms_linear": self.linear, "gain_db": round(gain, 2)}
        said = (
            f"Where something moves, held-out frames were found {gain:+.1f} dB better along the "
            "motion than by linear interpolation"
        )
        if by_motion:
            return Finding("held-out frames", "pass", f"{said}.", evidence)
        return Finding("held-out frames", "warn", f"{said}; so frames are linear.", evidence)


def held_out(sequence: TimeInterpolation, cyclic: bool) -> HeldOut:
    """Find every frame from the others, as if it had not been measured, by motion and linearly."""
    frames = sequence.frames
    inner = range(len(frames)) if cyclic else range(1, len(frames) - 1)
    pairs = [sequence.frame(float(n), (n,)) for n in inner]
    off = np.stack([found - frames[n] for n, (found, _) in zip(inner, pairs, strict=True)])
    other = np.stack([sequence.linear(float(n), (n,)) - frames[n] for n in inner])
    far = np.stack([spread for _, spread in pairs])
    moves = frames.std(0) > MOVES * frames.std(0).max()
    local, straight = (np.sqrt((one**2).mean(0)) for one in (off, other))
    factors = []
    for error, base in ((off, local), (other, straight)):
        size = np.maximum(np.sqrt(base**2 + (far / 2) ** 2), 1e-12)
        factors.append(float(np.quantile((np.abs(error) / size)[:, moves], LEVEL)))
    return HeldOut(
        float(np.sqrt((off[:, moves] ** 2).mean())), float(np.sqrt((other[:, moves] ** 2).mean())),
        local, straight, (factors[0], factors[1]),
    )  # fmt: skip


def _made(
    sequence: TimeInterpolation, places: list[float], by_motion: bool
) -> Iterator[tuple[Floats, Floats]]:
    """Yield each frame, and how much its neighbours disagree about it."""
    for place in places:
        if place.is_integer():
            frame = sequence.frames[int(place)]
            yield frame, np.zeros_like(frame)
            continue
        image, far = sequence.frame(place)
        yield (image if by_motion else sequence.linear(place)), far


def _checked(image: Image) -> Floats:
    """Return the frames `(t, x, y, z)`.

    Raises:
        InputError: too few, complex, or with NaN.
    """
    if len(image.channels) < LEAST:
        raise InputError(
            f"The image has {len(image.channels)} channels; expected {LEAST} frames or more of a "
            "cine, a channel each. A file of four axes has them."
        )
    if np.iscomplexobj(image.data) or not np.isfinite(image.data).all():
        raise InputError("The frames are complex, or hold NaN or infinities; expected magnitudes.")
    return np.asarray(image.data, np.float32)
