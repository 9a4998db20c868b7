"""The policy: a file that says which findings block, warn or pass, and who may override.

Rules are read from the top; the first that fits a finding decides. What no rule is about passes.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from veridical import registry
from veridical.errors import FormatError, InputError, SettingError, nearest
from veridical.types import SEVERITY

Action = Literal["block", "warn", "pass"]
MISSING = "missing"
"""Verdict of a rule that asks for a check which left no finding."""
VERDICTS = (*SEVERITY, MISSING)
ANY, OTHER = "*", "other"
"""`*` stands for any check, task or person; `other` for what no task of Veridical made."""
OF_TASKS = (
    "bias field",
    "head",
    "volumes",
    "planned dose",
    "plan grid",
    "target coverage",
    "organ limits",
    "organs at risk",
    "text",
    "genes",
    "described",
    "description",
    "motion model",
    "motion residual",
    "motion range",
    "latency",
    "held out frames",
    "fields in the scan",
    "whole body",
    "metal in the fields",
    "dose against",
    "CT in its interval",
    "visits",
    "forecast conditions",
    "forecast horizon",
    "forecast deformation",
    "forecast volumes",
    "forecast lesions",
    "forecast tumour",
    "time to threshold",
)
"""Findings that tasks make themselves, beside those of the audits."""
OWN = "other:"
"""Before the name of a check that is not installed, so that a misspelt one is not taken for it."""
TEMPLATE = Path(__file__).parent / "policy.toml"


@dataclass(frozen=True)
class PolicyRule:
    """One rule.

    Args:
        name: by which messages call it.
        check: names of checks, or `*`.
        verdict: of the finding: pass, warn, fail, not_run; or `missing`: there is no finding.
        then: block, warn or pass.
        task: names of tasks, `other` for images of other generators, or `*`.
        may_override: who may write the result all the same, with a reason: names of users, `*` for
            everybody; nobody when empty.
        because: why there is this rule, for those it stops.
    """

    name: str
    check: tuple[str, ...]
    verdict: tuple[str, ...]
    then: Action
    task: tuple[str, ...] = (ANY,)
    may_override: tuple[str, ...] = ()
    because: str = ""

    def fits(self, check: str, verdict: str, task: str) -> bool:
        """Say whether the rule is about a finding of a task."""
        return (
            verdict in self.verdict
            and any(one in (ANY, task) for one in self.task)
            and any(one == ANY or plain(one) == plain(check) for one in self.check)
        )

    def __str__(self) -> str:
        tasks = "" if ANY in self.task else f" of {', '.join(self.task)}"
        checks = "any check" if ANY in self.check else ", ".join(self.check)
        who = "everybody" if ANY in self.may_override else ", ".join(self.may_override)
        may = f"; {who or 'nobody'} may override it" if self.then == "block" else ""
        return f"{self.name}: {checks} ({', '.join(self.verdict)}){tasks}: {self.then}{may}"

    def allows(self, user: str) -> bool:
        """Say whether a user may override it."""
        return ANY in self.may_override or user in self.may_override


@dataclass(frozen=True)
class Policy:
    """All rules of a policy file.

    Args:
        name: of the policy.
        rules: from the top.
        sha256: of the file.
    """

    name: str
    rules: tuple[PolicyRule, ...]
    sha256: str

    def rule(self, check: str, verdict: str, task: str) -> PolicyRule | None:
        """Return the rule that decides about a finding; None where no rule is about it."""
        return next((rule for rule in self.rules if rule.fits(check, verdict, task)), None)

    def required(self, task: str) -> tuple[str, ...]:
        """Return the checks without which some rule fits a result of a task."""
        asked = (
            check
            for rule in self.rules
            if MISSING in rule.verdict and any(one in (ANY, task) for one in rule.task)
            for check in rule.check
        )
        return tuple(dict.fromkeys(map(plain, asked)))


def plain(check: str) -> str:
    """Return the name of a check as findings have it: `out-of-distribution` without hyphens."""
    return check.removeprefix(OWN).replace("-", " ").replace("_", " ")


def load(path: str | Path) -> Policy:
    """Read a policy file; what could be a spelling mistake is refused, since such a rule would stop
    nothing.

    Raises:
        InputError: it is not there.
        FormatError: it is no TOML.
        SettingError: an unknown key, check, task, verdict or action.
    """
    file = Path(path)
    try:
        raw = file.read_bytes()
        said = tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise InputError(
            f"The policy {file} cannot be read ({error.strerror}); nothing is written without it. "
            f"Write one with: veridical policy {file}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{file} is no policy: {error}. Write a fresh one with: veridical policy FILE"
        ) from error
    for key in said:
        _known("a policy has no entry", key, ("name", "may_override", "rule"))
    usual = _words("may_override", said.get("may_override", []), file.name)
    tables = said.get("rule", [])
    if not isinstance(tables, list):
        raise SettingError(f"{file.name}: write each rule under [[rule]], with two brackets.")
    rules = tuple(_rule(table, usual) for table in tables)
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingError(f"{file.name} has two rules called {twice[0]!r}. Name each once.")
    return Policy(str(said.get("name", file.stem)), rules, hashlib.sha256(raw).hexdigest())


def _rule(table: Any, usual: tuple[str, ...]) -> PolicyRule:
    """Return the rule of a table, checked."""
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise SettingError(f"A rule without a name: {table}. Give name, check, verdict and then.")
    name, keys = table["name"], [field.name for field in fields(PolicyRule)]
    for key in table:
        _known(f"rule {name!r} has no entry", key, keys)
    for key in ("check", "verdict", "then"):
        if key not in table:
            raise SettingError(f"Rule {name!r} does not say {key}; expected check, verdict, then.")
    found = PolicyRule(
        name,
        _words("check", table["check"], name),
        _words("verdict", table["verdict"], name),
        table["then"],
        _words("task", table.get("task", ANY), name),
        _words("may_override", table.get("may_override", usual), name),
        str(table.get("because", "")),
    )
    _known(f"rule {name!r}: there is no action", found.then, get_args(Action))
    for verdict in found.verdict:
        _known(f"rule {name!r}: there is no verdict", verdict, VERDICTS)
    for task in found.task:
        _known(f"rule {name!r}: there is no task", task, (*registry.entries("task"), OTHER, ANY))
    checks = {plain(one) for one in (*registry.entries("audit"), *OF_TASKS, ANY)}
    for check in (one for one in found.check if not one.startswith(OWN)):
        _known(f"rule {name!r}: there is no check", plain(check), checks)
    if MISSING in found.verdict and ANY in found.check:
        raise SettingError(f"Rule {name!r} asks for a missing check; say which, not '*'.")
    return found


def _known(wrong: str, name: Any, known: Iterable[str]) -> None:
    if name not in (names := list(known)):
        raise SettingError(f"{wrong[0].upper()}{wrong[1:]} {name!r}. {nearest(str(name), names)}")


def _words(key: str, said: Any, where: str) -> tuple[str, ...]:
    """Return one word or a list of words as words."""
    words = [said] if isinstance(said, str) else said
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise SettingError(f"{key} of {where!r} is {said!r}; expected a text or a list of texts.")
    return tuple(words)
