"""What a generator learns from: slices of which some contrasts are shown, and one, degraded or
missing, is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical import registry
from veridical.audit.interval import CalibrationCase
from veridical.conditioning.request import LEAST_LEVEL, Request
from veridical.errors import InputError, SettingError, nearest
from veridical.generative.family import Given
from veridical.layouts.pool import SETS
from veridical.models import intensity_map
from veridical.models.generator import Generator, parts
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.task import Progress
from veridical.training import generator_calibration
from veridical.training.described import described
from veridical.training.digital_patients import LICENCES, DigitalPatients
from veridical.training.input_variation import shown_of, varied
from veridical.training.patches import patch
from veridical.training.prepared_visits import (
    PreparedVisit,
    Slab,
    held_out_of,
    prepared_visits,
)
from veridical.training.restyling import restyling
from veridical.training.training_data import YOURS, Course, TrainingData, with_folder
from veridical.types import Array, Study

JOBS = {"complete": 0.75, "restore": 0.2, "nothing": 0.05, "restyle": 0.0}
"""How often a contrast is missing, degraded, made with nothing measured, or measured by another
scanner (of digital patients only).
"""
BESIDE = 0.5
"""How often another contrast is shown beside one that is degraded."""
MASKED = 0.3
"""How often masks of what is to be shown are given."""
LESION_WEIGHT = 1.5
"""How much more a pixel of a lesion counts than another: lesions are a few per cent of a patch, and
what readers look for. With 3, what may be a lesion was made brighter than it mostly is; with 10,
all that is bright in T2w was made bright in FLAIR, fluid too.
"""
STYLED = 0.5
"""How often the style of what is to be made is given; otherwise the network learns the mean over
all styles.
"""
FITTED = 60_000
"""Voxels of each visit that the intensity maps are fitted on."""


@dataclass(frozen=True)
class GenerationData(TrainingData):
    """The `[data]` table of a generator."""

    learns: ClassVar[str] = "generation"
    hold: ClassVar[float] = 0.85
    sources: Mapping[str, float] = field(default_factory=lambda: {"phantoms": 1.0})
    """Source -> weight: `phantoms` (digital patients), `painted` (heads from label maps), public
    sets by name, folders of any known layout by their path, and `data` for the folder given when
    the recipe is used.
    """
    held_out: tuple[str, ...] = ()
    """Patients of the real sets and label maps (or beginnings of their names) that are only
    validated on.
    """
    validate_on: int = 0
    """Patients of each folder that are held out where none of them is named: chosen by the hash of
    their name, never all.
    """
    batch: int = 12
    """Patches a step."""
    patch: int = 96
    """Side of a patch in pixels."""
    jobs: Mapping[str, float] = field(default_factory=lambda: dict(JOBS))
    """Job -> how often: complete, restore, nothing, restyle."""
    made: Mapping[str, float] = field(default_factory=dict)
    """Contrast -> how often it is asked for, relative to the others; 1 where it is not named."""
    fitted: int = 200
    """Digital patients that the intensity maps are fitted on; each takes a quarter of a second."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.patch < 16 or self.validate_on < 0 or self.fitted < 1:
            raise SettingError(
                f"batch = {self.batch}, patch = {self.patch}, validate_on = {self.validate_on}, "
                f"fitted = {self.fitted}; expected at least 1, 16, 0 and 1."
            )
        if not self.sources or not all(weight > 0 for weight in self.sources.values()):
            raise SettingError(
                f"sources = {dict(self.sources)}; expected at least one source, each with a weight "
                "above 0."
            )
        for name, weight in self.made.items():
            if not weight > 0:
                raise SettingError(
                    f"made = {{{name} = {weight}}}; expected a number above 0. A contrast that is "
                    "never to be made is left out of the model's contrasts."
                )
        for name, share in self.jobs.items():
            if name not in JOBS or share < 0 or not sum(self.jobs.values()) > 0:
                raise SettingError(
                    f"The recipe's jobs give {name!r} a share of {share}. {nearest(name, JOBS)}"
                )

    @classmethod
    def jobs_of(cls, card: Mapping[str, Any]) -> tuple[str, ...]:
        return generator_calibration.jobs_of(card)

    @classmethod
    def cases(
        cls, name: str, job: str, studies: Iterable[Study] | None, patients: int, progress: Progress
    ) -> tuple[list[CalibrationCase], str]:
        return generator_calibration.cases(name, job, studies, patients, progress)

    @classmethod
    def calibrated(cls, card: Mapping[str, Any]) -> dict[str, Any]:
        return {"calibration_steps": Generator().steps}

    def located(self, beside: Path, folder: str | Path | None) -> GenerationData:
        """Return the data with sources that are folders as paths: relative ones are beside the
        recipe, `data` is `folder`.
        """
        found: dict[str, float] = {}
        for name, weight in with_folder(self.sources, folder).items():
            path = beside / name
            known = name in (*LICENCES, *SETS, YOURS) or not path.exists()
            found[name if known else str(path.resolve())] = weight
        return replace(self, sources=found)

    def course(
        self, model: type[Any], net: Mapping[str, Any], seed: int, validation: bool
    ) -> GenerationCourse:
        return GenerationCourse(self, net, seed, validation)


