"""Small tasks for tests of what surrounds tasks: they take no model and no time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from veridical.errors import InputError
from veridical.task import Progress, Takes, Task
from veridical.types import Evidence, Finding, Image, Interval, Result, Study


@dataclass(frozen=True)
class Jitter(Task):
    """Add noise to an image, with every companion a result can have."""

    spread: float = 0.5
    """Standard deviation of the noise, in the units of the image."""
    draws: int = 4
    """Number of draws; the estimate is their mean."""
    keep: tuple[str, ...] = ()
    """Channels to keep; all when empty."""

    weights = "none"

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        subject = study.image()
        names = self.keep or subject.channels
        data = np.stack([subject[name] for name in names]).astype(np.float32)
        noise = (
            np.random.default_rng(seed)
            .normal(0, self.spread, (self.draws, *data.shape))
            .astype(np.float32)
        )
        for index in range(self.draws):
            progress("drawing", index + 1, self.draws)
        mean = data + noise.mean(0)
        return Result(
            Image(mean, subject.geometry, subject.units, names, subject.header),
            "posterior mean",
            data + noise,
            Interval(mean - 2, mean + 2, 0.9, 20, "given", "nothing: this is a test"),
            Evidence(np.full_like(mean, 0.5), data, mean - data),
            (
                Finding(
                    "consistency",
                    "pass",
                    "residual equals the noise",
                    {"chi2": np.float32(1.0), "nan": float("nan")},
                ),
                Finding("scope", "not_run", "there is no model"),
            ),
            absent={"memorization": "no training images"},
        )

    def model_and_weights(self) -> tuple[str, str]:
        return "none", type(self).weights


@dataclass(frozen=True)
class Compose(Jitter):
    """Make a contrast as the mean of those that a visit has."""

    takes: ClassVar[Takes] = "visit"

    to: str = "FLAIR"
    """The contrast to make."""

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        given = study.image()
        if not np.asarray(given.data).any((1, 2, 3)).all():
            raise InputError(f"{', '.join(given.channels)} shows nothing.")
        mean = np.asarray(given.data, np.float32).mean(0, keepdims=True)
        made = Image(mean, given.geometry, "a.u.", (self.to,), {})
        return Jitter(self.spread, self.draws).apply(Study.of(made), seed, progress)

    def of_visit(self, names: tuple[str, ...]) -> tuple[Task, tuple[str, ...], tuple[str, ...]]:
        return self, names if self.to not in names else (), (self.to,)


@dataclass(frozen=True)
class Change(Jitter):
    """Subtract the first visit of a patient from the last: a task that takes whole studies."""

    takes: ClassVar[Takes] = "study"

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        first, last = (study.image(day).channel("T1w") for day in (study.days[0], study.days[-1]))
        made = replace(last, data=np.asarray(last.data) - np.asarray(first.data))
        return replace(
            Jitter(self.spread, self.draws).apply(Study.of(made), seed, progress), kind="one draw"
        )
