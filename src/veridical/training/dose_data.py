"""What a dose predictor learns from: planned doses of real patients, cut into crops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical.audit.interval import CalibrationCase
from veridical.errors import InputError, SettingError
from veridical.io.guards import replacing
from veridical.layouts import discovery
from veridical.layouts.pool import SETS, folders
from veridical.models import weights
from veridical.models.dose_anatomy import gathered, turned
from veridical.models.dose_features import UNIT, features
from veridical.models.dose_grid import LEAST, MOST, DoseGrid, fits
from veridical.models.dose_predictor import (
    TREES,
    DosePredictor,
    estimates,
    inner,
    mirrored,
    predicted,
    with_start,
)
from veridical.models.dose_trees import dose_trees
from veridical.physics.prescriptions import STRUCTURES
from veridical.task import Progress
from veridical.tasks.plan_findings import measures
from veridical.training.dose_trees import of_others
from veridical.training.training_data import Course, TrainingData
from veridical.types import Array, Study

SOURCE = "openkbp"
KEPT = ("features", "dose", "structures", "inside", "spacing")
"""What the cache holds of a patient."""
IMPORTANT = 1.0
"""How much more a voxel of a target or an organ counts than others."""
HISTOGRAM, LIKELIHOOD = 0.3, 0.01
"""Weight of the differences of dose-volume histograms, and of the spread's log-likelihood."""


@dataclass(frozen=True)
class DoseData(TrainingData):
    """The `[data]` table of a dose predictor."""

    learns: ClassVar[str] = "dose"
    sources: Mapping[str, float] = field(default_factory=lambda: {SOURCE: 1.0})
    """Only `openkbp`: patients of its training split."""
    held_out: tuple[str, ...] = ()
    """Patients who are only validated and calibrated on."""
    batch: int = 1
    """Crops a step."""
    crop: tuple[int, ...] = (96, 80, 64)
    """Voxels along x, y, z; smaller patients are taken whole."""
    cache: str = ""
    """Folder where what the network sees of each patient is kept; empty: computed at every start.
    """

    def __post_init__(self) -> None:
        if set(self.sources) != {SOURCE}:
            raise SettingError(
                f"sources = {dict(self.sources)}; a dose predictor learns from {SOURCE!r} alone."
            )
        if len(self.crop) != 3 or min(self.crop) < 16 or self.batch < 1:
            raise SettingError(
                f"crop = {self.crop}, batch = {self.batch}; expected three sides of at least 16 "
                "voxels, and at least 1."
            )

    def course(
        self, model: type[Any], net: Mapping[str, Any], seed: int, validation: bool
    ) -> DoseCourse:
        found = DoseCourse(self, seed, validation)
        if net.get("start", "") == TREES:
            found.start_with_trees()
        return found

    @classmethod
    def jobs_of(cls, card: Mapping[str, Any]) -> tuple[str, ...]:
        return ("plan",)

    @classmethod
    def cases(
        cls, name: str, job: str, studies: Iterable[Study] | None, patients: int, progress: Progress
    ) -> tuple[list[CalibrationCase], str]:
        """Return patients of the training split, none of whom a prediction had seen: those who were
        held out; and where the dose is that of the boosted trees alone, all others too, each by
        trees that were fitted on others. Or the patients given.
        """
        card, model = weights.card(name), DosePredictor(name)
        stored = card["data"]
        data = cls(held_out=tuple(stored["held_out"]), cache=str(stored.get("cache", "")))
        if studies is not None:
            found = [_case(*learnable(study), study.id, model) for study in studies]
            return found, f"{len(found)} patients that were not trained on"
        known = {s.id: learnable(s) for s in of_split("train")}
        found = [_case(*known[one], one, model) for one in known if one in data.held_out]
        where = f"{len(found)} OpenKBP patients that were not trained on"
        if card["net"].get("trees", 0.0) == 1.0:
            course = data.course(DosePredictor, {}, 0, False)
            others = [one for one in known if one not in data.held_out]
            for patient, dose, one in zip(
                course.known, of_others(course.known, data.cache), others, strict=True
            ):
                spread = model.spread(patient.features.astype(np.float32))
                error = np.abs(UNIT * dose - patient.dose)
                found.append(CalibrationCase(error, spread, patient.inside, one, patient.masks()))
            where = (
                f"{len(found)} OpenKBP patients, each predicted by trees that were fitted on others"
            )
        progress(f"calibrating {job}", len(found), len(found))
        return found, where

    @classmethod
    def calibrated(cls, card: Mapping[str, Any]) -> dict[str, Any]:
        """Return the least and the largest measures of the training patients, by which new ones are
        judged.
        """
        held = tuple(card["data"]["held_out"])
        found = [measures(learnable(s)[0]) for s in of_split("train") if s.id not in held]
        return {
            "patient_ranges": {
                key: [round(end([one[key] for one in found]), 1) for end in (min, max)]
                for key in found[0]
            }
        }


