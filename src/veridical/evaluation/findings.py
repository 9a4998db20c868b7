"""The audits' part of an evaluation: what results of Veridical say of themselves, and every audit over sets of features."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veridical import registry
from veridical.errors import InputError, ProvenanceError
from veridical.evaluation.cases import Cases
from veridical.evaluation.measure import Measured
from veridical.io.bids import PROVENANCE, load_provenance
from veridical.types import Array, Finding, Verdict

SETS = ("candidate_features", "reference_features", "training_features")
"""Parameters by which an audit asks for sets of features; it is called once an extractor and returns a `Finding`."""
ORDER: tuple[Verdict, ...] = ("fail", "warn", "not_run", "pass")


def findings(
    measured: Sequence[Measured], cases: Cases, further: Mapping[str, Mapping[str, Mapping[str, Array]]], seed: int
) -> tuple[Finding, ...]:
    """Return the findings of all audits.

    Args:
        measured: all cases, with their features.
        cases: the same, with their files.
        further: features of other sets, `training` among them.
        seed: of what is random in an audit.
    """
    return (*_said(cases), *_sets(measured, further.get("training", {}), seed))


def _said(cases: Cases) -> list[Finding]:
    """Summarize the findings that the candidates' own records hold, check by check: the worst verdict and how many of each."""
    by_check: dict[str, list[Finding]] = {}
    for case in cases.cases:
        path = None if case.candidate is None else case.candidate.path
        if path is None or not (path.parent / PROVENANCE).exists():
            continue
        try:
            record = load_provenance(path.parent)
        except ProvenanceError as error:
            raise InputError(f"{path.parent} holds a record that cannot be read: {error}") from error
        for finding in record.findings:
            by_check.setdefault(finding.check, []).append(finding)
    found = []
    for check, each in sorted(by_check.items()):
        counts = Counter(finding.verdict for finding in each)
        worst = next(verdict for verdict in ORDER if counts[verdict])
        example = next(finding.reason for finding in each if finding.verdict == worst)
        shares = ", ".join(f"{counts[verdict]} {verdict.replace('_', ' ')}" for verdict in ORDER if counts[verdict])
        found.append(
            Finding(
                check,
                worst,
                f"Of {len(each)} results: {shares}. For example: {example}",
                {str(verdict): count for verdict, count in counts.items()},
            )
        )
    return found


def _sets(measured: Sequence[Measured], training: Mapping[str, Mapping[str, Array]], seed: int) -> list[Finding]:
    """Run the registered audits whose parameters are sets of features."""
    found = []
    for name in registry.entries("audit"):
        audit = registry.get("audit", name)
        wanted = set(inspect.signature(audit).parameters)
        if not wanted & set(SETS):
            continue
        for extractor in sorted({extractor for one in measured for extractor in one.features}):
            given: dict[str, Any] = {"seed": seed, "training_features": _stacked(training.get(extractor, {}).values())}
            for side in ("candidate", "reference"):
                given[f"{side}_features"] = _stacked(one.features.get(extractor, {}).get(side) for one in measured)
            if all(given[key] is not None for key in wanted & set(given)):
                found.append(audit(**{key: value for key, value in given.items() if key in wanted}))
    return found


def _stacked(rows: Any) -> Array | None:
    there = [row for row in rows if row is not None]
    return np.concatenate(there) if there else None
