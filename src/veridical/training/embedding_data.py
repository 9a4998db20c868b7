"""What a joint embedding learns from: digital patients, their reports in ever other words, and
their clinical variables; validated on heads that were held out, with held-out templates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from veridical.errors import SettingError
from veridical.language.fact_vectors import report_vector
from veridical.language.grammar import Split, report
from veridical.language.reader import read_report
from veridical.models.joint_embedding import CONTRASTS, variables_vector
from veridical.nets.joint_towers import JointTowers, contrastive_loss, cubes_of
from veridical.preprocessing.coarse_head import SHAPE
from veridical.training.described_patients import LEVELS, MARGIN, cached
from veridical.training.training_data import Course, TrainingData
from veridical.types import Array

KEPT, ALONE = 0.9, 0.1
"""How often a contrast is shown; and how often one alone is, without its name."""
GAIN = (0.85, 1.18)
"""Range of the brightness of each contrast, inner tissue being 1."""
PLACES = 1
"""Places on the grid in which each head is learned from."""
UNKNOWN = 0.2
"""How often a clinical variable is not known."""
GENES, FACTS = 0.3, 15.0
"""Weight of the pairs of image and variables, and of what the image is taken to say."""
NULL = 1000
"""Similarities kept of what does not belong together."""
UNCALIBRATED = "A similarity has no interval. Its chance, by unrelated pairs, is in the card: null."
LICENCE = "Apache-2.0 (shapes and label maps of heads), painted by this package"


@dataclass(frozen=True)
class EmbeddingData(TrainingData):
    """The `[data]` table of a joint embedding."""

    learns: ClassVar[str] = "embedding"
    sources: Mapping[str, float] = field(default_factory=lambda: {"phantoms": 1.0})
    """Only `phantoms`: imagined heads with lesions that a report describes."""
    heads: int = 450
    """Imagined heads; each has four patients."""
    validate_on: int = 50
    """Of them the last, which are only validated on."""
    batch: int = 48
    """Patients a step, among which each is to be told."""
    cache: str = "runs/cache"
    """Folder of packed caches; the environment variable VERIDICAL_CACHE names another."""

    def __post_init__(self) -> None:
        if set(self.sources) != {"phantoms"}:
            raise SettingError(
                f"sources = {dict(self.sources)}; a joint embedding learns from 'phantoms' alone."
            )
        if self.batch < 2 or not 1 <= self.validate_on < self.heads:
            raise SettingError(
                f"batch = {self.batch}, heads = {self.heads}, validate_on = {self.validate_on}; "
                "expected a batch of at least 2, and at least one head on each side."
            )

    def course(
        self, model: type[Any], net: Mapping[str, Any], seed: int, validation: bool
    ) -> EmbeddingCourse:
        return EmbeddingCourse(self, seed, validation)


@dataclass(frozen=True, eq=False)
class DescribedBatch:
    """A batch: cubes of images `(batch, contrast, 3, cube)`, reports and variables `(batch,
    number)`.
    """

    images: Tensor
    reports: Tensor
    variables: Tensor

    def to(self, device: torch.device) -> DescribedBatch:
        """Return the same on a device."""
        parts = (self.images, self.reports, self.variables)
        return DescribedBatch(*(part.to(device) for part in parts))


class EmbeddingCourse(Course[DescribedBatch]):
    """Draws batches by step number.

    Args:
        data, seed: of the recipe.
        validation: draw from the held-out heads.
    """

    data: EmbeddingData

    def __init__(self, data: EmbeddingData, seed: int, validation: bool = False) -> None:
        super().__init__(data, seed, validation)
        self.cache = cached(os.environ.get("VERIDICAL_CACHE") or data.cache, data.heads, 0)
        held_out = self.cache.heads >= data.heads - data.validate_on
        self.numbers = np.flatnonzero(held_out == validation)
        self.names = ["phantoms"]
        self.cubes = self._looked_at()

    def patients(self) -> dict[str, int]:
        return {"phantoms": len(self.numbers)}

    def licences(self) -> dict[str, str]:
        return {"phantoms": LICENCE}

    def barred(self) -> list[str]:
        return []

    def __getitem__(self, step: int) -> DescribedBatch:
        rng = self.generator(step)
        chosen = rng.choice(self.numbers, min(self.data.batch, len(self.numbers)), replace=False)
        return self.batch(chosen, rng)

    def batch(self, numbers: Array, rng: np.random.Generator) -> DescribedBatch:
        """Return some patients: varied where they are learned from, as they are otherwise."""
        split: Split = "held-out" if self.validation else "train"
        images = [self._seen(int(number), rng) for number in numbers]
        texts = [report(self.cache.facts[int(number)], rng, split) for number in numbers]
        known = [dict(self.cache.variables[int(number)]) for number in numbers]
        if not self.validation:
            known = [
                {name: value for name, value in one.items() if rng.random() > UNKNOWN}
                for one in known
            ]
        return DescribedBatch(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack([report_vector(read_report(one).facts) for one in texts])),
            torch.from_numpy(np.stack([variables_vector(one) for one in known])),
        )

    def begin(self, net: nn.Module) -> None:
        """Set the towers to what ridge regression says of the facts of a report, from the cubes of
        the image and from clinical variables; distances are those of facts that were made
        uncorrelated. Gradient descent from random weights came less far (see the measurements).
        """
        assert isinstance(net, JointTowers)
        patients, places = self.cubes.shape[:2]
        cubes = self.cubes.reshape(patients * places, *self.cubes.shape[2:]).astype(np.float32)
        blank = np.zeros((len(cubes), 1, *cubes.shape[2:]), np.float32)
        facts = [self.cache.facts[int(n)] for n in self.numbers for _ in range(places)]
        known = [self.cache.variables[int(n)] for n in self.numbers for _ in range(places)]
        net.begin(
            torch.from_numpy(np.concatenate([cubes, blank], 1)),
            torch.from_numpy(np.stack([report_vector(one) for one in facts])),
            torch.from_numpy(np.stack([variables_vector(one) for one in known])),
        )

    def _looked_at(self) -> Array:
        """Return the cubes of every patient of the course, `(patient, place, contrast, 3, cube)`
        float16: in a few places on the grid where they are learned from.
        """
        rng = np.random.default_rng((self.seed, 5))
        drawn = rng.integers(0, 2 * MARGIN + 1, (PLACES, 3))
        places = [(MARGIN,) * 3] if self.validation else drawn.tolist()
        found = []
        for number in self.numbers:
            stored = self.cache.images[int(number)]
            for corner in places:
                x, y, z = (slice(at, at + n) for at, n in zip(corner, SHAPE, strict=True))
                image = torch.from_numpy(stored[:, x, y, z] / np.float32(LEVELS))
                found.append(cubes_of(image[None])[0].half().numpy())
        every = np.stack(found)
        return every.reshape(len(self.numbers), len(places), *every.shape[1:])

    def _seen(self, number: int, rng: np.random.Generator) -> Array:
        """Return a patient's cubes, `(contrast, 3, cube)`; moved, some missing, in training."""
        known = self.cubes[int(np.searchsorted(self.numbers, number))]
        chosen = known[int(rng.integers(len(known)))].astype(np.float32)
        found = np.zeros((len(CONTRASTS) + 1, *chosen.shape[1:]), np.float32)
        found[:-1] = chosen
        if self.validation:
            return found
        found[:-1] *= rng.uniform(*GAIN, (len(CONTRASTS), 1, 1)).astype(np.float32)
        kept = rng.random(len(CONTRASTS)) < KEPT
        kept[int(rng.integers(len(CONTRASTS)))] = True
        if rng.random() < ALONE:
            found[-1] = found[int(rng.integers(len(CONTRASTS)))]
            kept[:] = False
        found[:-1][~kept] = 0
        return found

    def losses(
        self, net: nn.Module, item: DescribedBatch, generator: torch.Generator, device: torch.device
    ) -> Iterator[Tensor]:
        batch = item.to(device)
        images, reports, variables, facts = net(batch.images, batch.reports, batch.variables)
        yield (
            contrastive_loss(images, reports, net.sharpness[0])  # type: ignore[index]
            + GENES * contrastive_loss(images, variables, net.sharpness[1])  # type: ignore[index]
            + FACTS * (facts - batch.reports).square().mean()
        )

    def closing(self, net: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return `null`: how alike images of held-out patients are to reports, images and variables
        of patients with another finding, in order; and `uncalibrated`.
        """
        images, reports, variables = embedded(net, self, device)
        said = [tuple(fact.kind for fact in self.cache.facts[int(n)]) for n in self.numbers]
        sides = [[fact.side + fact.lobe for fact in self.cache.facts[int(n)]] for n in self.numbers]
        other = np.array(
            [[(a, b) != (c, d) for c, d in zip(said, sides, strict=True)]
             for a, b in zip(said, sides, strict=True)]
        )  # fmt: skip
        rng, null = np.random.default_rng(self.seed), {}
        for name, vectors in (("text", reports), ("image", images), ("genes", variables)):
            alike = np.sort((images @ vectors.T)[other])
            drawn = np.sort(rng.choice(alike, min(NULL, len(alike)), replace=False))
            null[name] = [round(float(one), 4) for one in drawn]
        return {"null": null, "uncalibrated": UNCALIBRATED}

    def validate(
        self, net: nn.Module, count: int, device: torch.device, first: int = 0
    ) -> dict[str, float]:
        """Return recall at 1 and 5 among the patients of a batch: text to image, image to text,
        variables to image.
        """
        found: dict[str, list[float]] = {}
        with torch.inference_mode():
            for index in range(first, first + count):
                batch = self[index].to(device)
                images, reports, variables, _ = net(batch.images, batch.reports, batch.variables)
                pairs = {"text": reports @ images.mT, "image": images @ reports.mT}
                for name, alike in (pairs | {"genes": variables @ images.mT}).items():
                    rank = (alike > alike.diagonal()[:, None]).sum(1)
                    for best in (1, 5):
                        share = float((rank < best).float().mean())
                        found.setdefault(f"{name}_recall_at_{best}", []).append(share)
        return {name: round(float(np.mean(shares)), 4) for name, shares in found.items()}


def embedded(
    net: nn.Module, course: EmbeddingCourse, device: torch.device
) -> tuple[Array, Array, Array]:
    """Return the vectors of all patients of a course: images, reports, variables, `(patient,
    size)`.

    Args:
        net: the towers.
        course: of the patients that are held out, or of those learned from.
        device: to compute on.
    """
    found: list[list[Array]] = [[], [], []]
    with torch.inference_mode():
        for number in course.numbers:
            rng = np.random.default_rng((course.seed, int(number)))
            one = course.batch(np.array([number]), rng).to(device)
            for vectors, made in zip(
                found, net(one.images, one.reports, one.variables)[:3], strict=True
            ):
                vectors.append(made[0].cpu().numpy())
    images, reports, variables = (np.stack(vectors) for vectors in found)
    return images, reports, variables
