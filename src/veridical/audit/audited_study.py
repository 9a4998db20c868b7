"""What an auditor may know of a study besides what its result was made from.

Within a task nothing of it is known; `veridical audit` fills in what it is given. An audit asks by
`known(study)`, and returns None where what it needs is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

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
        generated: name -> image of the set that is audited as a whole; empty of single results.
        table: name of a generated image -> its row of a table: age, sex, site, scores, ...
        again: makes the result again from changed input; None where the task is not known.
        random: the same with random weights in place of the learned ones; None where it has none.
    """

    reference: Image | None = None
    training: Mapping[str, Image] = field(default_factory=dict)
    generated: Mapping[str, Image] = field(default_factory=dict)
    table: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    again: Again | None = None
    random: Again | None = None


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
    """

    title: str
    subject: Result
    study: AuditedStudy
    findings: tuple[Finding, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
