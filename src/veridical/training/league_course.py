"""What every entry of a league learns from: one job with fixed inputs, the same samples in the same
order for all.

Beside `generation_data`, which teaches one network many jobs, this holds everything still but the
network and its family: which channels are given, which is made, the patients, the patches.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical import registry
from veridical.audit.interval import CalibrationCase
from veridical.conditioning.request import LEAST_LEVEL, Request
from veridical.errors import InputError, SettingError
from veridical.generative.family import Given
from veridical.layouts.pool import SETS
from veridical.models import intensity_map
from veridical.models.generator import parts
from veridical.phantoms.cohort import Cohort
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.task import Progress
from veridical.training import generator_calibration
from veridical.training.generation_data import Batch
from veridical.training.league_scenes import ScenePlace, scene
from veridical.training.patches import patch
from veridical.training.prepared_visits import PreparedVisit, Slab, prepared_visits
from veridical.training.training_data import Course, TrainingData
from veridical.types import Array, Study

PHANTOMS = "phantoms"
"""Source of digital patients."""
HELD_OUT = 1_000_000
"""Added to the seed of the digital patients that are not trained on."""
JOBS = ("complete", "translate", "synthesize", "restore", "several")
"""Make a contrast from others, a modality from others, an image from nothing, undo a degradation;
train on several at once and be judged on completion.
"""
VOXELS = 40_000
"""Of each visit, that the intensity maps are fitted on."""
RESTORED = 0.5
"""Share of samples of the job `several` in which a degraded image is shown."""


@dataclass(frozen=True)
class LeagueData(TrainingData):
    """The `[data]` table of an entry's training, as its card keeps it."""

    learns: ClassVar[str] = "league"
    sources: Mapping[str, float] = field(default_factory=lambda: {PHANTOMS: 1.0})
    """Source -> weight: `phantoms`, public sets by name, folders by their path."""
    batch: int = 8
    """Patches a step."""
    patch: int = 64
    """Side of a patch in pixels."""
    job: str = "complete"
    """complete, translate, synthesize, restore or several."""
    made: str = "FLAIR"
    """Channel that is made."""
    given: tuple[str, ...] = ()
    """Channels that are shown."""
    degradation: str = ""
    """What is wrong with the image that is shown of `made`; of the job restore, and of several."""
    scene: str = "head"
    """What digital patients show."""
    digital: int = 64
    """Digital patients to train on."""
    digital_held_out: int = 12
    """Digital patients that are held out, where there are no others."""
    size: int = 160
    """Side of a digital slice in pixels."""

    @property
    def channels(self) -> tuple[str, ...]:
        """All channels that are read."""
        return tuple(dict.fromkeys((*self.given, self.made)))

    @property
    def real(self) -> tuple[str, ...]:
        """Sources of patients on disk."""
        return tuple(name for name in sorted(self.sources) if name != PHANTOMS)

    def course(
        self, model: type[Any], net: Mapping[str, Any], seed: int, validation: bool
    ) -> LeagueCourse:
        return LeagueCourse(self, net, seed, validation)

    @classmethod
    def jobs_of(cls, card: Mapping[str, Any]) -> tuple[str, ...]:
        return generator_calibration.jobs_of(card)

    @classmethod
    def cases(
        cls, name: str, job: str, studies: Iterable[Study] | None, patients: int, progress: Progress
    ) -> tuple[list[CalibrationCase], str]:
        return generator_calibration.cases(name, job, studies, patients, progress)

    def key(self) -> str:
        """Return everything that the samples depend on, as text."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, eq=False)
class LeaguePatient:
    """A visit that can be used, and the slices of it that show enough."""

    source: str
    visit: PreparedVisit
    slices: tuple[int, ...]


def patients(data: LeagueData, validation: bool) -> tuple[LeaguePatient, ...]:
    """Return the visits to train on, or those held out; read once for all entries.

    Raises:
        InputError: there are none.
    """
    return _patients(data.key(), validation)


@lru_cache(maxsize=2)
def _patients(key: str, validation: bool) -> tuple[LeaguePatient, ...]:
    data = restored(key)
    found = [one for name in data.real for one in _on_disk(data, name, validation)]
    if PHANTOMS in data.sources and not (validation and data.real):
        found += _digital(data, validation)
    if not found:
        raise InputError(
            f"No patient {'is held out' if validation else 'is left to train on'} who has "
            f"{', '.join(data.channels)} in {', '.join(sorted(data.sources))}; held_out = "
            f"{list(data.held_out)}. Hold out others, or ask for other channels."
        )
    return tuple(found)


def restored(key: str) -> LeagueData:
    """Return the data that `LeagueData.key` was made of."""
    stored: dict[str, Any] = json.loads(key)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    return LeagueData(**values)


def _on_disk(data: LeagueData, source: str, validation: bool) -> Iterator[LeaguePatient]:
    for one in _every(source, data.channels):
        if (one.visit.patient in data.held_out) == validation:
            yield one


@lru_cache(maxsize=4)
def _every(source: str, wanted: tuple[str, ...]) -> tuple[LeaguePatient, ...]:
    """Return every visit of a source that has all channels, whoever is held out: read once for all
    folds.
    """
    preprocessing, found = Preprocessing(), []
    for visit in prepared_visits(source, wanted, preprocessing, (), False):
        if set(wanted) <= set(visit.names):
            order = [visit.names.index(name) for name in wanted]
            cut = replace(visit, images=visit.images[order], names=wanted, masks={})
            if slices := tuple(cut.usable(preprocessing)):
                found.append(LeaguePatient(Path(source).name, cut, slices))
    return tuple(found)


def _digital(data: LeagueData, validation: bool) -> Iterator[LeaguePatient]:
    heads = Cohort(HELD_OUT if validation else 0)
    for index in range(data.digital_held_out if validation else data.digital):
        slab = scene(data.scene, ScenePlace(heads, index, data.size), data.channels)
        stack = slab.images[:, [1, 0, 2]]  # the slice below, the slice, the slice above
        spacing = (2.0, *slab.spacing)
        name = f"{data.scene}-{index:03}"
        yield LeaguePatient(
            PHANTOMS, PreparedVisit(stack, slab.names, name, PHANTOMS, spacing), (1,)
        )


def fitted(data: LeagueData) -> Mapping[str, Any]:
    """Return the intensity maps of the training patients: where every entry starts, and the rival
    of all.
    """
    return _fitted(data.key())


@lru_cache(maxsize=2)
def _fitted(key: str) -> Mapping[str, Any]:
    data, preprocessing = restored(key), Preprocessing()
    rng = np.random.default_rng(0)

    def voxels() -> Iterator[dict[str, Array]]:
        for one in patients(data, False):
            images = one.visit.images[:, list(one.slices)]
            shown = [
                preprocessing.foreground(name, image.astype(np.float32))
                for name, image in zip(one.visit.names, images, strict=True)
            ]
            inside = np.flatnonzero(np.max(shown, 0))
            if data.job == "synthesize":  # nothing says where the body is
                inside = np.arange(images[0].size)
            chosen = rng.choice(inside, min(VOXELS, len(inside)), replace=False)
            yield {
                name: image.reshape(-1)[chosen].astype(np.float32)
                for name, image in zip(one.visit.names, images, strict=True)
            }

    return intensity_map.fit(voxels(), data.channels)


def request(
    data: LeagueData, slab: Slab, maps: Mapping[str, Any], rng: np.random.Generator
) -> tuple[Request, Array]:
    """Return what is asked of a slice, and its truth `(y, x)`, in network units.

    Args:
        data: which job.
        slab: with all channels.
        maps: from `fitted`.
        rng: of the degradation.
    """
    preprocessing = Preprocessing()
    images = {n: i.astype(np.float32) for n, i in zip(slab.names, slab.images, strict=True)}
    truth, air = np.ascontiguousarray(images[data.made][0]), preprocessing.air(data.made)
    shown = {} if data.job == "synthesize" else {name: images[name] for name in data.given}
    flaw, level = "", LEAST_LEVEL
    poor = truth
    if data.job == "restore":
        poor, level, flaw = *_degraded(data, images[data.made], slab.spacing, rng), data.degradation
    seen = {name: image[0] for name, image in shown.items()} | ({data.made: poor} if flaw else {})
    support = np.ones(truth.shape, np.float32)
    if seen:
        found = [preprocessing.foreground(name, image) for name, image in seen.items()]
        support = np.max(found, 0).astype(np.float32)
    if not flaw:
        middle = {name: image[0] for name, image in shown.items()}
        poor, level = intensity_map.estimate(maps, middle, data.made, support, air)
    known = {name: value for name, value in slab.attributes.items() if value is not None}
    asked = Request(data.made, poor, level, support, shown, flaw, {}, known)
    return asked, truth


def _degraded(
    data: LeagueData, image: Array, spacing: tuple[float, float], rng: np.random.Generator
) -> tuple[Array, float]:
    """Return the degraded slice, and its root mean square error."""
    preprocessing = Preprocessing()
    unit = {"CT": preprocessing.hounsfield, "PET": preprocessing.uptake}.get(data.made, 1.0)
    way = registry.get("degradation", data.degradation)()
    poor = np.asarray(way(unit * image[:1], spacing, rng)[0] / unit, np.float32)
    inside = preprocessing.foreground(data.made, image[0]) + 1e-6
    error = float(np.sqrt(np.average((poor - image[0]) ** 2, weights=inside)))
    return poor, max(LEAST_LEVEL, error)


class LeagueCourse(Course[Batch]):
    """Draws batches by step number.

    Args:
        data, seed: of the protocol.
        net: the entry's `[model]` table.
        validation: draw from the held-out patients.
    """

    data: LeagueData

    def __init__(
        self, data: LeagueData, net: Mapping[str, Any], seed: int, validation: bool = False
    ) -> None:
        super().__init__(data, seed, validation)
        self.parts, self.maps = parts(net), dict[str, Any]()
        self.pools: dict[str, list[LeaguePatient]] = {}
        for one in patients(data, validation):
            self.pools.setdefault(one.source, []).append(one)
        called = {Path(name).name: weight for name, weight in data.sources.items()}
        self.names = sorted(self.pools)
        weights = np.array([called[name] for name in self.names], dtype=float)
        self.weights = weights / weights.sum()

    def facts(self) -> dict[str, Any]:
        """Return the preprocessing and the intensity maps, for the card."""
        self.maps = dict(fitted(self.data))
        return {"preprocessing": Preprocessing().to_card(), "intensity_maps": self.maps}

    def learned(self, facts: Mapping[str, Any]) -> None:
        self.maps = dict(facts["intensity_maps"])

    def patients(self) -> dict[str, int]:
        return {name: len({p.visit.patient for p in pool}) for name, pool in self.pools.items()}

    def licences(self) -> dict[str, str]:
        return {name: SETS[name].licence if name in SETS else "yours" for name in self.data.real}

    def barred(self) -> list[str]:
        return [n for n in self.data.real if not (n in SETS and SETS[n].may_ship)]

    def __getitem__(self, step: int) -> Batch:
        rng = self.generator(step)
        both = [self.sample(rng) for _ in range(self.data.batch)]
        given = Given.of(self.parts.conditions, [asked for asked, _ in both])
        return Batch(given, torch.from_numpy(np.stack([truth for _, truth in both]))[:, None])

    def sample(self, rng: np.random.Generator) -> tuple[Request, Array]:
        """Draw one request and its truth `(y, x)`."""
        pool = self.pools[self.pick(rng)]
        one = pool[int(rng.integers(len(pool)))]
        slab = one.visit.slab(int(rng.choice(one.slices)))
        if one.source == PHANTOMS and self.data.scene != "head":
            cut = window(slab, self.data.patch, rng)  # what relates channels stays as it is
        else:
            cut = patch(slab, self.data.patch, Preprocessing(), rng)
        return request(self._turn(rng), cut, self.maps, rng)

    def _turn(self, rng: np.random.Generator) -> LeagueData:
        """Return the job of one sample, which differs where several are learned at once."""
        if self.data.job != "several":
            return self.data
        order = [str(name) for name in rng.permutation(self.data.channels)]
        if self.data.degradation and rng.random() < RESTORED:
            return replace(self.data, job="restore", made=order[0], given=())
        return replace(self.data, job="complete", made=order[0], given=tuple(order[1:]))

    def losses(
        self, net: nn.Module, item: Batch, generator: torch.Generator, device: torch.device
    ) -> Iterator[Tensor]:
        yield self.parts.family.loss(net, item.given.to(device), item.truth.to(device), generator)

    def validate(
        self, net: nn.Module, count: int, device: torch.device, first: int = 0
    ) -> dict[str, float]:
        """Return PSNR in dB (peak 1 network unit) of initial estimates and of the net's means."""
        scores: list[tuple[float, float]] = []
        for index in range(first, first + count):
            item = self[index]
            given, truth = item.given.to(device), item.truth.to(device)
            mean = self.parts.family.mean(net, given)
            scores += [
                (_decibel(start, true), _decibel(found, true))
                for start, found, true in zip(given.initial, mean, truth, strict=True)
            ]
        start, found = np.mean(scores, 0)
        return {"start_db": round(float(start), 3), "net_db": round(float(found), 3)}


def window(slab: Slab, size: int, rng: np.random.Generator) -> Slab:
    """Cut a square out of a slab, at a place by chance and otherwise as it is.

    Raises:
        SettingError: the slab is smaller.
    """
    rows, columns = slab.images.shape[-2:]
    if size > min(rows, columns):
        raise SettingError(
            f"patch = {size}; expected at most {min(rows, columns)}, the side of a digital slice."
        )
    y, x = (int(rng.integers(n - size + 1)) for n in (rows, columns))
    return replace(slab, images=slab.images[..., y : y + size, x : x + size])


def spread(slices: Sequence[int], most: int) -> list[int]:
    """Return at most so many of the slices, evenly spaced about their middle."""
    step = max(1, math.ceil(len(slices) / most))
    return list(slices[(len(slices) - 1) % step // 2 :: step])


def seed_of(case: str) -> int:
    """Return a number that belongs to a case, whatever else is judged."""
    return zlib.crc32(case.encode())


def _decibel(image: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(max(float((image - truth).square().mean()), 1e-9))
