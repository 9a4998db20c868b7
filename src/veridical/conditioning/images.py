"""The images that were measured of the same slice, and their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from veridical.conditioning.condition import Condition
from veridical.conditioning.request import Request
from veridical.types import Array

AROUND = 3
"""Of each image: the slice, the one below and the one above."""


@dataclass(frozen=True)
class Images(Condition):
    """Measured images by contrast; each is zero where it was not measured, which `available`
    says.
    """

    name: ClassVar[str] = "images"
    kind: ClassVar[Literal["map", "vector"]] = "map"
    contrasts: tuple[str, ...] = ("T1w", "T2w", "FLAIR", "PD", "T1c")
    """Names, in the order of the map's channels."""

    @property
    def size(self) -> int:
        return AROUND * len(self.contrasts)

    def value(self, request: Request) -> Array | None:
        if not set(request.images) & set(self.contrasts):
            return None
        found = np.zeros((len(self.contrasts), AROUND, *request.initial.shape), np.float32)
        for place, name in enumerate(self.contrasts):
            if name in request.images:
                found[place] = request.images[name]
        return found.reshape(self.size, *request.initial.shape)
