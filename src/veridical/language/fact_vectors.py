"""Facts of a report as numbers of a fixed length, for networks: a row for each kind of finding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from veridical.language.fact import CountClass, Fact, Kind, Lobe, Side, SizeClass

Floats = NDArray[np.float32]
KINDS: tuple[str, ...] = get_args(Kind)
MIDDLE_SIZE, MIDDLE_COUNT = 20.0, 5.0
"""mm and lesions that count as 0."""
_CHOICES = (get_args(Side), get_args(Lobe), get_args(SizeClass), get_args(CountClass))
WIDTH = 2 + sum(len(names) for names in _CHOICES) + 4 + 2
"""Numbers of one finding: stated, certain; side, lobe, classes; size, count and whether they are
known; enhancing.
"""
SIZE = len(KINDS) * WIDTH
"""Numbers of a report."""


def report_vector(facts: Sequence[Fact]) -> Floats:
    """Return a report as `(SIZE,)` numbers: 0 where nothing is said.

    A kind that is said to be absent has -1 as its first number and nothing else. Facts of one kind
    are averaged: two tumours, one on each side, are a row with half of each side.
    """
    rows, counts = np.zeros((len(KINDS), WIDTH), np.float32), np.zeros(len(KINDS))
    for fact in facts:
        place = KINDS.index(fact.kind)
        rows[place] += _numbers(fact)
        counts[place] += 1
    return np.asarray((rows / np.maximum(counts, 1)[:, None]).ravel(), np.float32)


def _numbers(fact: Fact) -> Floats:
    found = np.zeros(WIDTH, np.float32)
    found[0] = 1.0 if fact.present else -1.0
    if not fact.present:
        return found
    found[1] = 1.0 if fact.certain else -1.0
    at = 2
    said = (fact.side, fact.lobe, fact.size_class, fact.count_class)
    for names, value in zip(_CHOICES, said, strict=True):
        found[at + names.index(value)] = 1.0 if value else 0.0
        at += len(names)
    if fact.size is not None:
        found[at : at + 2] = 1.0, math.log(fact.size / MIDDLE_SIZE)
    if fact.count is not None:
        found[at + 2 : at + 4] = 1.0, math.log(fact.count / MIDDLE_COUNT)
    if fact.enhances is not None:
        found[at + 4 : at + 6] = (1.0, 0.0) if fact.enhances else (0.0, 1.0)
    return found
