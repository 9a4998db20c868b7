"""What flows between the parts: frozen dataclasses over read-only numpy arrays.

Types know nothing of files or of networks. Arrays are made read-only when they enter, so nothing is
edited in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from veridical.errors import GeometryError, InputError, UnitsError
from veridical.viewable import Viewable, report

if TYPE_CHECKING:
    from veridical.terms import Terms

Array = NDArray[Any]
Verdict = Literal["pass", "warn", "fail", "not_run"]
Level = Literal["integrity", "pixel", "feature", "task", "trust"]

SEVERITY: tuple[Verdict, ...] = ("not_run", "pass", "warn", "fail")
"""Verdicts from the least to the most serious. A check that was not run is no pass, but hides none
either.
"""


def readonly(array: Array) -> Array:
    """Return a read-only view of `array` (the caller's own array stays writable)."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@runtime_checkable
class Operator(Protocol):
    """What a `Measurement` needs of its operator: a name and a plain description for provenance."""

    @property
    def name(self) -> str:
        """The registry name."""

    def describe(self) -> dict[str, Any]:
        """Return settings and hashes that identify the operator, as JSON-ready values."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid in space.

    Args: shape: `(x, y, z)` voxels. affine: `(4, 4)` voxel index to millimetres, RAS+ as in NIfTI.
        frame: frame of reference (a DICOM UID, `scanner`, `mni`), or `index` when no millimetres
        are known: then the affine is the identity and spacing is not to be believed.
    """

    shape: tuple[int, int, int]
    affine: Array
    frame: str = "scanner"

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        if (
            affine.shape != (4, 4)
            or not np.isfinite(affine).all()
            or abs(np.linalg.det(affine[:3, :3])) < 1e-12
        ):
            raise GeometryError(
                f"An affine of shape {affine.shape} was given; expected a finite, invertible 4x4 "
                "matrix. "
                "Pass the affine of the NIfTI header, or use Geometry.index(shape) when no spacing "
                "is known."
            )
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(
                f"Grid shape {self.shape} was given; expected three positive numbers (x, y, z)."
            )
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", readonly(affine.copy()))

    @classmethod
    def index(cls, shape: tuple[int, int, int]) -> Geometry:
        """Return the grid of an array whose spacing is unknown."""
        return cls(shape, np.eye(4), "index")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in millimetres along x, y, z."""
        size = np.sqrt((self.affine[:3, :3] ** 2).sum(0))
        return float(size[0]), float(size[1]), float(size[2])

    def matches(self, other: Geometry, tolerance: float = 1e-3) -> bool:
        """Say whether two grids are the same to `tolerance` millimetres at every corner."""
        if self.shape != other.shape:
            return False
        corners = np.array(
            np.meshgrid(*[(0, n - 1) for n in self.shape], [1], indexing="ij")
        ).reshape(4, -1)
        return bool(np.abs((self.affine - other.affine) @ corners).max() <= tolerance)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Geometry) and self.matches(other, 1e-6) and self.frame == other.frame
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.frame))

    def __str__(self) -> str:
        size = " x ".join(f"{s:g}" for s in self.spacing)
        unit = "voxels of unknown size" if self.frame == "index" else f"voxels of {size} mm"
        return f"{' x '.join(map(str, self.shape))} {unit}"

    def __repr__(self) -> str:
        return f"Geometry({self})"


@dataclass(frozen=True, eq=False, repr=False)
class Image(Viewable):
    """One or several channels on one grid.

    Args: data: `(channel, x, y, z)`, read-only; `units` apply to all channels. geometry: the grid
        of the last three axes. units: `HU`, `SUV`, `ms`, `a.u.` (arbitrary, as in most MR), `1` for
        fractions, `label` for label maps; `mixed` where channels differ: then `header["units"]`
        maps each channel to its own. channels: one name a channel: a contrast (`T1w`, `T2w`,
        `FLAIR`, `PD`, `T1c`) or a modality (`CT`, `PET`). header: what the file said beyond that,
        as plain values.
    """

    data: Array
    geometry: Geometry
    units: str
    channels: tuple[str, ...]
    header: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        data = np.asarray(self.data)
        if data.ndim != 4 or data.shape[1:] != self.geometry.shape:
            raise GeometryError(
                f"Image data of shape {data.shape} on a grid {self.geometry.shape}; expected "
                "(channel, x, y, z) with the "
                "last three axes equal to the grid. Add a channel axis: data[None]."
            )
        if not self.units:
            raise UnitsError(
                "An image needs units: HU, SUV, ms, 'a.u.' for arbitrary ones, '1' for fractions, "
                "'label'."
            )
        channels = (self.channels,) if isinstance(self.channels, str) else tuple(self.channels)
        if len(channels) != data.shape[0]:
            raise InputError(
                f"{data.shape[0]} channels but {len(channels)} names {channels}; give one name a "
                "channel."
            )
        if self.units == "mixed" and not set(channels) <= set(self.header.get("units", {})):
            raise UnitsError(
                "Units are 'mixed', but header['units'] does not name those of every channel. Add "
                "them."
            )
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "data", readonly(data))

    def _whole(self) -> Image:
        return self

    def __repr__(self) -> str:
        named = ", ".join(f"{channel} ({self.units_of(channel)})" for channel in self.channels)
        return f"Image({named}; {self.geometry})"

    def channel(self, name: str) -> Image:
        """Return one channel as an image of its own."""
        units = {key: value for key, value in self.header.items() if key != "units"}
        return Image(self[name][None], self.geometry, self.units_of(name), (name,), units)

    @classmethod
    def stack(cls, images: Sequence[Image]) -> Image:
        """Return images of one grid as the channels of one; the first gives grid and header."""
        first = images[0]
        if len(images) == 1:
            return first
        for image in images[1:]:
            if not image.geometry.matches(first.geometry):
                raise GeometryError(
                    f"{', '.join(image.channels)} has {image.geometry}, "
                    f"{', '.join(first.channels)} has {first.geometry}; "
                    "expected one grid. Read them together, which resamples: --beside FILE, or "
                    "veridical.read_together."
                )
        names = tuple(name for image in images for name in image.channels)
        each = {name: image.units_of(name) for image in images for name in image.channels}
        header = {key: value for key, value in first.header.items() if key != "units"}
        if len(set(each.values())) > 1:
            return cls(
                np.concatenate([i.data for i in images]),
                first.geometry,
                "mixed",
                names,
                {**header, "units": each},
            )
        return cls(
            np.concatenate([i.data for i in images]),
            first.geometry,
            first.units_of(first.channels[0]),
            names,
            header,
        )

    def units_of(self, channel: str) -> str:
        """Return the units of one channel."""
        return str(self.header["units"][channel]) if self.units == "mixed" else self.units

    def __getitem__(self, channel: str) -> Array:
        """Return one channel as `(x, y, z)` by its name."""
        if channel not in self.channels:
            raise InputError(
                f"No channel {channel!r} in this image. It has: {', '.join(self.channels)}."
            )
        return np.asarray(self.data[self.channels.index(channel)])


@dataclass(frozen=True)
class Noise:
    """The noise of a measurement.

    Args: kind: `gaussian` (complex for k-space), `rician`, `poisson`, `poisson_gaussian` or
        `unknown`. level: standard deviation per real component in the units of the data; None when
        not known (it is then estimated).
    """

    kind: str = "unknown"
    level: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Measurement:
    """What was measured: `data = noise(operator(x))`.

    Args: data: the raw numbers. MR k-space: `(slice, coil, ky, kx)` complex64, centred, exact zeros
        where not sampled. CT: `(slice, angle, detector)` line integrals. Otherwise as the
        operator's range says. operator: the physics that made it. noise: kind and level. geometry:
        the grid of the object to be found. header: contrast (`contrast`), field strength (`field`),
        site, and whatever else is known, as plain values.
    """

    data: Array
    operator: Operator
    noise: Noise
    geometry: Geometry
    header: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", readonly(np.asarray(self.data)))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.data.shape))
        return f"Measurement({self.operator.name}, {shape} {self.data.dtype}; {self.geometry})"


@dataclass(frozen=True, eq=False, repr=False)
class Study(Viewable):
    """A patient as far as known: visits by day, each with named images, label maps and raw data.

    Args: id: of the patient. visits: days since the first visit -> name -> image, label map (units
        `label`) or measurement. An image is named after its contrast or modality: `T1w`, `CT`,
        `T1w.2` for a second one. May read when asked. covariates: age, sex, diagnosis, ...;
        whatever the tables of a data set say. report: text. genes: name -> state. notes: what was
        chosen, assumed or changed while reading, one sentence each; results repeat them. source:
        how to read it again: `path` and the options of `veridical.read`; empty when made in memory.
    """

    id: str
    visits: Mapping[float, Mapping[str, Image | Measurement]]
    covariates: Mapping[str, Any] = field(default_factory=dict)
    report: str = ""
    genes: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, subject: Study | Image | Measurement) -> Study:
        """Return the study of one image, whose channels become its images, or of one measurement; a
        study as it is.
        """
        if isinstance(subject, Study):
            return subject
        header = subject.header
        notes = tuple(str(note) for note in header.get("notes", ()))
        if isinstance(subject, Measurement):
            visit: dict[str, Image | Measurement] = {str(header.get("contrast") or "raw"): subject}
        else:
            visit = {name: subject.channel(name) for name in subject.channels}
        return cls(
            str(header.get("patient", "")),
            {0.0: visit},
            notes=notes,
            source=dict(header.get("source", {})),
        )

    def _whole(self) -> Image:
        return self.image()

    def __repr__(self) -> str:
        visits = "; ".join(
            f"day {day:g}: {', '.join(self.visits[day]) or 'nothing'}" for day in self.days
        )
        return f"Study({self.id or 'no id'}; {visits or 'no visit'})"

    @property
    def days(self) -> tuple[float, ...]:
        """The days of all visits, in order."""
        return tuple(sorted(self.visits))

    def visit(self, day: float | None = None) -> Mapping[str, Image | Measurement]:
        """Return the images and measurements of a day; of the last visit when no day is given."""
        if not self.visits:
            raise InputError(
                f"The study of {self.id or 'this patient'} has no visit; expected images or raw "
                "data."
            )
        chosen = self.days[-1] if day is None else day
        if chosen not in self.visits:
            days = ", ".join(f"{known:g}" for known in self.days)
            raise InputError(f"There is no visit at day {chosen:g}. Days of this study: {days}.")
        return self.visits[chosen]

    def image(self, day: float | None = None) -> Image:
        """Return all images of a visit as the channels of one; they must lie on one grid.

        Raises:
            InputError: the visit has raw data only.
            GeometryError: the grids differ; `veridical.read_together` brings images onto one.
        """
        found = [one for one in self.visit(day).values() if isinstance(one, Image)]
        if not found:
            raise InputError(
                "The study has raw data and no image. Reconstruct them first: veridical "
                "reconstruct."
            )
        return Image.stack(found)

    def measurement(self, day: float | None = None) -> Measurement:
        """Return the one measurement of a visit.

        Raises:
            InputError: there is none, or there are several.
        """
        found = {name: one for name, one in self.visit(day).items() if isinstance(one, Measurement)}
        if len(found) != 1:
            held = ", ".join(self.visit(day)) or "nothing"
            raise InputError(
                f"One set of raw data is expected; the visit holds {held}. Choose one, or read raw "
                "data."
            )
        return next(iter(found.values()))


@dataclass(frozen=True)
class Step:
    """One entry of provenance: what was done to what, by which model, with which settings, versions
    and seed.

    `source` says how to read the input again (`path` and the options of `veridical.read`); empty
    when it was made in memory.
    """

    task: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    model: str
    weights: str
    versions: Mapping[str, str]
    seed: int
    outputs: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One check's answer. `evidence` holds the numbers behind the verdict."""

    check: str
    verdict: Verdict
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the most serious verdict; `not_run` where there is no finding."""
    return max((finding.verdict for finding in findings), key=SEVERITY.index, default="not_run")


@dataclass(frozen=True, eq=False)
class Interval:
    """A band per voxel that is to hold the truth at `level`, and what that promise rests on.

    Args:
        lower, upper: `(channel, x, y, z)` in the units of the estimate.
        level: the nominal share of voxels inside, e.g. 0.9.
        patients: number of calibration patients.
        method: how it was calibrated, and on what.
        promises: in words, what it promises and what not.
    """

    lower: Array
    upper: Array
    level: float
    patients: int
    method: str
    promises: str


@dataclass(frozen=True, eq=False)
class Evidence:
    """How much of each voxel is owed to the measurement.

    Args: map: `(channel, x, y, z)` in [0, 1]: `1 - var(x | y, c) / var(x | c)`. 1 measured, 0
        imagined. None where the model gives no draws; `Result.absent` then says so. measured: `A^+
        A x`, the part of the estimate that the measurement fixes (linear A), or None. unmeasured:
        `(I - A^+ A) x`, the part that the prior filled in, or None. about: what of `x` the map is
        about where it is not the voxel as it is, in words; empty otherwise.
    """

    map: Array | None
    measured: Array | None = None
    unmeasured: Array | None = None
    about: str = ""


@dataclass(frozen=True)
class Score:
    """One number of an evaluation, never without its units, its direction and its region."""

    metric: str
    level: Level
    value: float
    units: str
    better: Literal["higher", "lower"]
    interval: tuple[float, float] | None = None
    region: str = "image"
    case: str = ""
    floor: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Result(Viewable):
    """A result: the image and its five companions.

    A companion that could not be computed is None, and `absent` says why; unknown is never written
    as zero.

    Args: image: the estimate; `kind` says which one it is. kind: `posterior mean`, `plug-and-play
        estimate` (fits the data, and the denoiser leaves it alone; near the posterior mean, not the
        same), `one draw` or `point estimate` (no draws). draws: `(draw, channel, x, y, z)` or None.
        absent: companion name -> why it is missing. facts: numbers noted while solving, which the
        audits read: `misfit`, `degraded`, `card`, ...; not saved. also: further results by name,
        for tasks that make several: the visits of a forecast, for instance. study: what it was made
        from, for the report; not saved.
    """

    image: Image
    kind: str
    draws: Array | None = None
    interval: Interval | None = None
    evidence: Evidence | None = None
    findings: tuple[Finding, ...] = ()
    steps: tuple[Step, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, Result] = field(default_factory=dict)
    study: Study | None = None

    def _whole(self) -> Image:
        return self.image

    def __repr__(self) -> str:
        band = "no interval" if self.interval is None else f"{self.interval.level:.0%} interval"
        named = ", ".join(
            f"{channel} ({self.image.units_of(channel)})" for channel in self.image.channels
        )
        return (
            f"Result({self.kind}: {named}; {self.image.geometry}; {band}; worst finding: "
            f"{worst(self.findings)})"
        )

    def save(
        self,
        folder: str | Path,
        name: str = "case",
        *,
        overwrite: bool = False,
        described: bool = True,
        terms: Terms | None = None,
    ) -> dict[str, Path]:
        """Write the estimate with all its companions, and `report.html` to look at them.

        Args: folder: where; made when missing. Results in `also` go into folders of their names
            below it. name: of the case, e.g. `sub-01`. overwrite: replace an earlier result in this
            folder. described: put `dataset_description.json` beside it; not where the folder is
            part of a data set. terms: policy, ledger and override; those of the environment.

        Returns:
            Role -> file, as `veridical.io.bids.save`, and `report`.

        Raises:
            InputError: the folder already holds a result.
            SettingError: the name cannot be a file name.
            PolicyError: the policy blocks it; nothing is written.
        """
        save = report("result_page").save
        return dict(save(self, folder, name, overwrite=overwrite, described=described, terms=terms))

    def with_step(self, step: Step) -> Result:
        """Return the same result with one more provenance step."""
        return replace(self, steps=(*self.steps, step))
