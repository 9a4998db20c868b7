"""The course of models of images: lessons cut from slabs of mixed sources."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.layouts.pool import LICENCES
from veridical.models.base import ImageModel
from veridical.models.distilled import Teacher, distil_loss
from veridical.models.known import MISSING, Known, collate
from veridical.nets.joint import JointNet
from veridical.phantoms.cohort import Cohort
from veridical.training.cubes import cohort_cube, is_whole, piece
from veridical.training.image_data import VALIDATION_COHORT, ImageData, refuse_testing_only
from veridical.training.lessons import Lesson, lesson
from veridical.training.patient_volumes import patient_volumes
from veridical.training.slabs import LOADERS, MAY_SHIP, Slab, Volume, cohort_slab, normalized, volumes
from veridical.training.training_data import Course
from veridical.types import Array

GAP = (1.0, 5.0)
"""Distance of neighbouring slices of the cohort, mm."""
CUTS = {2: 3, 3: 8}
"""Patches cut from one slice, cubes cut from one volume, of a digital patient."""
VOXEL = (0.9, 1.6)
"""Voxel size of volumes of the cohort, mm."""
OTHER = 0.1
"""Share of the slabs that become one contrast without a name."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches and their truth `(batch, channel, y, x)`."""

    known: Known
    truth: Tensor


