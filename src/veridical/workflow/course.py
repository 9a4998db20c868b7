"""What a model is trained on, whatever its kind: items drawn by step number from mixed sources, their loss, a validation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical.datasets.cohort import Cohort
from veridical.datasets.lessons import DEGRADED_BY, JOBS
from veridical.datasets.patient_volumes import held_out_of
from veridical.datasets.slabs import LOADERS
from veridical.errors import SettingError, nearest

VALIDATION_COHORT = 1_000_000
KNOWN = ("cohort", *LOADERS)
"""Sources by name; any other is a folder."""
YOURS = "data"
"""Source of a recipe that stands for the folder given when it is used."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Data:
    """The `[data]` table."""

    sources: Mapping[str, float] = field(default_factory=lambda: {"cohort": 1.0})
    """Source -> weight: `cohort` (digital patients), real sets by name, folders of any known layout by their path, and `data`
    for the folder given when the recipe is used."""
    held_out: tuple[str, ...] = ()
    """Patients of the real sets (or beginnings of their names) that are only validated on."""
    validate_on: int = 0
    """Patients of each folder that are held out where none of them is named: chosen by the hash of their name, never all."""
    batch: int = 12
    """Patches a step; models of images only."""
    patch: int = 96
    """Side of a patch in pixels; models of images only."""
    jobs: Mapping[str, float] = field(default_factory=lambda: dict(JOBS))
    """Job -> how often it is rehearsed: complete, enhance, harmonize, nothing; models of images only."""
    degraded_by: Mapping[str, float] = field(default_factory=lambda: dict(DEGRADED_BY))
    """Way -> how often an MR image that is to be enhanced is degraded in it: noise, blur, thick, bias, ghosts."""
    scans: float = 0.0
    """Share of the steps in which a rehearsed raw scan is learned from too; models of images anchored in raw data only."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.patch < 16 or not 0 <= self.scans <= 1 or self.validate_on < 0:
            raise SettingError(
                f"batch = {self.batch}, patch = {self.patch}, scans = {self.scans}, validate_on = {self.validate_on}; "
                "expected at least 1, at least 16, 0 to 1, and 0 or more."
            )
        for what, odds, known in (("jobs", self.jobs, JOBS), ("degraded_by", self.degraded_by, DEGRADED_BY)):
            for name, share in odds.items():
                if name not in known or share < 0:
                    raise SettingError(f"The recipe's {what} rehearse {name!r} with share {share}. {nearest(name, known)}")
            if not sum(odds.values()) > 0:
                raise SettingError(
                    f"The recipe's {what} have no share above 0; for instance {what} = {{ {next(iter(known))} = 1.0 }}."
                )

    def real(self, known: Collection[str]) -> list[str]:
        """Return the sources beside the cohort, sorted; unknown ones and weights of 0 or less are refused."""
        for name, weight in self.sources.items():
            if name == YOURS:
                raise SettingError("This recipe trains on a folder of yours. Say which: --data FOLDER.")
            if not (name in known or Path(name).is_absolute()) or not weight > 0:
                raise SettingError(
                    f"The recipe trains on {name!r} with weight {weight}; expected a known source or a folder that exists, "
                    f"and a weight above 0. {nearest(name, known)}"
                )
        return [name for name in sorted(self.sources) if name != "cohort"]

    def unseen(self) -> tuple[str, ...]:
        """Return the patients that are only validated on: those named, and those chosen of each folder."""
        folders = [name for name in self.sources if name not in KNOWN and name != YOURS]
        chosen = (held_out_of(folder, self.held_out, self.validate_on) for folder in folders)
        return (*self.held_out, *(patient for patients in chosen for patient in patients))


class Course(torch.utils.data.Dataset[Item], ABC, Generic[Item]):
    """Items by step number: the same seed and step give the same item, whoever prepares it."""

    def __init__(self, data: Data, seed: int, validation: bool) -> None:
        self.data, self.seed, self.validation = data, seed, validation
        self.held_out = data.unseen()
        self.cohort = refuse_testing_only(Cohort(seed + VALIDATION_COHORT * validation))

    @abstractmethod
    def __getitem__(self, step: int) -> Item:
        """Return the item of this number; a step of one process learns from one, else from as many as there are processes."""

    @abstractmethod
    def losses(self, net: nn.Module, item: Item, generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
        """Yield the parts of the step's loss, each to be differentiated before the next is asked for."""

    @abstractmethod
    def validate(self, net: nn.Module, count: int, device: torch.device) -> dict[str, float]:
        """Return scores on `count` fixed items."""

    def mix(self, pools: Mapping[str, Sized]) -> None:
        """Keep the sources that have something and their weights."""
        self.names = [name for name in sorted(self.data.sources) if name == "cohort" or len(pools[name])]
        weights = np.array([self.data.sources[name] for name in self.names], dtype=float)
        self.weights = weights / weights.sum()

    def pick(self, rng: np.random.Generator) -> str:
        """Draw a source by its weight."""
        return self.names[int(rng.choice(len(self.names), p=self.weights))]

    def generator(self, step: int) -> np.random.Generator:
        """Return the random numbers of a step."""
        return np.random.default_rng([self.seed, step, int(self.validation)])

    @abstractmethod
    def patients(self) -> dict[str, int]:
        """Return how many patients of each real source are drawn from."""

    def loader(self, items: Sequence[int], workers: int) -> Iterable[Item]:
        """Return these items in order, prepared by other processes while the net trains."""
        if workers == 0:
            return (self[item] for item in items)
        return torch.utils.data.DataLoader(self, batch_size=None, sampler=items, num_workers=workers, prefetch_factor=4)


def refuse_testing_only(cohort: Cohort) -> Cohort:
    """Return the cohort, or refuse: what is kept for testing must not train."""
    if cohort.testing_only:
        raise SettingError(f"{type(cohort).__name__} is for testing only. Train on Cohort.")
    return cohort
