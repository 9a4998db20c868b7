"""Streaks of CT from few views, put into real slices: the difference of filtered back-projection of
few and of enough views.

The slice keeps its own resolution and noise. That a parallel beam needs pi / 2 views a pixel of the
width: Kak and Slaney 1988, chapter 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from veridical.errors import SettingError
from veridical.physics.backprojection import filtered_backprojection
from veridical.physics.degradation import Degradation, checked, log_uniform
from veridical.physics.low_dose import GE, WATER, attenuation
from veridical.physics.parallel_beam import ParallelBeam, half_turn
from veridical.types import Array

ENOUGH = math.pi / 2
"""Views a pixel of the width, over half a turn."""
BIN = 0.6
"""Width of detector bins in pixels: 0.58 mm in scanners whose pixels have 0.7 to 1 mm. Streaks are
sharper than pixels.
"""


@dataclass(frozen=True)
class SparseViewStreaks(Degradation):
    """A parallel beam over half a turn, reconstructed with a soft kernel; means in even tissue are
    kept.

    Streaks are about a third stronger than those of a fan beam with twice as many views over a full
    turn.
    """

    name: ClassVar[str] = "sparse-view-streaks"
    modalities: ClassVar[tuple[str, ...]] = ("CT",)
    harmless: ClassVar[Mapping[str, Any]] = {"share": (1.0, 1.0)}
    share: tuple[float, float] = (0.1, 0.45)
    """Of the views that the width needs, up to 1: 60 to 250 of the 550 over a body of 350 mm in
    pixels of 1 mm.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share[1] > 1:
            raise SettingError(
                f"sparse-view-streaks: share = {self.share}; expected at most 1 (all views that "
                "are needed)."
            )

    def draw(
        self, shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the number of `views` over half a turn, and the angle at which they `start`, in
        radians.
        """
        views = max(2, round(log_uniform(self.share, rng) * ENOUGH * max(shape)))
        return {"views": views, "start": rng.uniform(0, math.pi / views)}

    def apply(
        self, image: Array, spacing: tuple[float, float], parameters: Mapping[str, Any]
    ) -> Array:
        slices = checked(image)
        shape, mu = (slices.shape[1], slices.shape[2]), attenuation(slices)

        def seen(views: int) -> Array:
            beam = ParallelBeam(
                shape, spacing, half_turn(views) + parameters["start"], pitch=BIN * min(spacing)
            )
            return np.asarray(filtered_backprojection(beam, beam.forward(mu), GE.window))

        change = seen(parameters["views"]) - seen(round(ENOUGH * max(shape)))
        return np.asarray(slices + change * (1000 / WATER), np.float32)
