"""What a model is trained on, whatever its kind: items drawn by step number from mixed sources, their loss, a validation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical.datasets.cohort import Cohort
from veridical.datasets.lessons import JOBS
from veridical.errors import SettingError, nearest

VALIDATION_COHORT = 1_000_000
Item = TypeVar("Item")


@dataclass(frozen=True)
class Data:
    """The `[data]` table."""

    sources: Mapping[str, float] = field(default_factory=lambda: {"cohort": 1.0})
    """Source -> weight: `cohort` (digital patients) and real sets by name."""
    held_out: tuple[str, ...] = ()
    """Patients of the real sets that are only validated on."""
    batch: int = 12
    """Patches a step; models of images only."""
    patch: int = 96
    """Side of a patch in pixels; models of images only."""
    jobs: Mapping[str, float] = field(default_factory=lambda: dict(JOBS))
    """Job -> how often it is rehearsed: complete, enhance, harmonize, nothing; models of images only."""
    scans: float = 0.0
    """Share of the steps in which a rehearsed raw scan is learned from too; models of images anchored in raw data only."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.patch < 16 or not 0 <= self.scans <= 1:
            raise SettingError(
                f"batch = {self.batch}, patch = {self.patch}, scans = {self.scans}; expected at least 1, at least 16, 0 to 1."
            )

        for job, share in self.jobs.items():
            if job not in JOBS or share < 0:
                raise SettingError(f"The recipe rehearses {job!r} with share {share}. {nearest(job, JOBS)}")
        if not sum(self.jobs.values()) > 0:
            raise SettingError("The recipe's jobs have no share above 0; for instance jobs = { complete = 1.0 }.")

    def real(self, known: Collection[str]) -> list[str]:
        """Return the sources beside the cohort, sorted; unknown ones and weights of 0 or less are refused."""
        for name, weight in self.sources.items():
            if name not in known or not weight > 0:
                raise SettingError(
                    f"The recipe trains on {name!r} with weight {weight}; expected a known source and a weight above 0. "
                    f"{nearest(name, known)}"
                )
        return [name for name in sorted(self.sources) if name != "cohort"]


class Course(torch.utils.data.Dataset[Item], ABC, Generic[Item]):
    """Items by step number: the same seed and step give the same item, whoever prepares it."""

    def __init__(self, data: Data, seed: int, validation: bool) -> None:
        self.data, self.seed, self.validation = data, seed, validation
        self.cohort = refuse_testing_only(Cohort(seed + VALIDATION_COHORT * validation))

    @abstractmethod
    def __getitem__(self, step: int) -> Item:
        """Return what is learned from in a step."""

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

    def loader(self, steps: range, workers: int) -> Iterable[Item]:
        """Return the items of these steps in order, prepared by other processes while the net trains."""
        if workers == 0:
            return (self[step] for step in steps)
        return torch.utils.data.DataLoader(self, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=4)


def refuse_testing_only(cohort: Cohort) -> Cohort:
    """Return the cohort, or refuse: what is kept for testing must not train."""
    if cohort.testing_only:
        raise SettingError(f"{type(cohort).__name__} is for testing only. Train on Cohort.")
    return cohort
