"""What changed between the first and the last visit of a patient: one image minus the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from veridical.errors import InputError
from veridical.task import Progress, Task
from veridical.types import Result, Study


@dataclass(frozen=True)
class Difference(Task):
    """Subtract the first visit from the last."""

    takes: ClassVar[Literal["image", "visit", "raw", "study"]] = "study"

    channel: str = "T1w"
    """Which image of each visit."""
    scale: float = 1.0
    """By which the difference is multiplied."""

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        if len(study.days) < 2:
            raise InputError(
                f"A difference needs two visits; the study has {len(study.days)}. Add an earlier "
                "one."
            )
        first, last = (
            study.image(day).channel(self.channel) for day in (study.days[0], study.days[-1])
        )
        if not (np.isfinite(first.data).all() and np.isfinite(last.data).all()):
            raise InputError("The images hold NaN or infinite values; write a number there.")
        data = np.float32(self.scale) * (
            np.asarray(last.data, np.float32) - np.asarray(first.data, np.float32)
        )
        absent = dict.fromkeys(
            ("draws", "interval", "evidence"), "A difference of two images has no posterior."
        )
        return Result(
            replace(last, data=data),
            "point estimate",
            absent=absent,
            facts={"measured": (self.channel,)},
        )

    def model_and_weights(self) -> tuple[str, str]:
        return "difference", "none"
