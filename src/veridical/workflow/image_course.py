"""The course of models of images: lessons cut from slabs of mixed sources, and now and then a rehearsed raw scan."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from veridical.datasets.cubes import cohort_cube, is_whole, piece
from veridical.datasets.lessons import Lesson, lesson
from veridical.datasets.mri_rehearsal import recolour
from veridical.datasets.patient_volumes import patient_volumes
from veridical.datasets.slabs import LOADERS, Slab, Volume, cohort_slab, normalized, volumes
from veridical.errors import SettingError
from veridical.models.base import ImageModel
from veridical.models.distilled import Teacher, distil_loss
from veridical.models.known import MISSING, Known, collate
from veridical.models.scan_known import known_scan
from veridical.nets.joint import JointNet
from veridical.workflow.course import KNOWN, Course, Data
from veridical.workflow.scan_course import Piece, ScanCourse

GAP = (1.0, 5.0)
"""Distance of neighbouring slices of the cohort, mm."""
CUTS = {2: 3, 3: 8}
"""Patches cut from one slice, cubes cut from one volume, of a digital patient."""
VOXEL = (0.9, 1.6)
"""Voxel size of volumes of the cohort, mm."""
OTHER = 0.1
"""Share of the slabs that become one contrast without a name."""
SCAN_SOURCES = {"cohort": "cohort", "openms": "openms", "ixi": "ixi", "sarcoma-mr": "sarcoma"}


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches, their truth `(batch, channel, y, x)`, and raw scans to learn from in the same step."""

    known: Known
    truth: Tensor
    scans: list[Piece]


class ImageCourse(Course[Batch]):
    """Draws batches of lessons by step number.

    Args:
        model: what is trained.
        net: its net, for channels and the numbers of what is not known.
        data, seed: of the recipe.
        validation: draw from the held-out patients and from other digital patients.
        teacher: of the samplers of few steps; None: learn from the truth.
    """

    def __init__(
        self,
        model: type[ImageModel],
        net: nn.Module,
        data: Data,
        seed: int,
        validation: bool = False,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(data, seed, validation)
        self.model, self.net, self.teacher = model, _without_weights(net), teacher
        self.net.requires_grad_(False)
        self.pools = {name: self._load(name) for name in data.real(KNOWN)}
        self.mix(self.pools)
        self.scans = self._scan_course() if data.scans > 0 and self.net.anchor else None

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

    def _scan_course(self) -> ScanCourse:
        from veridical.models.unrolled import Unrolled

        mix = {SCAN_SOURCES.get(n, n): w for n, w in self.data.sources.items() if n in SCAN_SOURCES or n not in KNOWN}
        return ScanCourse(Unrolled, Data(mix, self.held_out), self.seed, self.validation)

    def __getitem__(self, step: int) -> Batch:
        rng = self.generator(step)
        lessons = self.lessons(step, rng)
        scans = self.scans[step] if self.scans and rng.random() < self.data.scans else []
        return Batch(collate([one.known for one in lessons]), torch.cat([one.truth for one in lessons]), scans[:1])

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
        for scan, truth, contrast in item.scans:
            here = known_scan(self.net, scan.to(device), contrast, str(device))
            yield 0.2 * self._loss(net, here.known, here.truth(truth.to(device)), generator)

    def _loss(self, net: nn.Module, known: Known, truth: Tensor, generator: torch.Generator) -> Tensor:
        if self.teacher is None:
            return self.model.lesson_loss(net, known, truth, generator)
        return distil_loss(net, self.teacher, known, truth, generator)

    def validate(self, net: nn.Module, count: int, device: torch.device) -> dict[str, float]:
        """Return PSNR in dB (peak 1) over the drawn channels inside the support, of the anchors and of the net in one step:
        missing channels, degraded channels, raw scans.
        """
        scores: dict[str, list[tuple[float, float]]] = {"missing": [], "degraded": [], "scan": []}
        for index in range(count):
            batch = self[index]
            known = batch.known.to(device)
            guess = self.model.lesson_guess(net, known)
            for kind, found in _errors(known, guess, batch.truth.to(device)):
                scores[kind].append(found)
            for scan, truth, contrast in batch.scans:
                here = known_scan(self.net, scan.to(device), contrast, str(device))
                guess = self.model.lesson_guess(net, here.known)
                scores["scan"] += [found for _, found in _errors(here.known, guess, here.truth(truth.to(device)))]
        means = {kind: np.mean(found, 0) for kind, found in scores.items() if found}
        named = [(f"{kind}_{who}_db", m[i]) for kind, m in means.items() for i, who in enumerate(("start", "net"))]
        return {name: round(float(value), 3) for name, value in named}


def unnamed(slab: Slab, rng: np.random.Generator) -> Slab:
    """Return one channel of a slab under a random contrast, called `other`; the slab itself where that hides it."""
    image = slab.images[int(rng.integers(len(slab.names)))]
    flat, _ = recolour(image.reshape(-1, image.shape[-1]), "other", rng)
    if not float(flat.max()) > 0.05:
        return slab
    curved = normalized(flat.numpy().reshape(1, *image.shape), "other")
    return replace(slab, images=curved, names=("other",))


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
    constant, noise, share, size = net.error
    facts = (net.prior_mean, net.prior_std, net.anchor, (constant, noise, share, size), net.dims)
    return JointNet(net.channels, (8, 8), 1, *facts)
