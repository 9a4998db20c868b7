"""What a segmenter learns from: heads painted from label maps in any contrast, and their
structures.

No real image is needed, so that no scanner is preferred; real images are what it is tried on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from veridical.errors import SettingError
from veridical.models.head_segmenter import GROUPS, SPACING, grouped
from veridical.phantoms.free_contrast import free_contrast, scaled
from veridical.phantoms.label_heads import LabelHeads
from veridical.phantoms.rendering import render
from veridical.training.digital_patients import LICENCES, VALIDATION, painted_heads
from veridical.training.training_data import Course, TrainingData
from veridical.types import Array

PHYSICAL = 0.3
"""Share of images that follow the signal equations; the others have any contrast."""
CONTRASTS = ("T1w", "T2w", "FLAIR", "PD", "T1c", "CT")
CONTRAST_ODDS = (0.35, 0.2, 0.2, 0.08, 0.12, 0.05)
OFF = (20.0, 26.0, 24.0)
"""Largest shift of a crop from the middle of the brain along x, y, z, mm."""


@dataclass(frozen=True)
class SegmentationData(TrainingData):
    """The `[data]` table of a segmenter."""

    learns: ClassVar[str] = "segmentation"
    sources: Mapping[str, float] = field(default_factory=lambda: {"painted": 1.0})
    """Only `painted`: heads from label maps."""
    held_out: tuple[str, ...] = ()
    """Label maps (or beginnings of their names) that are only validated on."""
    batch: int = 1
    """Crops a step."""
    crop: tuple[int, ...] = (80, 96, 80)
    """Voxels of 2 mm along x, y, z."""

    def __post_init__(self) -> None:
        if set(self.sources) != {"painted"}:
            raise SettingError(
                f"sources = {dict(self.sources)}; a segmenter learns from 'painted' heads alone."
            )
        if len(self.crop) != 3 or min(self.crop) < 16 or self.batch < 1:
            raise SettingError(
                f"crop = {self.crop}, batch = {self.batch}; expected three sides of at least 16 "
                "voxels, and at least 1."
            )

    def course(
        self, model: type[Any], net: Mapping[str, Any], seed: int, validation: bool
    ) -> SegmentationCourse:
        return SegmentationCourse(self, seed, validation)


@dataclass(frozen=True, eq=False)
class Crops:
    """Images `(batch, 1, x, y, z)`, and the groups of their structures `(batch, x, y, z)`."""

    images: Tensor
    labels: Tensor


class SegmentationCourse(Course[Crops]):
    """Draws crops by step number.

    Args:
        data, seed: of the recipe.
        validation: draw from the label maps that are held out.
    """

    data: SegmentationData

    def __init__(self, data: SegmentationData, seed: int, validation: bool = False) -> None:
        super().__init__(data, seed, validation)
        self.heads: LabelHeads = painted_heads(
            seed + (VALIDATION if validation else 0), data.held_out, validation
        )
        self.names = ["painted"]

    def patients(self) -> dict[str, int]:
        return {"painted": len(self.heads.maps)}

    def licences(self) -> dict[str, str]:
        return {"painted": LICENCES["painted"]}

    def barred(self) -> list[str]:
        return []

    def __getitem__(self, step: int) -> Crops:
        pairs = [self.sample(step * self.data.batch + n) for n in range(self.data.batch)]
        images, labels = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
        return Crops(images[:, None], labels.long())

    def sample(self, index: int) -> tuple[Array, Array]:
        """Return the image of patient `index` and its groups, `(x, y, z)` each."""
        rng = np.random.default_rng([self.seed, index, 3, int(self.validation)])
        x, y, z = self.data.crop
        middle = rng.uniform(-1, 1, 3) * OFF - np.array([0.0, 0.0, 8.0])
        origin = middle - SPACING * (np.array([x, y, z]) - 1) / 2
        target = grouped(self.heads.structures(index, origin, SPACING, (x, y, z)))
        if rng.random() < PHYSICAL:
            return self._physical(index, origin, (x, y, z), rng), target
        double = self.heads.structures(
            index, origin - SPACING / 4, SPACING / 2, (2 * x, 2 * y, 2 * z)
        )
        return free_contrast(double, rng), target

    def _physical(
        self, index: int, origin: Array, shape: tuple[int, int, int], rng: np.random.Generator
    ) -> Array:
        """Return an image under the sequence of the patient's scanner, with noise."""
        head = self.heads.cropped(index, origin, SPACING, shape)
        contrast = CONTRASTS[int(rng.choice(len(CONTRASTS), p=CONTRAST_ODDS))]
        image = render(head, contrast)
        image = np.clip(image + 1000, 0, 2500) if contrast == "CT" else image
        noise = rng.uniform(0, 0.04) * np.percentile(image, 99.5)
        return scaled(np.abs(image + noise * rng.standard_normal(shape, np.float32)))

    def losses(
        self, net: nn.Module, item: Crops, generator: torch.Generator, device: torch.device
    ) -> Iterator[Tensor]:
        logits = net(item.images.to(device), torch.zeros(len(item.images), 1, device=device))
        labels = item.labels.to(device)
        yield functional.cross_entropy(logits, labels) + 1 - soft_dice(logits, labels).mean()

    def validate(
        self, net: nn.Module, count: int, device: torch.device, first: int = 0
    ) -> dict[str, float]:
        """Return the mean Dice over structures and that of a few, on unseen heads; of those that
        are there.
        """
        scores = []
        with torch.inference_mode():
            for index in range(first, first + count):
                item = self[index]
                blank = torch.zeros(len(item.images), 1, device=device)
                found = net(item.images.to(device), blank).argmax(1).cpu()
                scores.append(_dice(found, item.labels))
        known = {
            name: float(np.mean([score[group] for score in scores if group in score]))
            for group, name in enumerate(GROUPS)
            if group and any(group in score for score in scores)
        }
        few = ("white matter", "cortex", "lateral ventricle", "putamen", "skull", "lesion")
        return {"dice": round(float(np.mean([*known.values()])), 4)} | {
            f"dice_{name.replace(' ', '_')}": round(known[name], 4) for name in few if name in known
        }


def soft_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the soft Dice `(group,)` of groups that are there, over the whole batch; 1 for
    others.
    """
    probability = logits.softmax(1)
    truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(probability)
    axes = (0, *range(2, logits.ndim))
    both, sizes = (probability * truth).sum(axes), (probability + truth).sum(axes)
    there = truth.sum(axes) > 0
    return torch.where(there, (2 * both + 1) / (sizes + 1), torch.ones_like(both))


def _dice(found: Tensor, truth: Tensor) -> dict[int, float]:
    """Return group -> Dice, of groups that are there."""
    scores = {}
    for group in range(len(GROUPS)):
        one, other = found == group, truth == group
        if other.any():
            scores[group] = 2 * int((one & other).sum()) / int(one.sum() + other.sum())
    return scores
