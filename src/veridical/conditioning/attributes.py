"""Numbers that are known of a slice, a scan or a patient: field strength, height in the volume,
age.

An attribute must be known, and unknown, of all sources of training images alike: one that is known
of some of them tells a network which source an image is from, and it then treats every new scanner
as that source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from veridical.conditioning.condition import Condition
from veridical.conditioning.request import Request
from veridical.types import Array

UNITS = {"field": 3.0, "height": 1.0}
"""Attribute -> what counts as 1: 3 tesla, the end of the volume."""


@dataclass(frozen=True)
class Attributes(Condition):
    """Each attribute in its own unit, and whether it is known."""

    name: ClassVar[str] = "attributes"
    kind: ClassVar[Literal["map", "vector"]] = "vector"
    attributes: Mapping[str, float] = field(default_factory=lambda: dict(UNITS))
    """Attribute -> the value that counts as 1."""

    @property
    def size(self) -> int:
        return 2 * len(self.attributes)

    def value(self, request: Request) -> Array | None:
        given = [request.attributes.get(name) for name in self.attributes]
        known = [
            isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
            for v in given
        ]
        if not any(known):
            return None
        pairs = zip(given, known, self.attributes.values(), strict=True)
        return np.array(
            [
                part
                for value, there, unit in pairs
                for part in ((value or 0) / unit if there else 0.0, there)
            ]
        )
