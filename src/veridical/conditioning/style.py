"""The style that an image is to have: how bright its tissues are, as its sequence and its scanner
show them.

Without it a generator has to guess the sequence of an image that was not measured, and what it
learns of anatomy drowns in what differs between scanners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from veridical.conditioning.condition import Condition
from veridical.conditioning.request import Request
from veridical.types import Array


@dataclass(frozen=True)
class Style(Condition):
    """Quantiles of the whole image in network units; see `preprocessing.style`."""

    name: ClassVar[str] = "style"
    kind: ClassVar[Literal["map", "vector"]] = "vector"
    quantiles: int = 6
    """How many."""

    @property
    def size(self) -> int:
        return self.quantiles

    def value(self, request: Request) -> Array | None:
        found = request.styles.get(request.contrast)
        return None if found is None else np.asarray(found, np.float32)
