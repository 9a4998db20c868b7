"""What an auditor may know of a study besides what its result was made from.

Within a task nothing of it is known; `veridical audit` hands over an `AuditedStudy` with what it is
given. An audit that needs something of it returns None where that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from veridical.governance.gate import Decision
from veridical.types import Finding, Image, Result, Study

Again = Callable[[Study, int], Result]
"""Makes the result of another study, with a seed, by the same task, model and settings; without
audits.
"""


@dataclass(frozen=True, eq=False, repr=False)
class AuditedStudy(Study):
    """A study, with what is known of it besides.

    Args:
        reference: the truth, on any grid, channels named as in the result.
        training: name -> image that the generator learned from; may read when asked.
        held_out: name -> real image that it did not learn from; may read when asked.
        generated: name -> image of the set that is audited as a whole; empty of single results.
        table: name of a generated image -> its row of a table: age, sex, site, scores, ...
        again: makes the result again from changed input; None where the task is not known.
        alone: the same from one posterior sample, which is faster; as `again` where it has none.
        classical: the same by the classical method of the job; None where there is none.
        random: the same as `alone` with random weights in place of the learned ones; None where it
            has none.
        references: name of a generated image -> its truth; empty where there is none.
        asked: names of the audits that were asked for; empty: all that take little time.
        files: of the subject, with what lies beside them; empty of what is in memory.
    """

    reference: Image | None = None
    training: Mapping[str, Image] = field(default_factory=dict)
    held_out: Mapping[str, Image] = field(default_factory=dict)
    generated: Mapping[str, Image] = field(default_factory=dict)
    table: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    again: Again | None = None
    alone: Again | None = None
    classical: Again | None = None
    random: Again | None = None
    references: Mapping[str, Image] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def known(study: Study, **more: Any) -> AuditedStudy:
    """Return a study as one of which nothing more is known, or with `more` of the fields above."""
    own = {each.name: getattr(study, each.name) for each in fields(study)}
    return AuditedStudy(**{**own, **more})


@dataclass(frozen=True, eq=False)
class Audited:
    """What an audit found.

    Args:
        title: of the page.
        subject: what was audited, for pictures: the result, or the first image of a set.
        study: what it was held against.
        findings: of all checks that apply, in the order of their names.
        inputs: name -> SHA-256 of every array or file that was looked at.
        settings: of the audit.
        decision: of the policy about these findings; None without one.
    """

    title: str
    subject: Result
    study: AuditedStudy
    findings: tuple[Finding, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    decision: Decision | None = None