@dataclass(frozen=True, eq=False)
class Batch:
    """Requests as networks take them, and the truth `(batch, 1, y, x)`."""

    given: Given
    truth: Tensor


class GenerationCourse(Course[Batch]):
    """Draws batches by step number.

    Args:
        data, seed: of the recipe.
        net: the recipe's `[model]` table.
        validation: draw from the held-out patients.
    """

    data: GenerationData

    def __init__(
        self, data: GenerationData, net: Mapping[str, Any], seed: int, validation: bool = False
    ) -> None:
        super().__init__(data, seed, validation)
        self.parts, self.contrasts = parts(net), tuple(net["contrasts"])
        self.preprocessing = Preprocessing()
        self.degradations = [
            registry.get("degradation", name)() for name in net.get("degradations", ())
        ]
        self.digital = {
            name: DigitalPatients(
                name, seed, self.contrasts, self.preprocessing, data.held_out, validation
            )
            for name in sorted(data.sources)
            if name in LICENCES
        }
        self.pools = {
            name: self._visits(name) for name in sorted(data.sources) if name not in LICENCES
        }
        if validation and any(pool for name, pool in self.pools.items() if name not in SETS):
            self.digital = {}  # what a folder's own patients gain is what is asked for
        self.mix(self.pools | {name: [] for name in LICENCES if name not in self.digital})
        self.maps: Mapping[str, Any] = {}

    def facts(self) -> dict[str, Any]:
        """Fit the intensity maps that every generator starts from; the card holds them and the
        preprocessing.
        """
        samples = [*self._voxels()]
        for patients in self.digital.values():
            samples += patients.voxels(self.data.fitted)
        self.maps = intensity_map.fit(samples, self.contrasts)
        facts: dict[str, Any] = {
            "preprocessing": self.preprocessing.to_card(),
            "intensity_maps": self.maps,
            "styles": [*self._styles()],
        }
        return facts | described(tuple(self.data.sources), self.data.held_out, self.contrasts)

    def learned(self, facts: Mapping[str, Any]) -> None:
        self.maps = facts["intensity_maps"]

    def _visits(self, name: str) -> list[tuple[PreparedVisit, list[int]]]:
        """Return the visits of a source, each with the slices that show enough to learn from."""
        if name == YOURS:
            raise SettingError("This recipe trains on a folder of yours. Say which: --data FOLDER.")
        if not (name in SETS or Path(name).is_absolute()):
            raise SettingError(
                f"The recipe trains on {name!r}. {nearest(name, (*LICENCES, *SETS))} Or give a "
                "folder."
            )
        held_out = (
            self.data.held_out
            if name in SETS
            else held_out_of(name, self.data.held_out, self.data.validate_on)
        )
        visits = prepared_visits(
            name, self.contrasts, self.preprocessing, held_out, self.validation
        )
        able = [(visit, usable) for visit in visits if (usable := visit.usable(self.preprocessing))]
        if not able and not self.validation:
            raise InputError(
                f"No slice in {name} shows enough in every contrast to learn from. Crop the images "
                "to the body."
            )
        return able

    def _voxels(self) -> Iterator[dict[str, Array]]:
        """Yield foreground voxels of every visit."""
        rng = np.random.default_rng(self.seed)
        for pool in self.pools.values():
            for visit, _ in pool:
                shown = [
                    self.preprocessing.foreground(n, i)
                    for n, i in zip(visit.names, visit.images, strict=True)
                ]
                inside = np.flatnonzero(np.min(shown, 0))
                chosen = (
                    rng.choice(inside, min(FITTED, len(inside)), replace=False)
                    if len(inside)
                    else inside
                )
                yield {
                    n: i.reshape(-1)[chosen].astype(np.float32)
                    for n, i in zip(visit.names, visit.images, strict=True)
                }

    def _styles(self) -> Iterator[dict[str, list[float]]]:
        """Yield the styles of every visit, and of the digital patients that maps are fitted on."""
        every: list[Mapping[str, Array]] = []
        every += [visit.styles for pool in self.pools.values() for visit, _ in pool]
        for patients in self.digital.values():
            every += [patients[index].styles for index in range(self.data.fitted)]
        for styles in every:
            yield {name: [round(float(v), 3) for v in style] for name, style in styles.items()}

    def patients(self) -> dict[str, int]:
        return {
            name: len({visit.patient for visit, _ in pool}) for name, pool in self.pools.items()
        }

    def licences(self) -> dict[str, str]:
        return {
            name: LICENCES.get(name) or (SETS[name].licence if name in SETS else "yours")
            for name in self.data.sources
            if LICENCES.get(name) != ""
        }

    def barred(self) -> list[str]:
        return [
            name
            for name in self.data.sources
            if name not in LICENCES and not (name in SETS and SETS[name].may_ship)
        ]

    def __getitem__(self, step: int) -> Batch:
        rng = self.generator(step)
        every = [self.sample(rng) for _ in range(self.data.batch)]
        requests, truth, weight = zip(*every, strict=True)
        given = Given.of(self.parts.conditions, requests)
        given = replace(given, weight=torch.from_numpy(np.stack(weight))[:, None])
        return Batch(given, torch.from_numpy(np.stack(truth))[:, None])

    def sample(self, rng: np.random.Generator) -> tuple[Request, Array, Array]:
        """Draw one request, its truth, and how much each pixel counts, `(y, x)`."""
        name = self.pick(rng)
        if name in self.digital:
            slab = self.digital[name][int(rng.integers(2**31))]
        else:
            visit, usable = self.pools[name][int(rng.integers(len(self.pools[name])))]
            slab = visit.slab(int(rng.choice(usable)))
        return self.asked(patch(slab, self.data.patch, self.preprocessing, rng), rng)

    def asked(self, slab: Slab, rng: np.random.Generator) -> tuple[Request, Array, Array]:
        """Draw what of a slab is shown, and what is asked for; lesions count more."""
        if slab.elsewhere is not None and rng.random() < self.data.jobs.get("restyle", 0.0):
            return self._restyled(slab, slab.elsewhere, rng)
        wanted = np.array([self.data.made.get(name, 1.0) for name in slab.names])
        order = [
            slab.names[int(i)]
            for i in rng.choice(
                len(slab.names), len(slab.names), replace=False, p=wanted / wanted.sum()
            )
        ]
        images = dict(zip(slab.names, slab.images, strict=True))
        made, others = order[0], order[1:]
        job = self._job(bool(others), made, rng)
        if job == "nothing":
            others = []
        elif job == "complete":
            others = shown_of(others, rng)
        else:
            others = [name for name in others if rng.random() < BESIDE]
        support = np.max(
            [self.preprocessing.foreground(n, i[0]) for n, i in images.items()], 0
        ).astype(np.float32)
        shown = varied({name: images[name] for name in others}, slab.spacing, rng)
        initial, level, degradation = self._begin(job, made, images, shown, support, slab, rng)
        truth = np.ascontiguousarray(images[made][0], np.float32)
        request = Request(
            made,
            initial,
            level,
            support,
            shown,
            degradation,
            slab.masks if rng.random() < MASKED else {},
            slab.attributes,
            _styles_of(slab, (*others, made) if rng.random() < STYLED else others),
        )
        lesions = np.max([np.zeros_like(support), *slab.masks.values()], 0) > 0
        return request, truth, np.where(lesions, LESION_WEIGHT, 1.0).astype(np.float32)

    def _restyled(
        self, slab: Slab, elsewhere: Slab, rng: np.random.Generator
    ) -> tuple[Request, Array, Array]:
        """Ask for a contrast in the style of one scanner, from what another scanner shows."""
        made = elsewhere.names[0]
        shown = varied({made: elsewhere.images[0]}, slab.spacing, rng)[made]
        request, truth = restyling(slab, elsewhere, shown, self.preprocessing)
        return request, truth, np.ones_like(truth)

    def _job(self, several: bool, made: str, rng: np.random.Generator) -> str:
        odds = {
            job: share for job, share in self.data.jobs.items() if share > 0 and job != "restyle"
        }
        if not several:
            odds.pop("complete", None)
        if not self._ways(made):
            odds.pop("restore", None)
        if not odds:
            return "nothing"
        weights = np.array(list(odds.values())) / sum(odds.values())
        return list(odds)[int(rng.choice(len(odds), p=weights))]

    def _ways(self, made: str) -> list[Any]:
        modality = made if made in ("CT", "PET") else "MR"
        return [way for way in self.degradations if modality in way.modalities]

    def _begin(
        self, job: str, made: str, images: Mapping[str, Array], shown: Mapping[str, Array], support: Array, slab: Slab,  # noqa: E501
        rng: np.random.Generator,
    ) -> tuple[Array, float, str]:  # fmt: skip
        """Return the initial estimate, its expected error, and what is wrong with it."""
        if job != "restore":
            middle = {name: image[0] for name, image in shown.items()}
            return *intensity_map.estimate(
                self.maps, middle, made, support, self.preprocessing.air(made)
            ), ""
        ways = self._ways(made)
        way = ways[int(rng.integers(len(ways)))]
        unit = {"CT": self.preprocessing.hounsfield, "PET": self.preprocessing.uptake}.get(
            made, 1.0
        )
        clean = images[made][:1]
        poor = way(unit * clean, slab.spacing, rng) / unit
        error = float(np.sqrt(np.average((poor[0] - clean[0]) ** 2, weights=support + 1e-6)))
        return (
            np.asarray(poor[0], np.float32),
            max(LEAST_LEVEL, error * math.exp(0.2 * rng.standard_normal())),
            way.name,
        )

    def losses(
        self, net: nn.Module, item: Batch, generator: torch.Generator, device: torch.device
    ) -> Iterator[Tensor]:
        yield self.parts.family.loss(net, item.given.to(device), item.truth.to(device), generator)

    def validate(
        self, net: nn.Module, count: int, device: torch.device, first: int = 0
    ) -> dict[str, float]:
        """Return PSNR in dB (peak 1 network unit) of initial estimates and of the net's means:
        missing, degraded.
        """
        if not self.names:
            return {}
        found: dict[str, list[Sequence[float]]] = {}
        for index in range(first, first + count):
            item = self[index]
            given, truth = item.given.to(device), item.truth.to(device)
            mean = self.parts.family.mean(net, given)
            for row, measured in enumerate(given.measured.tolist()):
                pair = [_decibel(image[row], truth[row]) for image in (given.initial, mean)]
                found.setdefault("degraded" if measured else "missing", []).append(pair)
        scores = {kind: np.mean(pairs, 0) for kind, pairs in found.items()}
        return {
            f"{kind}_{who}_db": round(float(m[i]), 3)
            for kind, m in scores.items()
            for i, who in enumerate(("start", "net"))
        }


def _styles_of(slab: Slab, names: Sequence[str]) -> dict[str, Array]:
    return {name: slab.styles[name] for name in names if name in slab.styles}


def _decibel(image: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(max(float((image - truth).square().mean()), 1e-9))
