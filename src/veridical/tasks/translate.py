"""From one modality to another: CT from MR, PET from MR and CT; what plans a treatment when only MR was measured."""

from __future__ import annotations

from dataclasses import dataclass

from veridical.task import Progress
from veridical.tasks.complete import Complete, made
from veridical.types import Result, Study


@dataclass(frozen=True)
class Translate(Complete):
    """Make a modality that is missing. The channels of the image say what was measured: T1w, CT (HU), PET (SUV)."""

    to: str = "CT"
    """Modality to make: CT, PET or T1w; several separated by commas."""
    model: str = "body-prior"
    """Which model: body-prior, or a baseline with weights of your own: regressor, translation-gan, bridge."""

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        return made(self, study, seed, progress)