def _case(grid: DoseGrid, dose: Array, patient: str, model: DosePredictor) -> CalibrationCase:
    made, spread = model.predict(grid.anatomy)
    anatomy = grid.anatomy
    return CalibrationCase(
        np.abs(made - dose), spread, anatomy.inside, patient, dict(anatomy.structures)
    )


@dataclass(frozen=True, eq=False)
class DosePatient:
    """What is kept of a patient, on one grid: features `(channel, x, y, z)` float16, `dose` in Gy,
    `structures` as bits in the order of `STRUCTURES`, `inside`, bool, and `spacing`, mm.
    """

    features: Array
    dose: Array
    structures: Array
    inside: Array
    spacing: Array

    def cut(self, where: tuple[slice, ...]) -> DosePatient:
        """Return a crop."""
        return DosePatient(
            self.features[(slice(None), *where)],
            self.dose[where],
            self.structures[where],
            self.inside[where],
            self.spacing,
        )

    def masks(self) -> dict[str, Array]:
        """Return name -> bool of the structures that are there."""
        each = {name: (self.structures >> n & 1) > 0 for n, name in enumerate(STRUCTURES)}
        return {name: mask for name, mask in each.items() if mask.any()}

    def mirror(self) -> DosePatient:
        """Return the mirrored patient; his right parotid is the other's left one."""
        right, left = (np.uint16(1 << STRUCTURES.index(f"{s}Parotid")) for s in ("Right", "Left"))
        swapped = self.structures & ~(right | left)
        swapped = swapped | ((self.structures & right) > 0) * left
        swapped = swapped | ((self.structures & left) > 0) * right
        dose, swapped, inside = (one[::-1].copy() for one in (self.dose, swapped, self.inside))
        return DosePatient(mirrored(self.features), dose, swapped, inside, self.spacing)


