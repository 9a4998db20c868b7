"""Reconstruct images from raw data: MR k-space, CT and PET sinograms, photoacoustic and ultrasound
signals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from veridical.errors import GeometryError, InputError, SettingError
from veridical.task import Progress, Task
from veridical.types import Measurement, Result, Study

if TYPE_CHECKING:
    from veridical.models.base import MeasurementModel

UNITS = {"ct": "1/mm", "pet": "1"}
"""Units of what was measured, by kind; arbitrary otherwise."""
KINDS = {
    "cartesian-mri": "mri",
    "noncartesian-mri": "noncartesian-mri",
    "parallel-beam": "ct",
    "fan-beam": "ct",
    "pet": "pet",
}
"""Name of the operator -> kind of measurement, which names the calibration; other operators are a
kind of their own.
"""


@dataclass(frozen=True)
class Reconstruct(Task):
    """Reconstruct raw data slice by slice: MR (Cartesian or not), CT, PET, photoacoustic,
    ultrasound, any linear operator.
    """

    takes: ClassVar[Literal["image", "visit", "raw"]] = "raw"

    model: str = "denoiser"
    """Which solver: denoiser, or a classical one: classical (filtered back-projection, OSEM,
    gridding, delay-and-sum: what the operator is usually inverted by), zero-filled, cg-sense,
    wavelet, total-variation, fbp, sirt, tv-ct, osem.
    """
    draws: int = 8
    """Posterior samples, for samplers. Their spread makes interval and evidence; 1 gives the
    estimate alone, faster.
    """
    sets: int = 2
    """Sets of coil maps, MRI only. A second one is kept where the object is larger than the field
    of view and wraps around.
    """
    weights: str = ""
    """Path of other weights (.safetensors with a card beside it); empty for the shipped ones."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    def __post_init__(self) -> None:
        if self.draws < 1 or self.sets not in (1, 2):
            raise SettingError(
                f"draws = {self.draws}, sets = {self.sets}; expected at least 1 draw, and 1 or 2 "
                "sets of maps."
            )

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.models.problems import problems
        from veridical.tasks.assemble import assemble
        from veridical.tasks.measured import solve, stacked

        measurement = checked(study)
        model, total = self.build(), len(measurement.data)
        kind = KINDS.get(measurement.operator.name, measurement.operator.name)
        job, slices = f"{self.name}-{kind}", []
        for index, problem in enumerate(problems(measurement, self.sets)):
            if not model.accepts(problem.operator):
                known = ", ".join(accepting(problem.operator))
                raise SettingError(
                    f"{self.model} does not solve {problem.operator.name}. Those that do: {known}."
                )
            slices.append(solve(model, problem, self.draws, seed + index, job, raw=True))
            progress("reconstructing slices", index + 1, total)
        channel = str(measurement.header.get("contrast") or CHANNELS.get(kind, "other"))
        units = str(measurement.header.get("units") or UNITS.get(kind, "a.u."))
        found = stacked(slices, job, channel, units)
        return assemble(
            found, measurement.geometry, lambda array: np.swapaxes(array, -1, -3), model
        )

    def model_and_weights(self) -> tuple[str, str]:
        return self.model, self.build().weights_hash

    def build(self) -> MeasurementModel:
        """Return the solver with these settings."""
        from veridical.models.base import MeasurementModel, chosen

        return chosen(self.model, MeasurementModel, weights=self.weights, device=self.device)


CHANNELS = {"ct": "CT", "pet": "PET"}
"""What a measurement shows where its header does not say."""


def checked(study: Study) -> Measurement:
    """Return the raw data, or refuse: images, and data that do not fit their operator or grid."""
    if not any(isinstance(one, Measurement) for one in study.visit().values()):
        raise InputError(
            "reconstruct takes raw data; the study has images only. Bare k-space is read with "
            "--axes coil,y,x, sinograms and "
            "others with --geometry scanner.toml. For images there is enhance."
        )
    subject = study.measurement()
    shape = getattr(getattr(subject.operator, "mask", None), "shape", None)
    if shape is None or len(shape) != 3:
        return _fitting(subject)
    if subject.data.ndim != 4 or (subject.data.shape[0], *subject.data.shape[2:]) != shape:
        raise GeometryError(
            f"k-space of shape {subject.data.shape} and a mask {shape}; expected (slice, coil, ky, "
            "kx) and "
            "(slice, ky, kx). For one slice add the first axis: data[None]."
        )
    if subject.geometry.shape != shape[::-1]:
        raise GeometryError(
            f"k-space has {shape[0]} slices of (ky, kx) = {shape[1:]}, the grid is "
            f"{subject.geometry.shape}; "
            "expected (kx, ky, slice). Give the geometry of the whole matrix."
        )
    return subject


def _fitting(subject: Measurement) -> Measurement:
    """Return a measurement by a linear operator, or refuse: data that are not of its range, another
    grid than its domain.
    """
    domain, expected = (tuple(getattr(subject.operator, name, ())) for name in ("domain", "range"))
    slices = len(subject.data)
    if expected and subject.data.shape[1:] != expected:
        raise GeometryError(
            f"{subject.operator.name}: data of shape {subject.data.shape}; expected (slice, "
            f"{', '.join(map(str, expected))}). "
            "For one slice add the first axis: data[None]."
        )
    if len(domain) == 2 and subject.geometry.shape != (domain[1], domain[0], slices):
        raise GeometryError(
            f"{subject.operator.name} maps images of {domain[0]} x {domain[1]}, the grid is "
            f"{subject.geometry.shape}; expected "
            f"({domain[1]}, {domain[0]}, {slices}). Give the geometry of the operator's images."
        )
    return subject


def accepting(operator: Any) -> list[str]:
    """Return the names of the models that take measurements by an operator."""
    from veridical import registry
    from veridical.models.base import MeasurementModel

    kinds = {name: registry.get("model", name) for name in registry.entries("model")}
    return [
        name
        for name, kind in kinds.items()
        if issubclass(kind, MeasurementModel) and kind().accepts(operator)
    ]
