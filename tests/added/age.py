"""The patient's age, as sine and cosine of a few frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from veridical.conditioning.condition import Condition
from veridical.conditioning.request import Request
from veridical.types import Array


@dataclass(frozen=True)
class Age(Condition):
    """Age in years, where the tables of a data set say it."""

    name: ClassVar[str] = "age"
    kind: ClassVar[Literal["map", "vector"]] = "vector"
    frequencies: int = 3
    """Pairs of sine and cosine."""

    @property
    def size(self) -> int:
        return 2 * self.frequencies

    def value(self, request: Request) -> Array | None:
        age = request.attributes.get("age")
        if not isinstance(age, int | float):
            return None
        angles = 2.0 ** np.arange(self.frequencies) * np.pi * age / 100
        return np.concatenate([np.sin(angles), np.cos(angles)]).astype(np.float32)
