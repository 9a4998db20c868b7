"""Translate between modalities: CT from MR, PET from MR and CT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from veridical.task import Progress, Task
from veridical.tasks.complete import Complete, without_lesions
from veridical.types import Result, Study

if TYPE_CHECKING:
    from veridical.models.head_segmenter import HeadSegmenter

STRUCTURES, BODY = "structures", "body"


@dataclass(frozen=True)
class Translate(Complete):
    """Make a modality that is missing from T1w, CT (HU) and PET (SUV), as far as they were
    measured.
    """

    to: str = "CT"
    """Modality to make: CT, PET or T1w; several separated by commas."""
    model: str = "generator"
    """generator; structures: CT and FDG-PET of a head from what the segmenter finds, each structure
    with its usual value; intensity-map: the polynomial that the generator starts from.
    """
    weights: str = BODY
    """Shipped weights, body (limbs) or brain (heads), or path of others (.safetensors with a card
    beside it). Of the model structures, those of the segmenter when not given.
    """

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        if self.model != STRUCTURES:
            return super().apply(study, seed, progress)
        from veridical.tasks.from_structures import VALUES, from_structures

        image, _ = without_lesions(study.image())
        wanted = self.wanted(image.channels, tuple(VALUES))
        progress("structures", 0, 1)
        made = from_structures(self._segmenter(), image, wanted)
        progress("structures", 1, 1)
        return made

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        if self.model != STRUCTURES:
            return super().of_visit(names)
        making = tuple(name for name in self.wanted((), ("CT", "PET")) if name not in names)
        given = tuple(name for name in names if name.split(".")[0] != "PET" and name not in making)
        return replace(self, to=",".join(making)), given if making else (), making

    def model_and_weights(self) -> tuple[str, str]:
        if self.model != STRUCTURES:
            return super().model_and_weights()
        return self.model, self._segmenter().weights_hash

    def _segmenter(self) -> HeadSegmenter:
        from veridical.models.head_segmenter import HeadSegmenter

        given = {} if self.weights == BODY else {"weights": self.weights}
        return HeadSegmenter(**given, device=self.device)
