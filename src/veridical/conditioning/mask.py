"""A mask of what is to be shown: a lesion, a structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from veridical.conditioning.condition import Condition
from veridical.conditioning.request import Request
from veridical.types import Array


@dataclass(frozen=True)
class Mask(Condition):
    """1 inside, 0 outside, one map for each named mask; not known where none of them was drawn."""

    name: ClassVar[str] = "mask"
    kind: ClassVar[Literal["map", "vector"]] = "map"
    masks: tuple[str, ...] = ("lesions",)
    """Names of masks, in the order of the map's channels."""

    @property
    def size(self) -> int:
        return len(self.masks)

    def value(self, request: Request) -> Array | None:
        if not set(request.masks) & set(self.masks):
            return None
        empty = np.zeros(request.initial.shape, np.float32)
        return np.stack(
            [np.asarray(request.masks.get(name, empty), np.float32) for name in self.masks]
        )
