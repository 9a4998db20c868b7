"""The metrics at hand and what each needs, so that an evaluation uses whatever the registry
knows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from veridical import registry
from veridical.errors import InputError
from veridical.metrics.about import Facts
from veridical.metrics.scores import facts

CEILING = 120.0
"""What an infinite decibel value (two equal images) counts as."""


@dataclass(frozen=True)
class Handle:
    """One metric: its registry name, what it says of itself, and how to call it with a superset of
    what it takes.
    """

    name: str
    about: Facts
    call: Callable[..., float]
    takes: frozenset[str]

    def __call__(self, supplies: Mapping[str, Any]) -> float:
        """Return the metric's value from those of `supplies` that it takes; an infinite one is cut
        at 120 dB.

        Raises:
            InputError: the metric cannot be computed on these data (it says why), or gives NaN.
        """
        value = float(
            self.call(**{key: item for key, item in supplies.items() if key in self.takes})
        )
        if np.isnan(value):
            raise InputError(
                f"{self.name} gave NaN; it is not counted. Report this with the images that gave "
                "it."
            )
        return float(np.clip(value, -CEILING, CEILING)) if np.isinf(value) else value


@cache
def handles() -> dict[str, Handle]:
    """Return every metric that the registry knows, by name."""
    found = {}
    for name in registry.entries("metric"):
        function = registry.get("metric", name)
        takes = frozenset(inspect.signature(function).parameters)
        found[name] = Handle(name, facts(name), function, takes)
    return found


def taking(*needed: str, without: tuple[str, ...] = ()) -> tuple[Handle, ...]:
    """Return the metrics that take all of `needed` and nothing of `without`, in the order of their
    names.
    """
    return tuple(
        h for h in handles().values() if h.takes.issuperset(needed) and h.takes.isdisjoint(without)
    )


def about(metric: str) -> Facts:
    """Return what a metric says of itself; of a user's own task, which is no metric, that its
    difference should be 0.
    """
    known = handles()
    if metric in known:
        return known[metric].about
    return Facts(
        metric, "its unit", "lower", "task", target="no difference from the reference", ideal=0.0
    )
