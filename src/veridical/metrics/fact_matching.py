"""Which facts of a report are those of another: counted field by field, with intervals over
cases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veridical.language.fact import Fact, Kind

FIELDS = ("kind", "side", "lobe", "size_class", "enhances", "count_class")
"""What is scored of facts that are present; `absent` besides."""
ABSENT = "absent"
RESAMPLES = 2000
Case = tuple[Sequence[Fact], Sequence[Fact]]
"""Facts that were found, and those that are right."""


@dataclass(frozen=True)
class FactScore:
    """F1 of one field.

    Args:
        f1: over all statements of all cases.
        interval: 95 %, percentiles of the bootstrap over cases.
        hits, false, missed: statements.
    """

    f1: float
    interval: tuple[float, float]
    hits: int
    false: int
    missed: int


def fact_counts(found: Sequence[Fact], right: Sequence[Fact], field: str) -> tuple[int, int, int]:
    """Return hits, false and missed statements of a field in one case.

    A statement is a kind, or a kind with a value. What the right facts leave open is not counted,
    whatever was found.

    Args:
        found: facts that were read or measured.
        right: the truth.
        field: one of `FIELDS`, or `absent`: kinds that are said not to be there.
    """
    if field == ABSENT:
        denied = {fact.kind for fact in right}
        made = Counter((f.kind, "") for f in found if not f.present and f.kind in denied)
        true = Counter((f.kind, "") for f in right if not f.present)
    else:
        made, true = (_statements(facts, field) for facts in (found, right))
        if field != "kind":
            stated = {kind for kind, _ in true}
            there = {fact.kind for fact in right if fact.present}
            made = Counter({s: n for s, n in made.items() if s[0] in stated or s[0] not in there})
    hits = sum((made & true).values())
    return hits, sum(made.values()) - hits, sum(true.values()) - hits


def fact_scores(cases: Sequence[Case], seed: int = 0) -> dict[str, FactScore]:
    """Return the F1 of every field that a case states, over all cases.

    Args:
        cases: found and right facts of each.
        seed: of the bootstrap.
    """
    scores = {}
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(cases), size=(RESAMPLES, len(cases)))
    for field in (*FIELDS, ABSENT):
        counts = np.array([fact_counts(found, right, field) for found, right in cases])
        total = counts.sum(0)
        if not total[0] + total[2]:
            continue
        drawn = np.array([_f1(counts[pick].sum(0)) for pick in picks])
        low, high = np.percentile(drawn, [2.5, 97.5])
        scores[field] = FactScore(
            _f1(total), (float(low), float(high)), *(int(number) for number in total)
        )
    return scores


def _statements(facts: Sequence[Fact], field: str) -> Counter[tuple[Kind, str]]:
    values = [
        (fact.kind, str(getattr(fact, field)))
        for fact in facts
        if fact.present and getattr(fact, field) not in (None, "")
    ]
    return Counter(values)


def _f1(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float:
    hits, false, missed = (float(number) for number in counts)
    total = 2 * hits + false + missed
    return 2 * hits / total if total else 1.0
