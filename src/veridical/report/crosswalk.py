"""Checklists, answered from evidence: what an evaluation, a model card, an audit and a ledger say
themselves, what they say in part, what people must state.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from veridical.errors import FormatError, nearest
from veridical.evaluation.protocol import LEVELS
from veridical.evaluation.results import Evaluation
from veridical.report import firstpage, methods, rows
from veridical.report.claim_facts import AUDIT_FACTS, CARD_FACTS, LEDGER_FACTS
from veridical.report.words import capital, listed

State = Literal["answered", "partly", "not answered"]
MUST = "You must state this."


@dataclass(frozen=True)
class Answer:
    """One item of a checklist: its number there, what it asks in short, whether the data answer it,
    and how.
    """

    item: str
    asks: str
    state: State
    said: str


@dataclass(frozen=True)
class Checklist:
    """A checklist with its answers and its source."""

    name: str
    cites: str
    answers: tuple[Answer, ...]

    @property
    def counts(self) -> dict[State, int]:
        """How many items are answered, answered in part, and not."""
        states: tuple[State, ...] = ("answered", "partly", "not answered")
        return {state: sum(answer.state == state for answer in self.answers) for state in states}


@dataclass(frozen=True)
class ClaimSources:
    """What a checklist may be answered from; each where it is given.

    Args:
        evaluation: of the generator.
        card: JSON of the model card.
        audit: `report.json` of an audit.
        ledger: `counts` of its lines by kind, and its `head`.
    """

    evaluation: Evaluation | None = None
    card: Mapping[str, Any] | None = None
    audit: Mapping[str, Any] | None = None
    ledger: Mapping[str, Any] | None = None

    def facts(self) -> dict[str, str]:
        """Return what is said, by name; empty where nothing is."""
        given: tuple[tuple[Any, Mapping[str, Callable[[Any], str]]], ...] = (
            (self.evaluation, FACTS),
            (self.card, CARD_FACTS),
            (self.audit, AUDIT_FACTS),
            (self.ledger, LEDGER_FACTS),
        )
        return {
            name: "" if source is None else find(source)
            for source, finders in given
            for name, find in finders.items()
        }


def crosswalk(evaluation: Evaluation) -> tuple[Checklist, ...]:
    """Return the reporting checklists of `crosswalk.toml` with their items answered from the
    evaluation.
    """
    facts = ClaimSources(evaluation).facts()
    return tuple(_filled(one, facts) for one in stored() if one.get("for") != "claims")


def claims(evidence: ClaimSources) -> tuple[Checklist, ...]:
    """Return all checklists, those of regulators too, with what the evidence answers."""
    facts = evidence.facts()
    return tuple(_filled(one, facts) for one in stored())


def stored() -> list[dict[str, Any]]:
    """Return the checklists of `crosswalk.toml`."""
    file = resources.files("veridical.report").joinpath("crosswalk.toml")
    return list(tomllib.loads(file.read_text(encoding="utf-8"))["checklist"])


def _filled(checklist: Mapping[str, Any], facts: Mapping[str, str]) -> Checklist:
    """Answer the items of one checklist.

    Raises:
        FormatError: an item names a fact that is not known.
    """
    answers = tuple(_answer(item, facts) for item in checklist["items"])
    return Checklist(checklist["name"], checklist["cites"], answers)


def _answer(item: Mapping[str, Any], facts: Mapping[str, str]) -> Answer:
    needed, more = item["from"], item.get("more", [])
    for name in (*needed, *more):
        if name not in facts:
            raise FormatError(
                f"Item {item['id']} of a checklist rests on the fact {name!r}. "
                f"{nearest(name, facts)}"
            )
    there = [facts[name] for name in needed if facts[name]]
    beside = [facts[name] for name in more if facts[name]]
    if not there and not beside:
        return Answer(item["id"], item["asks"], "not answered", MUST)
    partly = item.get("part", False) or not there or len(there) < len(needed)
    return Answer(
        item["id"],
        item["asks"],
        "partly" if partly else "answered",
        " ".join(there + beside) + (" The rest you must state." if partly else ""),
    )


def _endpoints(evaluation: Evaluation) -> str:
    primary = [e for e in evaluation.endpoints if e.primary]
    return (
        f"Declared before: {listed(f'{rows.named(e)} ({rows.row(e).limit})' for e in primary)}."
        if primary
        else ""
    )


def _inputs(evaluation: Evaluation) -> str:
    return (
        f"{len(evaluation.inputs)} input files, each with its SHA-256." if evaluation.inputs else ""
    )


def _excluded(evaluation: Evaluation) -> str:
    failed = sum(bool(row.failed) for row in evaluation.cases)
    dropped = len(evaluation.about.get("dropped", {}))
    if not evaluation.cases:
        return ""
    return (
        f"{dropped} left out and {failed} of {len(evaluation.cases)} cases failed, each listed "
        "with its reason."
    )


def _preparation(evaluation: Evaluation) -> str:
    if not evaluation.cases:
        return ""
    mask = (
        "the masks given"
        if "mask" in evaluation.about.get("roles", ())
        else "the foreground of the reference by one stated rule"
    )
    data_range = evaluation.about.get("data_range")
    one = f", one data range of {float(data_range):g} for all cases" if data_range else ""
    return f"Counted in {mask}{one}; images were not resampled or normalized case by case."


def _failures(evaluation: Evaluation) -> str:
    failed = sum(bool(row.failed) for row in evaluation.cases)
    return (
        f"A failed case counts as the worst value; {failed} of {len(evaluation.cases)} did."
        if evaluation.cases
        else ""
    )


def _worst(evaluation: Evaluation) -> str:
    return (
        "The worst 5 % of cases are shown with error maps; every case has a row."
        if len(evaluation.cases) > 1
        else ""
    )


def _reference(evaluation: Evaluation) -> str:
    if not evaluation.cases:
        return ""
    labels = " and the labels given" if "labels" in evaluation.about.get("roles", ()) else ""
    return (
        f"The real images{labels}, {evaluation.about.get('references', len(evaluation.cases))} of "
        "them."
    )


def _leakage(evaluation: Evaluation) -> str:
    training = evaluation.about.get("training")
    checks = [
        f for f in evaluation.integrity if "leak" in f.check.lower() and f.verdict != "not_run"
    ]
    if not training or not checks:
        return ""
    reasons = " ".join(finding.reason for finding in checks)
    return (
        f"{training} training images were compared with the test cases, by patient and by bytes. "
        f"{reasons}"
    )


def _patients(evaluation: Evaluation) -> str:
    total, done = rows.patients(evaluation)
    return f"{done} of {total} patients analysed, {len(evaluation.cases)} cases." if total else ""


def _software(evaluation: Evaluation) -> str:
    named = [
        f"{name} {evaluation.versions[name]}"
        for name in ("veridical", "torch", "numpy")
        if name in evaluation.versions
    ]
    return f"Evaluated with {listed(named)}." if named else ""


def _metrics(evaluation: Evaluation) -> str:
    said = []
    for level in LEVELS:
        labels = list(
            dict.fromkeys(
                e.label for e in evaluation.endpoints if e.level == level and e.value is not None
            )
        )
        if labels:
            said.append(f"{level}: {listed(labels)}")
    return f"{capital('; '.join(said))}." if said else ""


def _statistics(evaluation: Evaluation) -> str:
    if not any(e.interval for e in evaluation.endpoints):
        return ""
    resamples = evaluation.protocol.get("resamples", "unknown")
    return (
        f"95 % BCa bootstrap intervals over patients ({resamples} resamples); Holm's correction "
        "over primary endpoints."
    )


def _subgroups(evaluation: Evaluation) -> str:
    found = rows.forests(evaluation)
    return " ".join(f"{forest.title} by {forest.column}: {forest.gap}" for forest in found)


def _sites(evaluation: Evaluation) -> str:
    for column in ("site", "centre", "center", "scanner"):
        values = sorted({row.groups[column] for row in evaluation.cases if column in row.groups})
        if len(values) > 1:
            return f"{len(values)} values of {column}: {listed(values)}."
    return ""


def _characteristics(evaluation: Evaluation) -> str:
    said = []
    for column in sorted({column for row in evaluation.cases for column in row.groups}):
        people = {
            row.patient: row.groups[column] for row in evaluation.cases if column in row.groups
        }
        counts = Counter(people.values())
        if 1 < len(counts) <= 12:
            said.append(
                f"{column}: {', '.join(f'{value} {count}' for value, count in sorted(counts.items()))}"  # noqa: E501
            )
    return f"Patients by {'; '.join(said)}." if said else ""


def _results(evaluation: Evaluation, level: str = "") -> str:
    there = [
        e
        for e in evaluation.endpoints
        if e.value is not None and (e.level == level if level else e.primary)
    ]
    there = [e for e in there if e.primary] or there
    said = [
        f"{rows.named(e)}: {rows.number(e.value, e.units, e.interval)} "
        f"({rows.between(e.interval) or 'no interval'})"
        for e in there
    ]
    return f"{'; '.join(said)}." if said else ""


def _limits(evaluation: Evaluation) -> str:
    return f"Not covered: {' '.join(firstpage.uncovered(evaluation))}"


def _protocol(evaluation: Evaluation) -> str:
    name = evaluation.protocol.get("name")
    return f"The protocol '{name}' is part of this report and of its hash chain." if name else ""


def _integrity(evaluation: Evaluation) -> str:
    return firstpage.gate(evaluation)[1] if evaluation.integrity else ""


def _checklists(evaluation: Evaluation) -> str:
    return "This crosswalk."


def _structures(evaluation: Evaluation) -> str:
    roles = set(evaluation.about.get("roles", ()))
    return (
        "Structures come from the labels given, the same for all metrics."
        if "labels" in roles
        else ""
    )


def _segmentation(evaluation: Evaluation) -> str:
    found = [
        e
        for e in evaluation.endpoints
        if e.metric in ("dice", "surface-dice", "hausdorff95") and e.value is not None
    ]
    return (
        f"{'; '.join(f'{rows.named(e)} {rows.number(e.value, e.units, e.interval)}' for e in found)}."  # noqa: E501
        if found
        else ""
    )


def _extractors(evaluation: Evaluation) -> str:
    names = [label for label, _ in methods.extractors(evaluation).values()]
    return f"Feature extractors: {listed(names)}." if names else ""


def _calibration(evaluation: Evaluation) -> str:
    found = [
        e
        for e in evaluation.endpoints
        if e.level == "trust" and e.metric == "coverage" and e.value is not None
    ]
    return " ".join(
        f"Coverage in {e.region}: {rows.number(e.value, e.units, e.interval)} where {e.ideal:g} is "
        "ideal."
        for e in found
        if e.ideal
    )


def _baseline(evaluation: Evaluation) -> str:
    found = list(
        dict.fromkeys(e.bad_is for e in evaluation.endpoints if e.score is not None and e.bad_is)
    )
    return f"Every score is relative to a simple baseline: {'; '.join(found)}." if found else ""


FACTS: Mapping[str, Callable[[Evaluation], str]] = {
    "endpoints": _endpoints,
    "inputs": _inputs,
    "excluded": _excluded,
    "preparation": _preparation,
    "failures": _failures,
    "worst": _worst,
    "reference": _reference,
    "leakage": _leakage,
    "patients": _patients,
    "software": _software,
    "metrics": _metrics,
    "statistics": _statistics,
    "subgroups": _subgroups,
    "sites": _sites,
    "characteristics": _characteristics,
    "results": _results,
    "task": lambda evaluation: _results(evaluation, "task"),
    "limits": _limits,
    "protocol": _protocol,
    "integrity": _integrity,
    "checklists": _checklists,
    "structures": _structures,
    "segmentation": _segmentation,
    "extractors": _extractors,
    "calibration": _calibration,
    "baseline": _baseline,
}
"""What an evaluation can say of itself, by name; empty where it cannot."""
