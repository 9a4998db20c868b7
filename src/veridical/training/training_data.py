"""What a model is trained on, whatever its kind: items drawn by step number from mixed sources,
their loss, a validation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical import registry
from veridical.audit.interval import CalibrationCase
from veridical.errors import InputError, SettingError, nearest
from veridical.task import Progress
from veridical.types import Study

Item = TypeVar("Item")
YOURS = "data"
"""Source of a recipe that stands for the folder given when it is used."""


@dataclass(frozen=True)
class TrainingData(ABC):
    """The `[data]` table of a recipe, as far as all kinds of models share it."""

    learns: ClassVar[str]
    """Models with this tag are trained on it."""
    hold: ClassVar[float] = 0.55
    """Share of each region, such as lesions and bone, that bands hold on calibration patients: a
    band that holds less than half of a region is not written.
    """
    sources: Mapping[str, float]
    held_out: tuple[str, ...] = ()
    batch: int = 1

    @abstractmethod
    def course(
        self, model: type[Any], net: Mapping[str, Any], seed: int, validation: bool
    ) -> Course[Any]:
        """Return what a model learns from, or is validated on.

        Args:
            model: the class.
            net: the recipe's `[model]` table.
            seed: of everything random.
            validation: draw from the held-out patients.
        """

    @classmethod
    def jobs_of(cls, card: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the jobs of weights that can be calibrated, as results name them:
        `reconstruct-mri`, `complete-FLAIR`; none where nothing that they give has an interval.
        """
        return ()

    @classmethod
    def cases(
        cls, name: str, job: str, studies: Iterable[Study] | None, patients: int, progress: Progress
    ) -> tuple[list[CalibrationCase], str]:
        """Return calibration cases of a job, one a patient that the weights never saw, and in words
        who they are.

        Args:
            name: of the weights.
            job: one of `jobs_of`.
            studies: patients of a folder; None: what this kind of model is calibrated on as a rule.
            patients: at most so many where they are digital.
            progress: called as work goes on.

        Raises:
            SettingError: these weights have no such job.
        """
        raise SettingError(f"Weights that learn {cls.learns} have no interval to calibrate.")

    @classmethod
    def calibrated(cls, card: Mapping[str, Any]) -> dict[str, Any]:
        """Return what else the card of calibrated weights must say."""
        return {}

    def located(self, beside: Path, folder: str | Path | None) -> Self:
        """Return the data with sources that are folders as absolute paths.

        Args:
            beside: folder of the recipe, from which relative paths are meant.
            folder: that the user gave; None: none.

        Raises:
            SettingError: a folder was given and no source stands for it.
        """
        if folder is not None:
            raise SettingError(
                f"A folder {folder} was given, but models of this kind train on named sets. Leave "
                "it out."
            )
        return self


class Course(torch.utils.data.Dataset[Item], ABC, Generic[Item]):
    """Items by step number: the same seed and step give the same item, whoever prepares it.

    Args:
        data, seed: of the recipe.
        validation: draw from the held-out patients.
    """

    def __init__(self, data: TrainingData, seed: int, validation: bool) -> None:
        self.data, self.seed, self.validation = data, seed, validation
        self.names: list[str] = []
        self.weights = np.zeros(0)

    @abstractmethod
    def __getitem__(self, step: int) -> Item:
        """Return the item of this number; a step of one process learns from one, else from as many
        as there are processes.
        """

    @abstractmethod
    def losses(
        self, net: nn.Module, item: Item, generator: torch.Generator, device: torch.device
    ) -> Iterator[Tensor]:
        """Yield the parts of the step's loss, each to be differentiated before the next is asked
        for.
        """

    @abstractmethod
    def validate(
        self, net: nn.Module, count: int, device: torch.device, first: int = 0
    ) -> dict[str, float]:
        """Return mean scores on `count` fixed items, from the item `first` on."""

    def scored(self, net: nn.Module, count: int, device: torch.device) -> dict[str, list[float]]:
        """Return each score of every one of `count` fixed items that has it."""
        found: dict[str, list[float]] = {}
        for item in range(count):
            for name, value in self.validate(net, 1, device, item).items():
                found.setdefault(name, []).append(value)
        return found

    @abstractmethod
    def patients(self) -> dict[str, int]:
        """Return how many patients of each real source are drawn from."""

    @abstractmethod
    def licences(self) -> dict[str, str]:
        """Return the licence of each source."""

    @abstractmethod
    def barred(self) -> list[str]:
        """Return the sources on which weights that are passed on may not be trained."""

    def facts(self) -> dict[str, Any]:
        """Return what the card of the weights must hold besides, such as the preprocessing; fitted
        before training.
        """
        return {}

    def begin(self, net: nn.Module) -> None:
        """Set what of an untrained network has a closed form; changes it in place."""

    def closing(self, net: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return what the card must hold of the trained network, found on the held-out items."""
        return {}

    def learned(self, facts: Mapping[str, Any]) -> None:
        """Take over what was fitted on the training patients; for the course of the held-out
        ones.
        """

    def mix(self, pools: Mapping[str, Sized]) -> None:
        """Keep the sources that have something, or need no pool, and their weights."""
        self.names = [
            name for name in sorted(self.data.sources) if name not in pools or len(pools[name])
        ]
        weights = np.array([self.data.sources[name] for name in self.names], dtype=float)
        self.weights = weights / weights.sum() if len(weights) else weights

    def pick(self, rng: np.random.Generator) -> str:
        """Draw a source by its weight."""
        return self.names[int(rng.choice(len(self.names), p=self.weights))]

    def generator(self, step: int) -> np.random.Generator:
        """Return the random numbers of a step."""
        return np.random.default_rng([self.seed, step, int(self.validation)])

    def loader(self, items: Sequence[int], workers: int) -> Iterable[Item]:
        """Return these items in order, prepared by other processes while the net trains."""
        if workers == 0:
            return (self[item] for item in items)
        return torch.utils.data.DataLoader(
            self, batch_size=None, sampler=items, num_workers=workers, prefetch_factor=4
        )


def with_folder(sources: Mapping[str, float], folder: str | Path | None) -> dict[str, float]:
    """Return the sources of a recipe with the folder that the user gave in place of `data`.

    Raises:
        SettingError: no source stands for a folder.
        InputError: the folder is not there.
    """
    if folder is None:
        return dict(sources)
    if YOURS not in sources:
        raise SettingError(
            f"A folder {folder} was given, and the recipe has no source {YOURS!r} that it could be."
        )
    if not Path(folder).exists():
        raise InputError(f"{folder} does not exist; expected a folder of images. Check the path.")
    place = str(Path(folder).resolve())
    return {place if name == YOURS else name: weight for name, weight in sources.items()}


def training_data(learns: str) -> type[TrainingData]:
    """Return the registered training data with a tag.

    Raises:
        SettingError: there is none.
    """
    known = {
        entry.load().learns: entry.load() for entry in registry.entries("training-data").values()
    }
    if learns not in known:
        raise SettingError(
            f"Nothing is there to learn {learns or 'this model'} from. {nearest(learns, known)}"
        )
    found: type[TrainingData] = known[learns]
    return found