class DoseCourse(Course[DosePatient]):
    """Draws crops by step number; held-out patients are validated on whole.

    Args:
        data, seed: of the recipe.
        validation: draw from the held-out patients.
    """

    data: DoseData

    def __init__(self, data: DoseData, seed: int, validation: bool = False) -> None:
        super().__init__(data, seed, validation)
        self.names = [SOURCE]
        self.known = [
            cut_to_dose(patient_of(study, data.cache))
            for study in of_split("train")
            if (study.id in data.held_out) == validation
        ]
        if not self.known:
            raise InputError(
                f"No {'held-out' if validation else 'training'} patient is there; held_out = "
                f"{data.held_out} names those that are only validated on."
            )

    def start_with_trees(self) -> None:
        """Add the dose of boosted trees to what is seen: of the shipped ones for held-out patients,
        of trees fitted on others for those who are trained on.
        """
        if self.validation:
            doses = [dose_trees().predict(one.features, one.spacing) for one in self.known]
        else:
            doses = of_others(self.known, self.data.cache)
        self.known = [
            replace(one, features=with_start(one.features, dose))
            for one, dose in zip(self.known, doses, strict=True)
        ]

    def patients(self) -> dict[str, int]:
        return {SOURCE: len(self.known)}

    def licences(self) -> dict[str, str]:
        return {SOURCE: SETS[SOURCE].licence}

    def barred(self) -> list[str]:
        return []

    def __getitem__(self, step: int) -> DosePatient:
        if self.validation:
            return self.known[step % len(self.known)]
        rng = self.generator(step)
        epoch = np.random.default_rng([self.seed, step // len(self.known)])
        patient = self.known[int(epoch.permutation(len(self.known))[step % len(self.known)])]
        first = [
            int(rng.integers(0, max(n - side, 0) + 1))
            for n, side in zip(patient.dose.shape, self.data.crop, strict=True)
        ]
        crop = patient.cut(
            tuple(slice(a, a + side) for a, side in zip(first, self.data.crop, strict=True))
        )
        return crop.mirror() if rng.random() < 0.5 else crop

    def losses(
        self, net: nn.Module, item: DosePatient, generator: torch.Generator, device: torch.device
    ) -> Iterator[Tensor]:
        seen = torch.from_numpy(item.features.astype(np.float32)).to(device)
        dose, scale = (one[0] for one in estimates(net, seen[None]))
        truth = torch.from_numpy(item.dose / np.float32(UNIT)).to(device)
        inside = torch.from_numpy(np.ascontiguousarray(item.inside)).to(device)
        bits = torch.from_numpy(item.structures.astype(np.int32)).to(device)
        weight = inside * (1 + IMPORTANT * (bits > 0))
        error = (dose - truth).abs()
        loss = (weight * error).sum() / weight.sum().clamp(min=1)
        loss = loss + HISTOGRAM * histogram_difference(dose, truth, bits)
        off, width = error.detach()[inside], scale[inside]
        if len(off):
            loss = loss + LIKELIHOOD * (off / width + width.log()).mean()
        yield loss

    def validate(
        self, net: nn.Module, count: int, device: torch.device, first: int = 0
    ) -> dict[str, float]:
        """Return the mean absolute difference in Gy, where dose may be, of whole held-out
        patients.
        """
        scores = []
        for index in range(first, first + count):
            item = self[index]
            dose, _ = predicted(net, item.features)
            scores.append(float(np.abs(dose - item.dose)[item.inside].mean()))
        return {"dose_gy": round(float(np.mean(scores)), 4)}


def histogram_difference(dose: Tensor, truth: Tensor, bits: Tensor) -> Tensor:
    """Return the mean difference of two dose-volume histograms, over structures: of sorted doses.

    Args:
        dose, truth: `(x, y, z)`.
        bits: structures as bits in the order of `STRUCTURES`.
    """
    found = []
    for place in range(len(STRUCTURES)):
        mask = (bits >> place) & 1 > 0
        if mask.any():
            found.append((dose[mask].sort().values - truth[mask].sort().values).abs().mean())
    return torch.stack(found).mean() if found else dose.new_zeros(())


def of_split(split: str) -> Iterator[Study]:
    """Yield the patients of a split of the public set, in the order of their ids."""
    for folder in folders(SOURCE):
        yield from (s for s in discovery.studies(folder) if s.covariates.get("split") == split)


def learnable(study: Study) -> tuple[DoseGrid, Array]:
    """Return what a plan depends on, and the planned dose `(x, y, z)`, Gy, on the same grid.

    Raises:
        InputError: there is no planned dose, or it lies on voxels unlike those of the training.
    """
    image, _ = gathered(study, {})
    if "dose" not in image.channels:
        raise InputError(f"{study.id} has no planned dose; expected one to learn from.")
    grid = DoseGrid.of(image)
    if not fits(grid.spacing):
        raise InputError(f"{study.id} has voxels of {grid.spacing} mm; expected {LEAST} to {MOST}.")
    return grid, turned(image["dose"], image.geometry)[grid.box]


def cut_to_dose(patient: DosePatient) -> DosePatient:
    """Return a patient cut to where dose may be, as the network sees him."""
    return patient.cut(inner(patient.inside))


def patient_of(study: Study, cache: str) -> DosePatient:
    """Return what is kept of a patient, from the cache where it is there."""
    file = Path(cache) / f"{study.id}.npz"
    if cache and file.is_file():
        with np.load(file, allow_pickle=False) as stored:
            kept = {name: np.asarray(stored[name]) for name in KEPT}
        return DosePatient(**kept)
    grid, dose = learnable(study)
    anatomy = grid.anatomy
    bits = np.zeros(dose.shape, np.uint16)
    for place, name in enumerate(STRUCTURES):
        bits |= anatomy.mask(name).astype(np.uint16) << np.uint16(place)
    seen = features(anatomy).astype(np.float16)
    found = DosePatient(seen, dose, bits, anatomy.inside, np.array(anatomy.spacing))
    if cache:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **vars(found))
    return found
