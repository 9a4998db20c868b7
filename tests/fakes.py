"""A small task for tests of what surrounds tasks: it takes no model and no time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veridical.task import Progress, Task
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
        noise = np.random.default_rng(seed).normal(0, self.spread, (self.draws, *data.shape)).astype(np.float32)
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
                Finding("consistency", "pass", "residual equals the noise", {"chi2": np.float32(1.0), "nan": float("nan")}),
                Finding("scope", "not_run", "there is no model"),
            ),
            absent={"memorization": "no training images"},
        )

    def model_and_weights(self) -> tuple[str, str]:
        return "none", type(self).weights
