"""Admission: what stands between a finished result and its file. The policy is asked, the ledger
gets its line, and only then a result appears.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veridical import __version__
from veridical.governance.gate import Decision, decide, findings_of, refuse
from veridical.governance.ledger import Ledger, Line, canonical
from veridical.io.bids import label
from veridical.terms import Terms, user
from veridical.types import Finding, Result, Step


@dataclass(frozen=True)
class Admission:
    """Leave to write a result.

    Args:
        name: of the case.
        decision: of the policy, None without one.
        ledger: that is kept, None without one.
    """

    name: str
    decision: Decision | None
    ledger: Ledger | None

    def record(self) -> dict[str, Any] | None:
        """Return what the provenance says of the policy; None without one."""
        return None if self.decision is None else self.decision.record()

    def seal(self, result: Result, record: Path | str, part: str = "") -> None:
        """Note a result in the ledger; to be called when its files are whole and not yet in place.

        Args:
            result: that is written.
            record: its provenance.json; or the hash of what is written instead.
            part: name of a result that lies in another one; empty for the result itself.
        """
        if self.ledger is not None:
            digest = record if isinstance(record, str) else file_hash(record)
            about = {"record": digest, **({"part": part} if part else {})}
            content = content_of(
                self.ledger, label(self.name), result.steps, result.findings, self.decision
            )
            self.ledger.append("result", content | about)


def admit(result: Result, name: str, terms: Terms) -> Admission:
    """Ask the policy whether a result may be written; what it blocks is noted in the ledger too.

    Raises:
        PolicyError: it may not.
    """
    path = terms.ledger_file()
    ledger = None if path is None else Ledger(path)
    decision = decide(result, terms)
    if ledger is not None and decision is not None and decision.of("blocked"):
        findings = tuple(findings_of(result))
        ledger.append("blocked", content_of(ledger, label(name), result.steps, findings, decision))
    refuse(decision)
    return Admission(name, decision, ledger)


def note_audit(
    head: str, inputs: Iterable[str], findings: Sequence[Finding], decision: Decision | None,
    terms: Terms,
) -> None:  # fmt: skip
    """Note an audit in the ledger, where one is kept.

    Args:
        head: of the chain of its signed report.
        inputs: hashes of what was looked at.
        findings: of the audit.
        decision: of the policy.
        terms: that name the ledger.
    """
    path = terms.ledger_file()
    if path is not None:
        content = {"report": head, "inputs": sorted(filter(_is_hash, inputs)), "by": user()}
        Ledger(path).append("audit", content | judged_content(findings, decision))


def lines_of(ledger: Ledger, record: Path) -> list[Line]:
    """Return the lines about a stored result, by the hash of its provenance.json."""
    wanted = file_hash(record)
    return [line for line in ledger.lines() if line.says.get("record") == wanted]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content_of(
    ledger: Ledger,
    case: str,
    steps: Sequence[Step],
    findings: Sequence[Finding],
    decision: Decision | None,
) -> dict[str, Any]:
    """Return what a line says of a result: hashes, a pseudonym, names of models and checks.

    Args:
        ledger: that gives the pseudonym.
        case: how the names of its files start.
        steps, findings: of the result.
        decision: of the policy; None without one.
    """
    return {
        "case": ledger.pseudonym(case),
        "steps": [_step(step) for step in steps],
        "by": user(),
        "veridical": __version__,
    } | judged_content(findings, decision)


def _step(step: Step) -> dict[str, Any]:
    settings = canonical({key: str(value) for key, value in step.settings.items()})
    return {
        "task": step.task,
        "model": step.model,
        "weights": step.weights,
        "seed": step.seed,
        "settings": hashlib.sha256(settings.encode()).hexdigest(),
        "inputs": sorted(filter(_is_hash, step.inputs.values())),
        "outputs": sorted(filter(_is_hash, step.outputs.values())),
    }


def judged_content(findings: Sequence[Finding], decision: Decision | None) -> dict[str, Any]:
    """Return verdicts and what the policy decided; reasons may name files and stay outside."""
    said: dict[str, Any] = {"findings": [[one.check, one.verdict] for one in findings]}
    if decision is not None:
        kept = ("policy", "sha256", "task", "verdict", "by", "override")
        record: Mapping[str, Any] = decision.record()
        rulings = [[one.rule, one.check, one.verdict, one.state] for one in decision.rulings]
        said["policy"] = {key: record[key] for key in kept} | {"rulings": rulings}
    return said


def _is_hash(value: str) -> bool:
    return len(value) == 64 and set(value) <= set("0123456789abcdef")
