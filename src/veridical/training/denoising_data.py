"""The course of a denoiser: batches by step number from a packed cache, and validation on held-out
patients.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical.audit.interval import CalibrationCase
from veridical.errors import SettingError, nearest
from veridical.generative.preconditioned import denoising_loss
from veridical.preprocessing.preprocessing import Preprocessing
from veridical.task import Progress
from veridical.training import denoiser_calibration
from veridical.training.clean_volumes import SOURCES
from veridical.training.denoising_samples import NoisyBatch, add_noise, clean_stack
from veridical.training.described import described
from veridical.training.packed_cache import pack
from veridical.training.prepared_visits import held_out_of
from veridical.training.training_data import YOURS, Course, TrainingData, with_folder
from veridical.types import Study

VALIDATION_LEVELS = (0.03, 0.07, 0.15)


@dataclass(frozen=True)
class DenoisingData(TrainingData):
    """The `[data]` table of a denoiser."""

    learns: ClassVar[str] = "denoising"
    sources: Mapping[str, float] = field(default_factory=lambda: {"photographs": 1.0})
    """Set -> weight; names as in `training.clean_volumes`, absolute paths of folders, and `data`
    for the folder given when the recipe is used.
    """
    held_out: tuple[str, ...] = ()
    """Patients (or beginnings of their names) that are only validated on."""
    validate_on: int = 0
    """Patients of each folder that are held out where none of them is named: chosen by the hash of
    their name, never all.
    """
    batch: int = 16
    """Patches a step."""
    patch: int = 96
    """Side of a patch in pixels."""
    cache: str = "runs/cache"
    """Folder of packed caches; the environment variable VERIDICAL_CACHE names another."""

    def __post_init__(self) -> None:
        for name, weight in self.sources.items():
            known = name in (*SOURCES, YOURS) or Path(name).is_absolute()
            if not known or not weight > 0:
                raise SettingError(
                    f"The recipe trains on {name!r} with weight {weight}. {nearest(name, SOURCES)}"
                )
        if self.batch < 1 or self.patch < 16 or self.patch % 8 or self.validate_on < 0:
            raise SettingError(
                f"batch = {self.batch}, patch = {self.patch}, validate_on = {self.validate_on}; "
                "expected at least 1, a multiple of 8 from 16 on, and at least 0."
            )

    def located(self, beside: Path, folder: str | Path | None) -> DenoisingData:
        """Return the data with the folder that the user gave as a source."""
        return replace(self, sources=with_folder(self.sources, folder))

    @classmethod
    def jobs_of(cls, card: Mapping[str, Any]) -> tuple[str, ...]:
        return denoiser_calibration.JOBS

    @classmethod
    def cases(
        cls, name: str, job: str, studies: Iterable[Study] | None, patients: int, progress: Progress
    ) -> tuple[list[CalibrationCase], str]:
        return denoiser_calibration.cases(name, job, studies, patients, progress)

    def course(
        self, model: type[Any], net: Mapping[str, Any], seed: int, validation: bool
    ) -> DenoisingCourse:
        return DenoisingCourse(self, seed, int(net.get("reach", 2)), validation)


class DenoisingCourse(Course[NoisyBatch]):
    """Draws batches by step number.

    Args:
        data, seed: of the recipe.
        reach: neighbouring slices on each side.
        validation: draw from the held-out patients.
    """

    data: DenoisingData

    def __init__(
        self, data: DenoisingData, seed: int, reach: int, validation: bool = False
    ) -> None:
        super().__init__(data, seed, validation)
        if YOURS in data.sources:
            raise SettingError("This recipe trains on a folder of yours. Say which: --data FOLDER.")
        self.reach, self.held_out = reach, data.held_out
        for name in data.sources:
            if name not in SOURCES:
                self.held_out += held_out_of(name, data.held_out, data.validate_on)
        self.cache = pack(list(data.sources), os.environ.get("VERIDICAL_CACHE") or data.cache)
        self.pools = {name: self._volumes(name) for name in sorted(data.sources)}
        self.mix(self.pools)

    def _volumes(self, name: str) -> list[int]:
        held_out = self.held_out or ("\0",)
        return [
            number
            for number, entry in enumerate(self.cache.entries)
            if entry.source == name and entry.patient.startswith(held_out) == self.validation
        ]

    def patients(self) -> dict[str, int]:
        return {
            name: len({self.cache.entries[n].patient for n in pool})
            for name, pool in self.pools.items()
        }

    def licences(self) -> dict[str, str]:
        return {
            name: SOURCES[name].licence if name in SOURCES else "yours"
            for name in self.data.sources
        }

    def facts(self) -> dict[str, Any]:
        return {
            "preprocessing": Preprocessing().to_card(),
            **described(tuple(self.data.sources), self.held_out),
        }

    def barred(self) -> list[str]:
        # every set of clean volumes may train weights that are passed on; of a folder it is unknown
        return [name for name in self.data.sources if name not in SOURCES]

    def by_patient(self) -> dict[str, DenoisingCourse]:
        """Return the same course for each patient alone."""
        names = {self.cache.entries[n].patient for pool in self.pools.values() for n in pool}
        return {patient: self._of(patient) for patient in sorted(names)}

    def _of(self, patient: str) -> DenoisingCourse:
        alone = copy(self)
        alone.pools = {
            name: [n for n in pool if self.cache.entries[n].patient == patient]
            for name, pool in self.pools.items()
        }
        alone.mix(alone.pools)
        return alone

    def __getitem__(self, step: int) -> NoisyBatch:
        rng = self.generator(step)
        stacks, deep = self.stacks(rng, self.data.batch)
        return add_noise(stacks, deep, torch.Generator().manual_seed(int(rng.integers(2**62))))

    def stacks(self, rng: np.random.Generator, count: int) -> tuple[Tensor, list[bool]]:
        """Draw clean stacks `(count, slice, y, x)` and whether each has neighbours."""
        chosen = [int(rng.choice(self.pools[self.pick(rng)])) for _ in range(count)]
        cut = [
            clean_stack(self.cache, number, 2 * self.reach + 1, self.data.patch, rng)
            for number in chosen
        ]
        return torch.stack(cut), [self.cache.entries[number].deep for number in chosen]

    def losses(
        self, net: nn.Module, item: NoisyBatch, generator: torch.Generator, device: torch.device
    ) -> Iterator[Tensor]:
        batch = item.to(device)
        yield denoising_loss(net(batch.noisy, batch.sigma), batch.clean, batch.sigma, batch.real)

    def validate(
        self, net: nn.Module, count: int, device: torch.device, first: int = 0
    ) -> dict[str, float]:
        """Return mean PSNR in dB (peak 1) of noisy patches and of the net, alone and between
        neighbours, real white noise.
        """
        if not self.names:
            return {}
        sums = dict.fromkeys(("start_db", "net_db", "stack_start_db", "stack_net_db"), 0.0)
        for index in range(first, first + count):
            rng = self.generator(index)
            stacks, _ = self.stacks(rng, self.data.batch)
            generator = torch.Generator().manual_seed(index)
            clean = torch.stack([stacks, torch.zeros_like(stacks)], 2).to(device)
            level = VALIDATION_LEVELS[index % len(VALIDATION_LEVELS)]
            noise = torch.randn(stacks.shape, generator=generator).to(device)
            noisy = clean.clone()
            noisy[:, :, 0] += level * noise
            sigma = torch.full((len(clean), 1, *clean.shape[-2:]), level, device=device)
            middle = slice(self.reach, self.reach + 1)
            for name, shown in (("", noisy[:, middle]), ("stack_", noisy)):
                with torch.inference_mode():
                    found = net(shown, sigma)[:, 0]
                truth = clean[:, self.reach, 0]
                for who, image in (("start", noisy[:, self.reach, 0]), ("net", found)):
                    error = (image - truth).square().mean((1, 2)).clamp_min(1e-9)
                    sums[f"{name}{who}_db"] += float((-10 * error.log10()).mean()) / count
        return {key: round(value, 3) for key, value in sums.items() if math.isfinite(value)}
