"""From measured cases to the evaluation: endpoints of all levels, subgroups, plots, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veridical.evaluation import verdicts
from veridical.evaluation.aggregate import Setting, endpoints, subgroups
from veridical.evaluation.cases import Cases
from veridical.evaluation.curves import curves
from veridical.evaluation.findings import findings
from veridical.evaluation.measure import Measured, Rules
from veridical.evaluation.protocol import LEVELS, Protocol
from veridical.evaluation.realism import realism
from veridical.evaluation.results import Endpoint, Evaluation, LevelVerdict
from veridical.evaluation.usefulness import usefulness
from veridical.types import Array, Finding, Level

LABELS_ONLY = (
    "Labels of the real images are there, of the candidates not: give candidate_labels, or "
    "training and training_labels."
)
DRAWS_ONLY = (
    "Coverage, which decides, needs lower and upper, or draws enough for its level: 10 for 90 %."
)
GROUPED = ("pixel/ssim/foreground", "pixel/mae/foreground", "trust/coverage/foreground")
"""Endpoints that are given for every subgroup, beside the primary ones."""
Features = Mapping[str, Mapping[str, Array]]
"""Extractor -> case -> `(rows, d)`."""


@dataclass(frozen=True)
class Known:
    """What is known before anything is measured.

    Args:
        title, settings, inputs, integrity, versions: as in `Evaluation`.
        strata, classes: columns of the table.
        levels: that are judged.
    """

    title: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    integrity: tuple[Finding, ...]
    versions: Mapping[str, str]
    strata: str
    classes: str
    levels: Sequence[str]

    def evaluation(self, protocol: Protocol, **found: Any) -> Evaluation:
        """Return the evaluation with what was found."""
        return Evaluation(
            self.title,
            self.settings,
            protocol.to_dict(),
            self.inputs,
            self.integrity,
            versions=self.versions,
            **found,
        )


def refuse(known: Known, cases: Cases, protocol: Protocol) -> Evaluation:
    """Return the evaluation of cases that did not pass the integrity gate: no number, and why."""
    reasons = " ".join(
        f"{finding.check}: {finding.reason}"
        for finding in known.integrity
        if finding.verdict == "fail"
    )
    levels = tuple(
        LevelVerdict(level, "not_run", f"The integrity gate failed. {reasons}") for level in LEVELS
    )
    return known.evaluation(protocol, levels=levels, about=_about(cases, protocol, known))


def conclude(
    known: Known,
    cases: Cases,
    rules: Rules,
    measured: Sequence[Measured],
    further: Mapping[str, Features],
) -> Evaluation:
    """Return the evaluation.

    Args:
        known: title, settings, integrity.
        cases: all of them.
        rules: that they were measured by.
        measured: one a case, in their order.
        further: features of the `second` real set and of the `training` set, where there are any.
    """
    rows = [one.row for one in measured]
    strata = known.strata if any(known.strata in row.groups for row in rows) else ""
    setting = Setting(
        rules.protocol, strata, _words(cases, rules.protocol.blur), _floor(cases), rules.units
    )
    found = [outcome for outcome in endpoints(rows, setting) if outcome[0].level in known.levels]
    found += realism(measured, rules, further, setting) if "feature" in known.levels else []
    found += usefulness(measured, rules, setting, known.classes) if "task" in known.levels else []
    against = {endpoint.key: p for endpoint, p in found if p is not None}
    judged = verdicts.judge(_ordered([endpoint for endpoint, _ in found]), against)
    primary = [e.key for e in judged if e.primary and any(e.key in row.values for row in rows)]
    return known.evaluation(
        rules.protocol,
        levels=verdicts.levels(judged, _absent(known, cases)),
        endpoints=judged,
        cases=tuple(rows),
        curves=curves(measured),
        conflicts=verdicts.conflicts(judged),
        findings=findings(cases, rules),
        subgroups=subgroups(rows, list(dict.fromkeys([*primary, *GROUPED])), setting),
        about=_about(cases, rules.protocol, known) | {"strata": strata, "units": rules.units},
    )


def _ordered(found: Sequence[Endpoint]) -> list[Endpoint]:
    """Return the primary endpoints first, then by level and key."""
    order = {level: place for place, level in enumerate(LEVELS)}
    return sorted(found, key=lambda e: (not e.primary, order.get(e.level, 9), e.key))


def _words(cases: Cases, blur: float) -> dict[str, str]:
    """Return what the simple baseline of each level was."""
    given = any("baseline" in case.roles for case in cases.cases)
    pixel = (
        "the baseline images given"
        if given
        else "one number everywhere, the mean of the reference in the foreground"
    )
    feature = (
        "the baseline images given" if given else f"the real images blurred by {blur:g} voxels"
    )
    return {"pixel": pixel, "feature": feature, "task": "nothing found"}


def _floor(cases: Cases) -> str:
    """Return what the floor of pixel and task level was."""
    if any("retest" in case.roles for case in cases.cases):
        return "the second real images given"
    return "the reference itself: a perfect match, since no second real image was given"


def _absent(known: Known, cases: Cases) -> dict[Level, str]:
    """Return why a level may have no primary endpoint."""
    roles = {role for case in cases.cases for role in case.roles}
    why: dict[Level, str] = {
        "pixel": "" if cases.paired else "Candidate and reference do not show the same cases.",
        "feature": "",
        "task": _task_absent(roles),
        "trust": _trust_absent(roles),
    }
    for level in why:
        if level not in known.levels:
            why[level] = "It was not asked for."
    return {
        level: reason or "No primary endpoint of the protocol could be computed."
        for level, reason in why.items()
    }


def _task_absent(roles: set[str]) -> str:
    if "labels" in roles and not roles & {"candidate_labels", "dose"}:
        return LABELS_ONLY
    return "" if roles & {"labels", "dose"} else "No labels, doses, classes or tasks were given."


def _trust_absent(roles: set[str]) -> str:
    if "lower" in roles:
        return ""
    return DRAWS_ONLY if "draws" in roles else "No intervals or draws were given."


def _about(cases: Cases, protocol: Protocol, known: Known) -> dict[str, Any]:
    """Return facts about the data for the report."""
    listed = cases.cases
    return {
        "cases": len(listed),
        "patients": len({case.patient for case in listed}),
        "paired": cases.paired,
        "candidates": sum(case.candidate is not None for case in listed),
        "references": sum(case.reference is not None for case in listed),
        "roles": sorted({role for case in listed for role in case.roles}),
        "groups": sorted({column for case in listed for column in case.groups}),
        "training": len(cases.training),
        "second": len(cases.second),
        "notes": list(cases.notes),
        "dropped": dict(cases.dropped),
        "data_range": protocol.data_range,
        "window": list(protocol.window),
        "levels": list(known.levels),
    }
