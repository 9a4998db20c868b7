"""The audits' part of an evaluation: what results of Veridical say of themselves, and whether
anatomy is plausible.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import replace

import numpy as np

from veridical.errors import InputError, ProvenanceError, VeridicalError
from veridical.evaluation.cases import Cases
from veridical.evaluation.measure import Rules
from veridical.evaluation.plausibility import outside, plausibility
from veridical.evaluation.regions import whole_numbers
from veridical.evaluation.sources import Source
from veridical.io.bids import PROVENANCE, load_provenance
from veridical.types import SEVERITY, Finding, Image, worst

FEWEST = 5
"""Label maps on each side from which anatomy is compared."""
EXPECTED = 0.02
"""Share of values outside the tolerance range that real cases have as well, with room (0.5 % on ten
real brains).
"""


def findings(cases: Cases, rules: Rules) -> tuple[Finding, ...]:
    """Return the findings of all audits on the cases of an evaluation."""
    return (*_said(cases), *_anatomy(cases, rules))


def _said(cases: Cases) -> list[Finding]:
    """Summarize the findings that the candidates' own records hold, check by check: the worst
    verdict and how many of each.
    """
    by_check: dict[str, list[Finding]] = {}
    for case in cases.cases:
        path = None if case.candidate is None else case.candidate.path
        if path is None or not (path.parent / PROVENANCE).exists():
            continue
        try:
            record = load_provenance(path.parent)
        except ProvenanceError as error:
            raise InputError(
                f"{path.parent} holds a record that cannot be read: {error}"
            ) from error
        for finding in record.findings:
            by_check.setdefault(finding.check, []).append(finding)
    found = []
    for check, each in sorted(by_check.items()):
        counts = Counter(finding.verdict for finding in each)
        verdict = worst(each)
        example = next(finding.reason for finding in each if finding.verdict == verdict)
        shares = ", ".join(
            f"{counts[one]} {one.replace('_', ' ')}" for one in reversed(SEVERITY) if counts[one]
        )
        found.append(
            Finding(
                check,
                verdict,
                f"Of {len(each)} results: {shares}. For example: {example}",
                {str(one): count for one, count in counts.items()},
            )
        )
    return found


def _anatomy(cases: Cases, rules: Rules) -> list[Finding]:
    """Say which structures of the candidates lie outside of what real ones are like, where both
    have label maps.
    """
    maps: dict[str, list[tuple[str, Image]]] = {"candidate_labels": [], "labels": []}
    for case in cases.cases:
        for role, found in maps.items():
            source = case.roles.get(role)
            if isinstance(source, Source):
                try:
                    image = source.load()
                    found.append((case.name, replace(image, data=whole_numbers(image.data))))
                except VeridicalError:
                    continue
    if min(map(len, maps.values())) < FEWEST:
        return []
    values = sorted(
        {int(value) for _, image in maps["labels"] for value in np.unique(image.data)} - {0}
    )
    names = {value: rules.names.get(value, f"label-{value}") for value in values}
    told = {
        role: {
            name: plausibility(image.data[0].astype(np.int64), image.geometry.spacing, names)
            for name, image in found
        }
        for role, found in maps.items()
    }
    strange = outside(told["candidate_labels"], list(told["labels"].values()))
    total = sum(len(measures) for measures in told["candidate_labels"].values())
    if not strange:
        return [
            Finding(
                "plausibility",
                "pass",
                f"All {total} volumes, parts, holes and symmetries are as in real cases.",
            )
        ]
    one = strange[0]
    share = len(strange) / total
    reason = (
        f"{len(strange)} of {total} values of volume, parts, holes and symmetry lie outside the "
        "range of real ones, e.g. "
        f"{one.measure} of {one.case}: {one.value:.4g}, real {one.low:.4g} to {one.high:.4g}."
    )
    evidence = {"values": [dataclasses.asdict(each) for each in strange[:50]]}
    return [Finding("plausibility", "warn" if share > EXPECTED else "pass", reason, evidence)]
