"""Track: the moving image and its motion, frame by frame, from a reference sequence and a few
measurements of each frame.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from veridical.errors import InputError, SettingError, UnitsError
from veridical.task import Progress, Takes, Task
from veridical.types import (
    Array,
    Evidence,
    Finding,
    Geometry,
    Image,
    Interval,
    Measurement,
    Result,
    Study,
)

if TYPE_CHECKING:
    from veridical.models.motion_filter import Believing, FrameBelief
    from veridical.models.motion_model import MotionModel

Reals = NDArray[np.float64]

REFERENCE, FRAMES = "reference", "frames"
WIDTHS = {"image": 1.9, "motion": 2.35}
"""Half-widths of the intervals in standard deviations: what 90 % of the voxels of the calibration
bodies need (`benchmarks/track.py calibrate`); 1.645 if all were Gaussian.
"""
BODIES = 4
"""Calibration bodies: slim abdomens and hearts with regular motion."""
AXES = ("x", "y", "z")
IMAGE_ABOUT = (
    "the frame, given all frames before it: the share of its variance that its own measurements "
    "took away; 0 where it is owed to the reference and to earlier frames"
)
MOTION_ABOUT = (
    "the motion, given all frames before: the share of its variance that the frame's own "
    "measurements took away"
)


@dataclass(frozen=True)
class Track(Task):
    """Follow a moving body from a few measurements a frame: causal, with motion in mm.

    A motion model and a low-rank image model are learned from a reference sequence of the same
    body. Each frame then needs a few spokes of radial k-space, one or two projections, or a
    surrogate signal. The result has the images, their intervals, what the frame's own measurements
    determined, and in `motion` the motion fields with theirs. Research only: no beam may be steered
    by it.
    """

    takes: ClassVar[Takes] = "sequence"

    modes: int = 3
    """Motion fields that are combined, at most; fewer where they explain 95 % of the motion."""
    images: int = 3
    """Images of what motion does not explain, such as contrast that comes and goes; 0 for none."""
    draws: int = 0
    """Samples of each frame; 0 writes none."""
    point: tuple[float, ...] = ()
    """Position in mm, three numbers, whose motion the report shows: --point 60 --point 5 --point
    -10; the one that moves most when not given.
    """

    def __post_init__(self) -> None:
        for name, least in (("modes", 1), ("images", 0), ("draws", 0)):
            if getattr(self, name) < least:
                raise SettingError(f"{name} = {getattr(self, name)}; expected {least} or more.")
        if self.point and len(self.point) != 3:
            raise SettingError(f"point = {self.point}; expected three numbers in mm: x, y, z.")

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.models.motion_model import learned
        from veridical.tasks import track_findings

        reference, scan = _given(study)
        before, seconds = (np.asarray(one.header["times"], float) for one in (reference, scan))
        frames, unit = _attenuation(reference, scan)
        model = learned(frames, before, self.modes, self.images, progress)
        tracker = _tracker(model, frames, before, scan, seconds)
        made = Tracked.of(model, reference.geometry, unit, self.draws, seed)
        for number, (belief, waited) in enumerate(timed(tracker, seconds)):
            made.add(belief, waited)
            progress("tracking", number + 1, len(seconds))
        said = tuple(track_findings.findings(model, made, before, seconds, scan.operator.name))
        return made.result(reference, seconds, self.point, said)

    def model_and_weights(self) -> tuple[str, str]:
        return "motion-model", "none"


def timed(tracker: Believing, seconds: Reals) -> Iterator[tuple[FrameBelief, float]]:
    """Yield what is known after each frame, and the ms that it took."""
    going = tracker.track(seconds)
    while True:
        begun = time.perf_counter()
        belief = next(going, None)
        if belief is None:
            return
        yield belief, 1000 * (time.perf_counter() - begun)


@dataclass(eq=False)
class Tracked:
    """Frames as they come.

    Args:
        model: of the body.
        grid: of the images.
        unit: factor and offset from the model to the units of the reference.
        draws: samples of each frame.
        rng: of the samples.
        axes: of the grid along which there is motion.
    """

    model: MotionModel
    grid: Geometry
    unit: tuple[float, float]
    draws: int
    rng: np.random.Generator
    axes: tuple[int, ...]
    images: dict[str, list[Array]] = field(default_factory=dict)
    motion: dict[str, list[Array]] = field(default_factory=dict)
    beliefs: list[FrameBelief] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def of(
        cls, model: MotionModel, grid: Geometry, unit: tuple[float, float], draws: int, seed: int
    ) -> Tracked:
        """Return it without frames."""
        axes = tuple(axis for axis in range(3) if grid.shape[axis] > 1)
        parts = {name: list[Array]() for name in ("value", "sd", "evidence", "draws")}
        other = {name: list[Array]() for name in ("value", "sd", "evidence")}
        return cls(model, grid, unit, draws, np.random.default_rng(seed), axes, parts, other)

    def add(self, belief: FrameBelief, waited: float) -> None:
        """Make image and motion of a frame; `waited` ms were needed for the belief."""
        begun = time.perf_counter()
        self._image(belief)
        self._motion(belief)
        self.beliefs.append(belief)
        self.waits.append((waited, waited + 1000 * (time.perf_counter() - begun)))

    def _image(self, belief: FrameBelief) -> None:
        k, shape = len(self.model.modes), self.grid.shape
        image, slopes = self.model.rendered(belief.weights[:k])
        rest = belief.weights[k:].astype(np.float32)
        value = image + np.tensordot(rest, self.model.images, 1)
        basis = np.concatenate([slopes, self.model.images]).reshape(len(belief.weights), -1)
        left = self.model.left.ravel() ** 2
        after, before = (spread(basis, cover) + left for cover in (belief.cover, belief.before))
        factor, offset = self.unit
        self.images["value"].append(factor * value + offset)
        self.images["sd"].append(factor * np.sqrt(after).reshape(shape))
        self.images["evidence"].append(np.clip(1 - after / before, 0, 1).reshape(shape))
        if self.draws:
            root = np.linalg.cholesky(belief.cover + 1e-9 * np.eye(len(belief.cover)))
            drawn = (root @ self.rng.standard_normal((len(root), self.draws))).T @ basis
            drawn += np.sqrt(left) * self.rng.standard_normal(drawn.shape)
            self.images["draws"].append(
                factor * (value + drawn.reshape(self.draws, *shape)) + offset
            )

    def _motion(self, belief: FrameBelief) -> None:
        k = len(self.model.modes)
        forward, slopes = self.model.motion(belief.weights[:k])
        size = np.array(self.grid.spacing)
        for axis in self.axes:
            basis = slopes[:, axis].reshape(k, -1)
            left = self.model.unsure[axis].ravel() ** 2
            after, before = (
                spread(basis, cover[:k, :k]) + left for cover in (belief.cover, belief.before)
            )
            self.motion["value"].append(size[axis] * forward[axis])
            self.motion["sd"].append(size[axis] * np.sqrt(after).reshape(self.grid.shape))
            share = 1 - after / np.maximum(before, 1e-12)
            self.motion["evidence"].append(np.clip(share, 0, 1).reshape(self.grid.shape))

    def result(
        self, reference: Image, seconds: Reals, point: Sequence[float],
        findings: Sequence[Finding],
    ) -> Result:  # fmt: skip
        """Return images, and motion beside them."""
        from veridical.audit.residual import LIMITS, Misfit

        frames = [f"frame-{number:04d}" for number in range(1, len(self.beliefs) + 1)]
        parts = [f"{frame}-{AXES[axis]}" for frame in frames for axis in self.axes]
        header = {"times": tuple(seconds.tolist())}
        course = self._course(seconds, point)
        moved = self._packed(
            self.motion, Image(_stack(self.motion["value"]), self.grid, "mm", tuple(parts), header),
            WIDTHS["motion"], MOTION_ABOUT,
        )  # fmt: skip
        image = Image(
            _stack(self.images["value"]), self.grid, reference.units, tuple(frames),
            {**header, "course": course},
        )  # fmt: skip
        found = self._packed(self.images, image, WIDTHS["image"], IMAGE_ABOUT)
        facts: dict[str, Any] = {
            "course": course, "latency_ms": self.waits, "beliefs": self.beliefs,
            "model": self.model,
        }  # fmt: skip
        if self.beliefs[0].left:
            usual = float(np.median([belief.misfit for belief in self.beliefs]))
            facts["misfit"] = [
                Misfit(
                    usual, (usual,), (len(self.beliefs),),
                    float(np.median([belief.left for belief in self.beliefs])), 0.0,
                    len(self.beliefs), 2, 0.0, False, LIMITS, "the residual of the median frame",
                )
            ]  # fmt: skip
        return Result(
            found.image, found.kind, found.draws, found.interval, found.evidence, tuple(findings),
            absent=found.absent, facts=facts, also={"motion": moved},
        )  # fmt: skip

    def _packed(
        self, parts: Mapping[str, list[Array]], image: Image, width: float, about: str
    ) -> Result:
        sd = _stack(parts["sd"])
        band = Interval(
            image.data - width * sd, image.data + width * sd, 0.9, BODIES,
            "Gaussian posterior of few coefficients, what they leave over on the reference, and a "
            f"factor of {width / 1.645:.2f} from {BODIES} digital bodies",
            "On average over bodies like the digital ones, 90 % of the voxels of the body lie "
            "inside, frames together. It does not promise this for a single frame or organ, nor "
            "for motion that the reference has not shown.",
        )  # fmt: skip
        drawn = parts.get("draws")
        samples = np.stack(drawn, 1).astype(np.float32) if drawn else None
        why = {} if samples is not None else {"draws": "No samples were asked for: --draws 4."}
        return Result(
            image, "posterior mean", samples, band,
            Evidence(_stack(parts["evidence"]), about=about), absent=why,
        )  # fmt: skip

    def _course(self, seconds: Reals, point: Sequence[float]) -> dict[str, Any]:
        """Return the motion of one point over time, along the axis on which it moves most."""
        count = len(self.axes)
        value, sd = (_stack(self.motion[name]) for name in ("value", "sd"))
        if point:
            place = np.linalg.solve(self.grid.affine, [*point, 1.0])[:3]
            index = tuple(int(n) for n in np.round(place))
            if any(not 0 <= n < size for n, size in zip(index, self.grid.shape, strict=True)):
                raise InputError(f"The point {tuple(point)} mm lies outside of {self.grid}.")
        else:
            bright = np.abs(self.model.template) > 0.2 * np.percentile(self.model.template, 99)
            reach = np.sqrt((self.model.modes[0] ** 2).sum(0)) * bright
            index = tuple(int(n) for n in np.unravel_index(int(reach.argmax()), reach.shape))
        flat = int(np.ravel_multi_index(index, self.grid.shape))
        here = value.reshape(len(value), -1)[:, flat].reshape(-1, count)
        axis = int(np.ptp(here, axis=0).argmax())
        wide = WIDTHS["motion"] * sd.reshape(len(sd), -1)[:, flat].reshape(-1, count)[:, axis]
        where = (self.grid.affine @ [*index, 1.0])[:3]
        return {
            "seconds": [round(float(one), 4) for one in seconds],
            "mm": [round(float(one), 3) for one in here[:, axis]],
            "lower": [round(float(one), 3) for one in here[:, axis] - wide],
            "upper": [round(float(one), 3) for one in here[:, axis] + wide],
            "point_mm": [round(float(one), 1) for one in where],
            "axis": AXES[self.axes[axis]],
        }


def spread(basis: Array, cover: Reals) -> Array:
    """Return the variance `(n,)` of combinations of a basis `(q, n)` whose weights have a
    covariance `(q, q)`.
    """
    return np.asarray(((cover.astype(np.float32) @ basis) * basis).sum(0).clip(0))


def _stack(parts: Sequence[Array]) -> Array:
    return np.stack(parts).astype(np.float32)


def _given(study: Study) -> tuple[Image, Measurement]:
    """Return reference and measurements.

    Raises:
        InputError: one is missing, without times, or holds NaN.
    """
    visit = study.visit()
    reference, scan = visit.get(REFERENCE), visit.get(FRAMES)
    if not isinstance(reference, Image) or not isinstance(scan, Measurement):
        held = ", ".join(visit) or "nothing"
        raise InputError(
            f"Tracking takes a reference sequence and measurements of frames; this holds {held}. "
            "From files: veridical track REFERENCE MEASUREMENTS OUTPUT."
        )
    for name, one, count in (
        (REFERENCE, reference, len(reference.channels)), (FRAMES, scan, len(scan.data))
    ):  # fmt: skip
        times = np.asarray(one.header.get("times", ()), float)
        if times.shape != (count,) or (np.diff(times) <= 0).any():
            raise InputError(
                f"The {name} has {count} frames and {times.size} times; expected one in s each, "
                'rising, in header["times"].'
            )
    if not np.isfinite(reference.data).all() or np.iscomplexobj(reference.data):
        raise InputError(
            "The reference is complex, or holds NaN or infinities; expected finite magnitudes. "
            "The phase of the object belongs to the coil maps of the measurements."
        )
    return reference, scan


def _attenuation(reference: Image, scan: Measurement) -> tuple[Array, tuple[float, float]]:
    """Return the frames of the reference in the units that the operator takes, and factor and
    offset back.
    """
    from veridical.physics.frames import ProjectionFrames
    from veridical.physics.low_dose import WATER, attenuation

    if not isinstance(scan.operator, ProjectionFrames):
        return np.asarray(reference.data, np.float32), (1.0, 0.0)
    if reference.units != "HU":
        raise UnitsError(
            f"Projections were given with a reference in {reference.units!r}; expected CT in HU, "
            "which says what rays lose. Give --units HU if it is."
        )
    return attenuation(reference.data).numpy(), (1000 / WATER, -1000.0)


def _tracker(
    model: MotionModel, frames: Array, before: Reals, scan: Measurement, seconds: Reals
) -> Believing:
    from veridical.models.frame_views import views_of
    from veridical.models.motion_filter import MotionFilter, errors_on_reference
    from veridical.models.surrogate_filter import SurrogateFilter
    from veridical.physics.frames import SurrogateFrames

    if isinstance(scan.operator, SurrogateFrames):
        return SurrogateFilter(model, scan, before, seconds)
    views = views_of(scan, scan.geometry)
    level = scan.noise.level or 0.0
    return MotionFilter(model, views, errors_on_reference(model, frames, before, views, level))
