"""Multiple sclerosis: a digital patient whose lesions appear, grow within weeks and shrink within
months, with or without treatment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veridical.errors import SettingError
from veridical.phantoms.head_labels import LABELS
from veridical.phantoms.lesions import sclerosis
from veridical.phantoms.longitudinal import YEAR, Life
from veridical.phantoms.rendering import PhantomVolume

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]
Labels = NDArray[np.uint8]

NEW, EFFECT = 5.5, 0.83
"""New or enlarging lesions a year without treatment, and the share of them that natalizumab
prevents: 11.0 against 1.9 in two years (Polman et al., N Engl J Med 2006, 10.1056/NEJMoa044397).
"""
BETWEEN = 0.6
"""Standard deviation of the logarithm of a patient's activity (assumed)."""
RISE, FALL = 30.0, 120.0
"""Days in which a lesion reaches its greatest size, and in which it goes 1 - 1/e of the way to its
final one (assumed).
"""
FINAL = (0.5, 0.9)
"""Range of the final radius over the greatest one (assumed)."""
SLOW, CREEP = 0.2, 0.03
"""Share of lesions that go on expanding, and by how much of their radius a year (assumed)."""
YEARS = 12.0
"""For which new lesions are drawn."""
DISABILITY, EACH = 1.5, 0.05
"""Disability score at first, and what each new lesion adds (assumed)."""


@dataclass(frozen=True, eq=False)
class Lesions:
    """All lesions a patient may ever have.

    Args:
        rows: `(n, 17)` at their greatest size, see `lesions.row`.
        born: `(n,)` days since the first visit.
        final: `(n,)` final radius over the greatest.
        creep: `(n,)` relative growth of the radius a year, later on.
        chance: `(n,)` uniform numbers that decide whether treatment prevents it.
    """

    rows: Floats
    born: Reals
    final: Reals
    creep: Reals
    chance: Reals


@dataclass(frozen=True, eq=False)
class MultipleSclerosis(Life):
    """A patient with relapsing multiple sclerosis.

    Args:
        treated: day from which on treatment prevents new lesions; None: never.
        effect: share of new lesions that it prevents.
    """

    treated: float | None = None
    effect: float = EFFECT

    def __post_init__(self) -> None:
        if not 0 <= self.effect <= 1:
            raise SettingError(f"effect = {self.effect:g} was given; expected 0 to 1.")

    @property
    def diagnosis(self) -> str:
        return "multiple sclerosis"

    @classmethod
    def ages(cls) -> tuple[float, float]:
        return 20.0, 50.0

    @property
    def genes(self) -> Mapping[str, Any]:
        rng = self.generator(10)
        return {
            name: ("altered", "usual")[int(rng.random() >= share)]
            for name, share in (("null-1", 0.5), ("null-2", 0.2))
        }

    def sizes(self, day: float) -> Reals:
        """Return the radius of each lesion on a day over its greatest one, `(n,)`; 0 where there is
        none, or none yet.
        """
        every = _lesions(self.seed, self.index, self.spacing)
        size = course(day - every.born, every.final, every.creep)
        if self.treated is not None:
            prevented = (every.born > self.treated) & (every.chance < self.effect)
            size = np.where(prevented, 0.0, size)
        return np.asarray(size)

    def head(self, day: float) -> tuple[PhantomVolume, Labels]:
        every, size = _lesions(self.seed, self.index, self.spacing), self.sizes(day)
        anatomy = self.anatomy()
        shown = size > 0
        rows = every.rows[shown].copy()
        factor = size[shown].astype(np.float32)
        rows[:, 4:13] /= factor[:, None]
        rows[:, 13] *= factor
        return self.painted(anatomy.with_lesions(rows, False))

    def displacement(self, day: float) -> Floats:
        return np.zeros((*self.shape, 3), np.float32)

    def scores(self, day: float) -> Mapping[str, float]:
        """Number of lesions, of those since the first visit, their volume in ml, and disability."""
        every, size = _lesions(self.seed, self.index, self.spacing), self.sizes(day)
        new = int(((every.born > 0) & (size > 0)).sum())
        _, labels = self.head(day)
        volume = float((labels == LABELS.index("lesion")).sum()) * self.spacing**3 / 1000
        return {
            "lesions": float((size > 0).sum()),
            "new_lesions": float(new),
            "lesions_ml": round(volume, 3),
            "disability": min(10.0, DISABILITY + EACH * new),
        }


def course(age: Reals, final: Reals, creep: Reals) -> Reals:
    """Return the radius of lesions over their greatest one.

    Args:
        age: days since each began; 0 or less: not there.
        final: radius in the end over the greatest.
        creep: relative growth a year of those that go on expanding.
    """
    rise = np.sin(np.pi / 2 * np.clip(age / RISE, 0, 1)) ** 2
    later = np.maximum(age - RISE, 0)
    fall = final + (1 - final) * np.exp(-later / FALL)
    return np.asarray(np.where(age > 0, rise * fall * (1 + creep * later / YEAR), 0.0))


@lru_cache(maxsize=4)
def _lesions(seed: int, index: int, spacing: float) -> Lesions:
    patient = MultipleSclerosis(seed, index, spacing)
    places, rng = patient.anatomy().places, patient.generator(11)
    old = sclerosis(rng, places)
    activity = NEW * float(np.exp(BETWEEN * rng.standard_normal() - BETWEEN**2 / 2))
    count = int(rng.poisson(activity * YEARS))
    rows = [sclerosis(rng, places) for _ in range(count // 3 + 1)]
    young = np.concatenate(rows)[:count]
    n = len(old) + len(young)
    born = np.concatenate(
        [rng.uniform(-10 * YEAR, 0, len(old)), rng.uniform(0, YEARS * YEAR, len(young))]
    )
    return Lesions(
        np.concatenate([old, young]),
        born,
        rng.uniform(*FINAL, n),
        np.where(rng.random(n) < SLOW, CREEP, 0.0),
        rng.random(n),
    )
