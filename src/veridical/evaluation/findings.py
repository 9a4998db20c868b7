"""The audits' part of an evaluation: what results of Veridical say of themselves, and every audit over sets of features."""

from __future__ import annotations

import dataclasses
import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veridical import registry
from veridical.errors import InputError, ProvenanceError, VeridicalError
from veridical.evaluation.cases import Cases
from veridical.evaluation.measure import Measured, Rules
from veridical.evaluation.plausibility import outside, plausibility
from veridical.evaluation.sources import Source
from veridical.io.bids import PROVENANCE, load_provenance
from veridical.types import Array, Finding, Image, Verdict

SETS = ("candidate_features", "reference_features", "training_features")
"""Parameters by which an audit asks for sets of features; it is called once an extractor and returns a `Finding`."""
FEWEST = 5
"""Label maps on each side from which anatomy is compared."""
EXPECTED = 0.02
"""Share of values outside the tolerance range that real cases have as well, with room (0.5 % on ten real brains)."""
ORDER: tuple[Verdict, ...] = ("fail", "warn", "not_run", "pass")


def findings(
    measured: Sequence[Measured], cases: Cases, further: Mapping[str, Mapping[str, Mapping[str, Array]]], rules: Rules
) -> tuple[Finding, ...]:
    """Return the findings of all audits.

    Args:
        measured: all cases, with their features.
        cases: the same, with their files.
        further: features of other sets, `training` among them.
        rules: of the evaluation.
    """
    sets = _sets(measured, further.get("training", {}), rules.protocol.seed)
    return (*_said(cases), *_anatomy(cases, rules), *sets)


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


def _anatomy(cases: Cases, rules: Rules) -> list[Finding]:
    """Say which structures of the candidates lie outside of what real ones are like, where both have label maps."""
    maps: dict[str, list[tuple[str, Image]]] = {"candidate_labels": [], "labels": []}
    for case in cases.cases:
        for role, found in maps.items():
            source = case.roles.get(role)
            if isinstance(source, Source):
                try:
                    found.append((case.name, source.load()))
                except VeridicalError:
                    continue
    if min(map(len, maps.values())) < FEWEST:
        return []
    values = sorted({int(value) for _, image in maps["labels"] for value in np.unique(image.data)} - {0})
    names = {value: rules.names.get(value, f"label-{value}") for value in values}
    told = {
        role: {name: plausibility(image.data[0].astype(np.int64), image.geometry.spacing, names) for name, image in found}
        for role, found in maps.items()
    }
    strange = outside(told["candidate_labels"], list(told["labels"].values()))
    total = sum(len(measures) for measures in told["candidate_labels"].values())
    if not strange:
        return [Finding("plausibility", "pass", f"All {total} volumes, parts, holes and symmetries are as in real cases.")]
    one = strange[0]
    share = len(strange) / total
    reason = (
        f"{len(strange)} of {total} values of volume, parts, holes and symmetry lie outside the range of real ones, e.g. "
        f"{one.measure} of {one.case}: {one.value:.4g}, real {one.low:.4g} to {one.high:.4g}."
    )
    evidence = {"values": [dataclasses.asdict(each) for each in strange[:50]]}
    return [Finding("plausibility", "warn" if share > EXPECTED else "pass", reason, evidence)]


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
