"""Empty slices of a volume, such as the air above a head: they are left as they are, and what shows
something is enhanced as if they were not there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from veridical.errors import InputError
from veridical.preprocessing.tissue_level import FOREGROUND
from veridical.tasks.assemble import Solution
from veridical.types import Array


@dataclass(frozen=True, eq=False)
class ShownSlices:
    """Which slices of a volume show something.

    Args:
        empty: `(slice)` bool; the same everywhere, and as dark as air.
        level: `(slice)`, what the empty ones show, in the units of the image.
    """

    empty: Array
    level: Array

    @property
    def between(self) -> Array:
        """The slices from the first to the last that shows something, `(slice)` bool."""
        places = np.flatnonzero(~self.empty)
        numbers = np.arange(len(self.empty))
        return np.asarray((places[0] <= numbers) & (numbers <= places[-1]))

    def complete(self, found: Solution, solved: Array, count: int) -> Solution:
        """Return a solution with the empty slices put where they were: all draws agree on them, and
        nothing was imagined.

        Args:
            found: of the slices that were solved, `(..., slice, y, x)`.
            solved: `(slice)` bool, which ones; empty ones among them are replaced too.
            count: slices of the result, a multiple of those of the image.
        """
        if not self.empty.any():
            return found
        every = count // len(self.empty)
        empty, place = np.repeat(self.empty, every), np.repeat(solved, every)
        level = np.repeat(self.level, every)[empty][:, None, None]
        values: dict[str, Any] = {
            "estimate": level,
            "draws": level,
            "spread": 0.0,
            "evidence": 1.0,
            "measured": level,
            "unmeasured": 0.0,
        }
        made: dict[str, Any] = {}
        for name, value in values.items():
            array = getattr(found, name)
            if array is not None:
                whole = np.empty((*array.shape[:-3], count, *array.shape[-2:]), np.float32)
                whole[..., place, :, :] = array
                whole[..., empty, :, :] = value
                made[name] = whole
        return replace(found, **made)


def shown(stack: Array, channel: str, air: float = 0.0) -> ShownSlices:
    """Tell the slices of `(slice, y, x)` that show something from those that show air.

    Args:
        stack: one channel, real.
        channel: its name.
        air: what it shows where nothing is.

    Raises:
        InputError: no slice shows anything.
    """
    low, high = (bound(stack.reshape(len(stack), -1), 1) for bound in (np.min, np.max))
    empty = (low == high) & (high - air <= FOREGROUND * max(float(high.max()) - air, 0.0))
    if empty.all():
        raise InputError(
            f"{channel} is the same everywhere: it shows nothing that could be enhanced."
        )
    return ShownSlices(empty, low)
