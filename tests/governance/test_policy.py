"""The policy file: what it says; a mistake in it is refused, since it would stop nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from veridical import registry
from veridical.errors import FormatError, InputError, SettingError
from veridical.governance.policy import OF_TASKS, TEMPLATE, load, plain

RULE = '[[rule]]\nname = "a"\ncheck = "consistency"\nverdict = "fail"\nthen = "block"\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "policy.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_template_is_a_policy() -> None:
    found = load(TEMPLATE)
    assert found.rule("memorization", "fail", "synthesize").then == "block"  # type: ignore[union-attr]
    assert found.rule("sampling", "fail", "reconstruct").then == "warn"  # type: ignore[union-attr]
    assert found.rule("sampling", "pass", "reconstruct") is None
    assert found.required("reconstruct") == ("consistency",)
    assert found.required("enhance") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RULE.replace("consistency", "consistancy"), "no check 'consistancy'.*'consistency'"),
        (RULE.replace('"fail"', '"failed"'), "no verdict 'failed'.*'fail'"),
        (RULE.replace("block", "stop"), "no action 'stop'"),
        (RULE + 'task = "reconstrct"', "no task 'reconstrct'.*'reconstruct'"),
        (RULE + 'overrides = ["a"]', "no entry 'overrides'.*'may_override'"),
        (RULE + RULE, "two rules called 'a'"),
        (RULE.replace('name = "a"\n', ""), "without a name"),
        (RULE.replace('verdict = "fail"\n', ""), "does not say verdict"),
        (RULE.replace('"consistency"', '"*"').replace('"fail"', '"missing"'), "say which"),
        (RULE + "may_override = 3", "expected a text or a list"),
        (RULE.replace("[[rule]]", "[rule]"), "two brackets"),
        (RULE.replace("[[rule]]", "[[rules]]"), "no entry 'rules'.*'rule'"),
    ],
)  # fmt: skip
def test_what_could_be_a_mistake_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load(written(tmp_path, text))


def test_a_policy_that_cannot_be_read_is_no_permission(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is written without it"):
        load(tmp_path / "none.toml")
    with pytest.raises(FormatError, match="is no policy"):
        load(written(tmp_path, "rule = ["))


def test_the_first_rule_that_fits_decides(tmp_path: Path) -> None:
    exception = RULE.replace('"a"', '"b"').replace("block", "pass") + 'task = "enhance"\n'
    found = load(written(tmp_path, exception + RULE))
    assert found.rule("consistency", "fail", "enhance").then == "pass"  # type: ignore[union-attr]
    assert found.rule("consistency", "fail", "reconstruct").then == "block"  # type: ignore[union-attr]


def test_hyphens_and_blanks_of_a_check_are_one(tmp_path: Path) -> None:
    found = load(written(tmp_path, RULE.replace("consistency", "out-of-distribution")))
    assert found.rule("out of distribution", "fail", "enhance") is not None


def test_checks_of_ones_own_are_marked(tmp_path: Path) -> None:
    found = load(written(tmp_path, RULE.replace("consistency", "other:skull-shape")))
    assert found.rule("skull shape", "fail", "enhance") is not None


def test_who_may_override_is_of_the_file_unless_the_rule_says_it(tmp_path: Path) -> None:
    own = RULE.replace('"a"', '"b"') + 'may_override = "*"\n'
    first, second = load(written(tmp_path, 'may_override = ["jane"]\n' + RULE + own)).rules
    assert first.allows("jane")
    assert not first.allows("joe")
    assert second.allows("joe")


def test_findings_that_tasks_make_themselves_are_known() -> None:
    """Read from the sources: a finding of a task that no policy could name would pass any."""
    found = set()
    for entry in registry.entries("task").values():
        file = Path(str(entry.load().__module__.replace(".", "/")) + ".py")
        found |= literal_checks(Path(__file__).parents[2] / "src" / file)
    for file in sorted((Path(__file__).parents[2] / "src" / "veridical" / "tasks").glob("*.py")):
        found |= literal_checks(file)
    assert {plain(one) for one in found} == set(OF_TASKS)


def literal_checks(file: Path) -> set[str]:
    calls = (n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.Call))
    return {
        call.args[0].value
        for call in calls
        if ast.unparse(call.func) == "Finding"
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    }
