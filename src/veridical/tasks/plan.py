"""Plan: the dose that a planner would reach in head and neck, from CT and structures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from veridical.errors import InputError, SettingError
from veridical.task import Progress, Task
from veridical.types import Array, Evidence, Geometry, Image, Interval, Result, Study

if TYPE_CHECKING:
    from veridical.models.base import DoseModel

JOB = "plan"
ALIKE = 12.0
"""Full width at half maximum in mm over which the errors of a prediction are taken to be alike: an
assumption, three voxels of the training.
"""
IMAGINED = (
    "dose: none of it was measured or computed by a dose engine; it is what planners reached in "
    "patients like this one"
)
NOT_CALIBRATED = (
    "The weights have no calibration for plans: veridical calibrate NAME writes it into their card."
)


@dataclass(frozen=True)
class Plan(Task):
    """Predict the dose of a nine-beam head-and-neck plan in Gy, from CT, targets and organs.

    Give an OpenKBP patient, or the DICOM folder of a CT with its RT Structure Set. Structures are
    found by their usual names (PTV70, Parotid_R, Spinal Cord); `structures` says others. The result
    has the dose, its dose-volume points, samples and an interval. Research only: no machine can
    deliver this dose as it is, and no patient may be treated by it.
    """

    takes: ClassVar[Literal["image", "visit", "raw", "study"]] = "visit"
    objects: ClassVar[bool] = True

    structures: str = ""
    """Names of structures that are called otherwise: PTV70=Boost,SpinalCord=Myelon."""
    draws: int = 4
    """Samples of the dose; 0 writes none."""
    model: str = "dose-predictor"
    """Name of a model that predicts doses."""
    weights: str = ""
    """Name of shipped weights, or path of others (.safetensors with a card beside it); empty: those
    of the model.
    """
    device: str = "auto"
    """auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."""

    def __post_init__(self) -> None:
        if self.draws < 0:
            raise SettingError(f"draws = {self.draws}; expected 0 or more.")

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.models.dose_anatomy import gathered
        from veridical.models.dose_grid import DoseGrid
        from veridical.tasks import plan_findings

        image, names = gathered(study, _pairs(self.structures))
        grid, model = DoseGrid.of(image), self.build()
        progress("planning", 0, 1)
        dose, spread = model.predict(grid.anatomy)
        kept = [np.maximum(grid.restored(one), 0) for one in (dose, spread)]
        band = _band(model, kept[0], kept[1])
        wide = 1.0 if band is None else float(model.card["calibration"][JOB]["multiplier"]) / 1.645
        samples = drawn(kept[0], wide * kept[1], image.geometry, self.draws, seed)
        progress("planning", 1, 1)
        table = plan_findings.table(image, kept[0], band)
        absent = {} if band is not None else {"interval": NOT_CALIBRATED}
        if not self.draws:
            absent["draws"] = "No samples were asked for: --draws 4."
        return Result(
            Image(kept[0][None], image.geometry, "Gy", ("dose",), {"dvh": table}),
            "posterior mean" if self.draws else "point estimate",
            draws=samples if self.draws else None,
            interval=band,
            evidence=Evidence(np.zeros((1, *image.geometry.shape), np.float32), about=IMAGINED),
            findings=tuple(plan_findings.findings(image, grid, kept[0], band, model.card)),
            absent=absent,
            facts={"card": model.card, "dvh": table, "structures": names},
        )

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        return self, names, ("dose",)

    def build(self) -> DoseModel:
        """Return the model with these settings."""
        from veridical.models.base import DoseModel, chosen

        found: DoseModel = chosen(self.model, DoseModel, weights=self.weights, device=self.device)
        return found

    def model_and_weights(self) -> tuple[str, str]:
        return self.model, self.build().weights_hash


def drawn(dose: Array, spread: Array, grid: Geometry, count: int, seed: int) -> Array:
    """Return samples `(draw, 1, x, y, z)` Gy around a dose, whose deviations are alike over
    `ALIKE` mm and never take it below 0.

    Args:
        dose, spread: `(x, y, z)` Gy.
        grid: theirs.
        count: how many.
        seed: same seed, same bytes.
    """
    from scipy.ndimage import gaussian_filter

    width = [ALIKE / 2.3548 / size for size in grid.spacing]
    found = np.zeros((count, 1, *dose.shape), np.float32)
    for sample, rng in zip(found[:, 0], np.random.default_rng(seed).spawn(count), strict=True):
        noise = gaussian_filter(rng.standard_normal(dose.shape, np.float32), width)
        sample[:] = np.maximum(dose + spread * noise / max(float(noise.std()), 1e-6), 0)
    return found


def _band(model: DoseModel, dose: Array, spread: Array) -> Interval | None:
    """Return the calibrated interval, never below 0 Gy; None where the weights have none."""
    from veridical.audit.interval import Calibration, interval

    stored: Mapping[str, Any] | None = model.card.get("calibration", {}).get(JOB)
    if not stored:
        return None
    band = interval(dose[None], spread[None], Calibration.from_dict(stored))
    known = (spread > 0)[None]
    lower, upper = (
        np.where(known, np.maximum(end, 0), dose[None]).astype(np.float32)
        for end in (band.lower, band.upper)
    )
    return Interval(lower, upper, band.level, band.patients, band.method, band.promises)


def _pairs(said: str) -> dict[str, str]:
    """Return our name -> theirs, of `PTV70=Boost,SpinalCord=Myelon`."""
    pairs = [one.partition("=") for one in said.split(",") if one.strip()]
    if any(not (ours.strip() and sign and theirs.strip()) for ours, sign, theirs in pairs):
        raise InputError(
            f"structures = {said!r}; expected pairs such as PTV70=Boost,SpinalCord=Myelon."
        )
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
