"""What is wrong with the initial estimate, and how far it is expected to be from the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from veridical.conditioning.condition import Condition
from veridical.conditioning.request import LEAST_LEVEL, Request
from veridical.types import Array


@dataclass(frozen=True)
class DegradationKind(Condition):
    """The kind of degradation, none of them for a contrast that was not measured, and the log of
    the expected error.
    """

    name: ClassVar[str] = "degradation-kind"
    kind: ClassVar[Literal["map", "vector"]] = "vector"
    degradations: tuple[str, ...] = ("motion-ghosts", "sparse-view-streaks")
    """Names, in the order of the vector."""

    @property
    def size(self) -> int:
        return len(self.degradations) + 1

    def value(self, request: Request) -> Array | None:
        kinds = [float(name == request.degradation) for name in self.degradations]
        return np.array([*kinds, math.log(max(request.level, LEAST_LEVEL))], np.float32)
