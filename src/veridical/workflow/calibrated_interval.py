"""A calibrated interval for an estimate of any generator, from patients whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from veridical import provenance
from veridical.audit.interval import (
    Calibration,
    CalibrationCase,
    calibrate,
    calibrate_regions,
    interval,
)
from veridical.errors import GeometryError, InputError
from veridical.evaluation import sources
from veridical.evaluation.regions import foreground
from veridical.io.files import read_image
from veridical.task import Progress, explained, silent
from veridical.types import Array, Image, Interval, Result, Step

FOLDERS = ("estimate", "spread", "truth")
LABELS = "labels"
FLOOR = 0.01
"""Least spread, as a share of the mean spread in the foreground of the calibration patients."""


@explained
@dataclass(frozen=True)
class CalibratedInterval:
    """What an interval is calibrated on, and what it is to promise."""

    patients: Path
    """Folder with the folders estimate, spread, truth and, for bands of their own, labels: one file
    of the same name a patient in each. None of them may have been used in training.
    """
    level: float = 0.9
    """Share of foreground voxels that are to lie inside, on average over patients; 0.9 needs 9
    patients.
    """
    share: float | None = None
    """Promise this share of voxels to each single patient instead, with the level as
    probability.
    """
    labels: Path | None = None
    """Label map of the new image: regions that enough calibration patients have get a band of their
    own.
    """

    def __call__(
        self, estimate: Path | Image, spread: Path | Image, progress: Progress = silent
    ) -> Result:
        """Return the estimate with its interval.

        Args:
            estimate: of any generator.
            spread: its standard deviation per voxel as the generator states it, or any map that is
                larger where it is less sure.
            progress: called as work goes on.

        Raises:
            InputError: a folder lacks what is needed, or grids differ.
            CalibrationError: too few patients for the level.
        """
        image, sure = _image(estimate), _image(spread)
        _same_grid(image, sure, "spread")
        cases = list(self.cases(progress))
        floor = FLOOR * float(np.mean([case.spread[case.foreground].mean() for case in cases]))
        said = f"{len(cases)} patients of {self.patients.name}"
        whole = calibrate(cases, self.level, floor, said, self.share)
        band = interval(image.data, sure.data, whole)
        if self.labels is not None:
            marked = _image(self.labels)
            _same_grid(image, marked, "label map")
            own = calibrate_regions(cases, self.level, floor, said)
            band = by_region(band, image.data, sure.data, marked.data[0], own)
        absent = dict.fromkeys(("draws", "evidence"), "The estimate is of another generator.")
        made = Result(image, "point estimate", interval=band, absent=absent)
        return made.with_step(self._step(made, sure, cases))

    def _step(self, made: Result, spread: Image, cases: list[CalibrationCase]) -> Step:
        """Return the record of what the interval was made from."""
        inputs = {
            "estimate": provenance.digest(made.image.data),
            "spread": provenance.digest(spread.data),
            **{f"error of {case.patient}": provenance.digest(case.error) for case in cases},
        }
        return Step(
            "interval",
            asdict(self),
            inputs,
            "none",
            "none",
            provenance.versions(),
            0,
            provenance.outputs(made),
        )

    def cases(self, progress: Progress = silent) -> Iterator[CalibrationCase]:
        """Yield the calibration patients, one in memory at a time."""
        folders = {name: _found(self.patients / name) for name in FOLDERS}
        labels = _found(self.patients / LABELS) if (self.patients / LABELS).is_dir() else {}
        names = list(folders["truth"])
        for name, found in folders.items():
            lost = [each for each in names if each not in found]
            if lost:
                raise InputError(
                    f"{self.patients / name} lacks {', '.join(lost[:3])}; expected one file for "
                    "each patient in truth, of the same name."
                )
        for done, name in enumerate(names):
            progress(f"calibration: {name}", done, len(names))
            estimate, spread, truth = (folders[each][name].load() for each in FOLDERS)
            _same_grid(estimate, truth, f"truth of {name}")
            _same_grid(estimate, spread, f"spread of {name}")
            marked = labels[name].load().data[0] if name in labels else None
            yield CalibrationCase(
                np.abs(estimate.data[0] - truth.data[0]),
                spread.data[0],
                foreground(truth).mask,
                name,
                {} if marked is None else _regions(marked),
            )
        progress("calibration", len(names), len(names))


def by_region(
    band: Interval,
    estimate: Array,
    spread: Array,
    labels: Array,
    calibrations: dict[str, Calibration],
) -> Interval:
    """Return a band that has its own width in each region that is calibrated.

    Args:
        band: of everything else.
        estimate, spread: `(channel, x, y, z)`.
        labels: `(x, y, z)`, whole numbers.
        calibrations: region, `label 3`, -> its calibration.
    """
    lower, upper = band.lower.copy(), band.upper.copy()
    for name, calibration in calibrations.items():
        own, where = interval(estimate, spread, calibration), labels == int(name.split()[-1])
        lower[:, where], upper[:, where] = own.lower[:, where], own.upper[:, where]
    regions = ", ".join(calibrations) or "none"
    promises = f"{band.promises} Regions with a band of their own: {regions}."
    return replace(band, lower=lower, upper=upper, promises=promises)


def _regions(labels: Array) -> dict[str, Array]:
    return {f"label {int(value)}": labels == value for value in np.unique(labels) if value > 0}


def _found(folder: Path) -> dict[str, sources.Source]:
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not there; the folder of calibration patients needs the folders "
            f"{', '.join(FOLDERS)}."
        )
    return sources.find(folder, {"units": "label"} if folder.name == LABELS else {})


def _image(found: Path | Image) -> Image:
    return found if isinstance(found, Image) else read_image(found)


def _same_grid(one: Image, other: Image, what: str) -> None:
    if not one.geometry.matches(other.geometry):
        raise GeometryError(
            f"The {what} lies on {other.geometry}, the estimate on {one.geometry}. Bring both onto "
            "one grid."
        )