class ImageCourse(Course[Batch]):
    """Draws batches of lessons by step number.

    Args:
        model: what is trained.
        net: its net, for channels and the numbers of what is not known.
        data, seed: of the recipe.
        validation: draw from the held-out patients and from other digital patients.
        teacher: of the samplers of few steps; None: learn from the truth.
    """

    data: ImageData
    limits: ClassVar[str] = (
        "MR slices of heads, and a few of limbs; not for diagnosis. Other anatomy, contrasts, scanners and degradations than "
        "those rehearsed are outside of what it knows, and the scope check does not find all of them."
    )

    def __init__(
        self,
        model: type[ImageModel],
        net: nn.Module,
        data: ImageData,
        seed: int,
        validation: bool = False,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(data, seed, validation)
        self.held_out = data.unseen()
        self.cohort = refuse_testing_only(Cohort(seed + VALIDATION_COHORT * validation))
        self.model, self.net, self.teacher = model, _without_weights(net), teacher
        self.net.requires_grad_(False)
        self.pools = {name: self._load(name) for name in data.real()}
        self.mix(self.pools)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the teacher out: other processes only prepare batches."""
        return {**self.__dict__, "teacher": None}

    def _load(self, name: str) -> list[tuple[Volume, list[int]]]:
        """Return the volumes of a source in the net's channels, and their slices to learn from."""
        if name in LOADERS:
            every = (volume.only(self.net.channels) for volume in volumes(name, self.held_out, self.validation))
            found = [volume for volume in every if volume is not None]
        else:
            found = patient_volumes(name, self.net.channels, self.held_out, self.validation)
        if self.net.dims == 3:
            found = [volume for volume in found if is_whole(volume)]
        pool = [(volume, usable) for volume in found if (usable := volume.usable())]
        if not pool and not self.validation:
            what = "slices" if self.net.dims == 2 else "volumes without thick slices"
            raise SettingError(f"{name!r} has no {what} in the channels of this net, {', '.join(self.net.channels)}.")
        return pool

    def patients(self) -> dict[str, int]:
        return {name: len({volume.patient for volume, _ in pool}) for name, pool in self.pools.items()}

    def licences(self) -> dict[str, str]:
        return {name: LICENCES.get(name, "not known to this package") for name in self.data.sources}

    def barred(self) -> list[str]:
        return [name for name in self.data.sources if name not in MAY_SHIP]

    def __getitem__(self, step: int) -> Batch:
        rng = self.generator(step)
        lessons = self.lessons(step, rng)
        return Batch(collate([one.known for one in lessons]), torch.cat([one.truth for one in lessons]))

    def lessons(self, step: int, rng: np.random.Generator) -> list[Lesson]:
        """Draw the lessons of a step."""
        found: list[Lesson] = []
        while len(found) < self.data.batch:
            name = self.pick(rng)
            slab = self.digital(step * self.data.batch + len(found), rng) if name == "cohort" else self.real(name, rng)
            if "other" in self.net.channels and rng.random() < OTHER:
                slab = unnamed(slab, rng)
            for _ in range(min(CUTS[self.net.dims] if name == "cohort" else 1, self.data.batch - len(found))):
                found.append(lesson(slab, self.net, self.data.patch, rng, self.data.jobs, self.data.degraded_by))
        return found

    def digital(self, index: int, rng: np.random.Generator) -> Slab:
        """Return a slab, or a volume, of a digital patient in all channels that the cohort can show."""
        shown = tuple(name for name in self.net.channels if name in ("T1w", "T2w", "FLAIR", "PD", "T1c"))
        if self.net.dims == 3:
            return cohort_cube(self.cohort, index, shown, float(rng.uniform(*VOXEL)))
        return cohort_slab(self.cohort, index, shown, float(rng.uniform(*GAP)))

    def real(self, name: str, rng: np.random.Generator) -> Slab:
        """Return a slab, or a piece of a volume, of a real patient, every volume of a set alike often."""
        volume, usable = self.pools[name][int(rng.integers(len(self.pools[name])))]
        if self.net.dims == 3:
            return piece(volume, self.data.patch, rng)
        return volume.slab(usable[int(rng.integers(len(usable)))])

    def losses(self, net: nn.Module, item: Batch, generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
        yield self._loss(net, item.known.to(device), item.truth.to(device), generator)

    def _loss(self, net: nn.Module, known: Known, truth: Tensor, generator: torch.Generator) -> Tensor:
        if self.teacher is None:
            return self.model.lesson_loss(net, known, truth, generator)
        return distil_loss(net, self.teacher, known, truth, generator)

    def validate(self, net: nn.Module, count: int, device: torch.device) -> dict[str, float]:
        """Return PSNR in dB (peak 1) over the drawn channels inside the support, of the anchors and of the net in one step:
        missing channels, degraded channels.
        """
        scores: dict[str, list[tuple[float, float]]] = {"missing": [], "degraded": []}
        for index in range(count):
            batch = self[index]
            known = batch.known.to(device)
            guess = self.model.lesson_guess(net, known)
            for kind, found in _errors(known, guess, batch.truth.to(device)):
                scores[kind].append(found)
        means = {kind: np.mean(found, 0) for kind, found in scores.items() if found}
        named = [(f"{kind}_{who}_db", m[i]) for kind, m in means.items() for i, who in enumerate(("start", "net"))]
        return {name: round(float(value), 3) for name, value in named}


def unnamed(slab: Slab, rng: np.random.Generator) -> Slab:
    """Return one channel of a slab under a random contrast, called `other`; the slab itself where that hides it."""
    image = slab.images[int(rng.integers(len(slab.names)))]
    flat = recoloured(image, rng)
    if not float(flat.max()) > 0.05:
        return slab
    curved = normalized(flat.numpy()[None], "other")
    return replace(slab, images=curved, names=("other",))


def recoloured(image: Array, rng: np.random.Generator) -> Tensor:
    """Change the contrast of an image: a mild gamma, or a random piecewise linear intensity curve."""
    picture = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).clamp(0, 1.5)
    kind = rng.random()
    if kind < 0.4:
        return picture ** float(rng.uniform(0.8, 1.3))
    knots = (
        np.concatenate([[0.0], rng.uniform(0.05, 1.0, 5)])
        if kind < 0.75
        else np.cumsum(np.concatenate([[0.0], rng.uniform(0, 0.4, 5)]))
    )
    curve = torch.from_numpy(np.interp(np.linspace(0, 1.5, 256), np.linspace(0, 1.5, len(knots)), knots).astype(np.float32))
    at = picture * (255 / 1.5)
    low = at.floor().long().clamp(0, 254)
    part = at - low
    return curve[low] * (1 - part) + curve[low + 1] * part


def _errors(known: Known, guess: Tensor, truth: Tensor) -> Iterator[tuple[str, tuple[float, float]]]:
    for row, channel in torch.nonzero(known.drawn.flatten(1)).tolist():
        inside = known.support[row, 0] > 0.5
        if inside.any():
            both = [(image[row, channel] - truth[row, channel])[inside].square().mean() for image in (known.anchor, guess)]
            before, after = (-10 * math.log10(max(float(b), 1e-9)) for b in both)
            yield ("missing" if known.status[row, channel] == MISSING else "degraded"), (before, after)


def _without_weights(net: nn.Module) -> JointNet:
    """Return a small net that knows what lessons need of a net over the joint state, and can go to other processes."""
    if not isinstance(net, JointNet):
        raise TypeError("a net over the joint state was expected")
    return JointNet(net.channels, (8, 8), 1, net.prior_mean, net.prior_std, net.dims)
