"""The base of all conditions, and batches of their values.

A condition is a map beside the image or a vector for the whole slice. Its encoder adds to what the
others say, so that a new condition changes no input width: weights that were trained without it
stay as they are, and a slice of which it is not known counts a learned value instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from veridical import registry
from veridical.conditioning.request import Request
from veridical.types import Array


@dataclass(frozen=True)
class Condition(ABC):
    """One thing that an image may depend on. A subclass is a frozen dataclass; its fields are its
    settings.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["map", "vector"]]

    @property
    @abstractmethod
    def size(self) -> int:
        """Channels of a map, or length of a vector."""

    @abstractmethod
    def value(self, request: Request) -> Array | None:
        """Return the value for a slice: `(size, y, x)` or `(size,)`; None where it is not known."""

    def encoder(self, width: int, dims: int = 2) -> nn.Module:
        """Return the encoder to `(batch, width, y, x)`, or to `(batch, width)`."""
        if self.kind == "vector":
            return nn.Linear(self.size, width)
        return (nn.Conv2d if dims == 2 else nn.Conv3d)(self.size, width, 1)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Values of named conditions for a batch.

    Args:
        values: name -> `(batch, size, y, x)` or `(batch, size)`; zero where not known.
        known: name -> `(batch,)` float, 1 where the value is known.
    """

    values: Mapping[str, Tensor]
    known: Mapping[str, Tensor]

    @classmethod
    def of(cls, conditions: Sequence[Condition], requests: Sequence[Request]) -> Conditioning:
        """Return what conditions read in slices of one size."""
        values, known = {}, {}
        shape = requests[0].initial.shape
        for condition in conditions:
            found = [condition.value(request) for request in requests]
            empty = np.zeros(
                (condition.size, *(shape if condition.kind == "map" else ())), np.float32
            )
            values[condition.name] = torch.from_numpy(
                np.stack([empty if one is None else np.asarray(one, np.float32) for one in found])
            )
            known[condition.name] = torch.tensor([float(one is not None) for one in found])
        return cls(values, known)

    def to(self, device: torch.device) -> Conditioning:
        """Return the same on a device."""
        values, known = (
            {k: v.to(device) for k, v in part.items()} for part in (self.values, self.known)
        )
        return Conditioning(values, known)

    def repeat(self, count: int) -> Conditioning:
        """Return every slice `count` times, one after the other."""
        values, known = (
            {k: v.repeat_interleave(count, 0) for k, v in part.items()}
            for part in (self.values, self.known)
        )
        return Conditioning(values, known)


def conditions(names: Sequence[str], **settings: Any) -> tuple[Condition, ...]:
    """Build registered conditions, each with those of the settings that it has.

    Raises:
        SettingError: no condition has one of the names; the message says the nearest.
    """
    found = []
    for name in names:
        kind = registry.get("condition", name)
        has = {f.name for f in fields(kind)}
        found.append(kind(**{key: value for key, value in settings.items() if key in has}))
    return tuple(found)
