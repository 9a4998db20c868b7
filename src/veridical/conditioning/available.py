"""Which contrasts were measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from veridical.conditioning.condition import Condition
from veridical.conditioning.request import Request
from veridical.types import Array


@dataclass(frozen=True)
class Available(Condition):
    """1 for every contrast that was measured, 0 for the others."""

    name: ClassVar[str] = "available"
    kind: ClassVar[Literal["map", "vector"]] = "vector"
    contrasts: tuple[str, ...] = ("T1w", "T2w", "FLAIR", "PD", "T1c")
    """Names, in the order of the vector."""

    @property
    def size(self) -> int:
        return len(self.contrasts)

    def value(self, request: Request) -> Array | None:
        return np.array([name in request.images for name in self.contrasts], np.float32)
