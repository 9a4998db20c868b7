"""The gate: what a policy decides about a result before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from veridical.errors import PolicyError
from veridical.governance.policy import MISSING, OTHER, Policy, PolicyRule, load, plain
from veridical.terms import Terms, user
from veridical.types import Finding, Result

State = Literal["blocked", "overridden", "warned"]


@dataclass(frozen=True)
class Ruling:
    """What one rule says of one finding.

    Args:
        rule, check, verdict: which.
        state: `blocked`, `overridden` by somebody who may, or `warned`.
        reason: of the finding.
        because: of the rule.
        may_override: who may.
    """

    rule: str
    check: str
    verdict: str
    state: State
    reason: str
    because: str
    may_override: tuple[str, ...]

    def __str__(self) -> str:
        why = f" {self.because}" if self.because else ""
        return f"rule {self.rule!r} on {self.check} ({self.verdict}).{why} {self.reason}".strip()


@dataclass(frozen=True)
class Decision:
    """What a policy decides about a result.

    Args:
        policy, sha256: name and hash of the policy.
        task: as which the result was judged.
        rulings: of all rules that block or warn; empty where it passes.
        by, override: who overrode and why; empty where nobody had to.
    """

    policy: str
    sha256: str
    task: str
    rulings: tuple[Ruling, ...]
    by: str = ""
    override: str = ""

    def of(self, state: State) -> tuple[Ruling, ...]:
        """Return the rulings of one state."""
        return tuple(one for one in self.rulings if one.state == state)

    @property
    def verdict(self) -> str:
        """`blocked`, `overridden`, `warned` or `passed`."""
        states: tuple[State, ...] = ("blocked", "overridden", "warned")
        return next((state for state in states if self.of(state)), "passed")

    def record(self) -> dict[str, Any]:
        """Return plain values for the provenance."""
        return {**asdict(self), "verdict": self.verdict}

    def refusal(self) -> str:
        """Return what blocks, who may override it and how."""
        blocked = self.of("blocked")
        named = "; ".join(map(str, blocked))
        return f"The policy {self.policy!r} blocks it: {named} {_way_out(blocked)}"


def decide(result: Result, terms: Terms) -> Decision | None:
    """Return what the policy decides about a result and all further ones in it; None without a
    policy.

    Raises:
        VeridicalError: the policy cannot be read.
    """
    return decided(tuple(findings_of(result)), task_of(result), terms)


def decided(findings: Sequence[Finding], task: str, terms: Terms) -> Decision | None:
    """Return what the policy decides about findings; arguments as `judged`. None without one."""
    path = terms.policy_file()
    return None if path is None else judged(load(path), findings, task, terms.override)


def judged(policy: Policy, findings: Sequence[Finding], task: str, override: str = "") -> Decision:
    """Apply a policy to findings.

    Args:
        policy: with its rules.
        findings: of a result.
        task: that made it; `other` where none of ours did.
        override: reason of the user to write it all the same; empty where there is none.
    """
    held = {plain(finding.check) for finding in findings}
    absent = [
        Finding(check, "not_run", "This check left no finding.")
        for check in policy.required(task)
        if check not in held
    ]
    who = user() if override.strip() else ""
    said = [(finding, finding.verdict) for finding in findings]
    rulings = [
        _ruling(rule, finding, verdict, who)
        for finding, verdict in [*said, *((one, MISSING) for one in absent)]
        if (rule := policy.rule(finding.check, verdict, task)) is not None and rule.then != "pass"
    ]
    used = any(ruling.state == "overridden" for ruling in rulings)
    return Decision(
        policy.name,
        policy.sha256,
        task,
        tuple(rulings),
        who if used else "",
        override.strip() if used else "",
    )


def refuse(decision: Decision | None) -> None:
    """Raise a PolicyError where a decision blocks."""
    if decision is not None and decision.of("blocked"):
        raise PolicyError(f"{decision.refusal()} Nothing was written.")


def findings_of(result: Result) -> Iterator[Finding]:
    """Yield the findings of a result and of those that it holds besides."""
    yield from result.findings
    for other in result.also.values():
        yield from findings_of(other)


def task_of(result: Result) -> str:
    """Return the task that made a result; `other` where none of ours did."""
    return result.steps[-1].task if result.steps else OTHER


def _ruling(rule: PolicyRule, finding: Finding, verdict: str, who: str) -> Ruling:
    state: State = "warned"
    if rule.then == "block":
        state = "overridden" if who and rule.allows(who) else "blocked"
    return Ruling(
        rule.name,
        finding.check,
        verdict,
        state,
        finding.reason,
        rule.because,
        rule.may_override,
    )


def _way_out(blocked: Sequence[Ruling]) -> str:
    """Return who may override all that blocks, and how."""
    named = [set(ruling.may_override) for ruling in blocked if "*" not in ruling.may_override]
    how = '--override "reason", in Python Terms(override="reason")'
    if not named:
        return f"Everybody may override it with a reason: {how}."
    able = sorted(set.intersection(*named))
    if not able:
        return "Nobody may override it."
    return f"{', '.join(able)} may override it: {how}; you are {user()}."
