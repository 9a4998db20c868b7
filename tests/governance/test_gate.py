"""The gate: what a policy blocks is not written, through Python, the command line and folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from veridical import Result, Terms
from veridical.apps.cli import main
from veridical.errors import PolicyError
from veridical.governance.gate import judged
from veridical.governance.ledger import Ledger
from veridical.governance.policy import load
from veridical.io.bids import load_provenance
from veridical.io.nifti import write_nifti
from veridical.tasks.enhance import Enhance
from veridical.testing.subjects import image
from veridical.types import Finding, Study
from veridical.workflow.audit import Audit

FINDINGS = (
    Finding("memorization", "fail", "It is the head of a training patient."),
    Finding("sampling", "warn", "Samples are far from one another."),
    Finding("bias field", "not_run", "There is no body."),
    Finding("pathology", "pass", "Lesions are kept."),
)
REASON = "reviewed by two readers"


@pytest.fixture(autouse=True)
def judged_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enhancing changes nothing, and what is found is said above: the gate is tested, no audit."""

    def unchanged(task: Enhance, study: Study, seed: int, progress: object) -> Result:
        absent = dict.fromkeys(("draws", "interval", "evidence"), "There is no posterior.")
        return Result(study.image(), "point estimate", absent=absent)

    monkeypatch.setattr(Enhance, "apply", unchanged)
    monkeypatch.setattr("veridical.task.audited", lambda study, result: FINDINGS)
    monkeypatch.setenv("VERIDICAL_USER", "jane")


def rule(
    check: str = "memorization", verdict: str = "fail", then: str = "block", **more: str
) -> str:
    said = {"name": f"{check} {verdict}", "check": check, "verdict": verdict, "then": then, **more}
    return "[[rule]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())


RULES: dict[str, tuple[str, str, str]] = {
    "by check": (rule(), "", "blocked"),
    "by check, another": (rule("consistency"), "", "passed"),
    "by verdict warn": (rule("sampling", "warn"), "", "blocked"),
    "by verdict not_run": (rule("bias-field", "not_run"), "", "blocked"),
    "by verdict pass": (rule("pathology", "pass"), "", "blocked"),
    "any check": (rule("*", "warn"), "", "blocked"),
    "missing": (rule("consistency", "missing"), "", "blocked"),
    "missing, but it is there": (rule("sampling", "missing"), "", "passed"),
    "of this task": (rule(task="enhance"), "", "blocked"),
    "of another task": (rule(task="reconstruct"), "", "passed"),
    "warns": (rule(then="warn"), "", "warned"),
    "passes before": (rule(then="pass") + rule("*"), "", "passed"),
    "overridden by name": (rule(may_override="jane"), REASON, "overridden"),
    "overridden by everybody": (rule(may_override="*"), REASON, "overridden"),
    "override by somebody else": (rule(may_override="joe"), REASON, "blocked"),
    "override by nobody": (rule(), REASON, "blocked"),
    "override without a reason": (rule(may_override="jane"), " ", "blocked"),
    "override of one of two": (
        rule(may_override="jane") + rule("sampling", "warn"), REASON, "blocked"
    ),
}  # fmt: skip


@pytest.fixture(params=list(RULES))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Terms, str]:
    """Terms with a policy of one kind of rule, and what it must decide."""
    text, override, state = RULES[request.param]
    (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
    terms = Terms(tmp_path / "policy.toml", tmp_path / "ledger.db", override)
    return terms, state


def holds(folder: Path, terms: Terms, state: str) -> None:
    """Check what lies in the folder of a result, and the last line of the ledger."""
    line = list(Ledger(terms.ledger_file() or "").lines())[-1]
    assert line.says["policy"]["verdict"] == state
    if state == "blocked":
        assert line.kind == "blocked"
        assert not folder.exists()
        return
    policy = load_provenance(folder).policy
    assert policy is not None
    assert policy["verdict"] == state
    overridden = state == "overridden"
    assert (policy["by"], policy["override"]) == (("jane", REASON) if overridden else ("", ""))
    assert line.says["policy"]["override"] == policy["override"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert (REASON in page) == overridden
    assert ("Policy policy, rule" in page) == (state != "passed")


def test_each_rule_through_python(case: tuple[Terms, str], tmp_path: Path) -> None:
    terms, state = case
    result = Enhance()(image())
    if state == "blocked":
        with pytest.raises(PolicyError, match=r"rule '.*Nothing was written"):
            result.save(tmp_path / "out", "sub-01", terms=terms)
    else:
        result.save(tmp_path / "out", "sub-01", terms=terms)
    holds(tmp_path / "out", terms, state)


def test_each_rule_through_the_command_line(
    case: tuple[Terms, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terms, state = case
    write_nifti(image(), tmp_path / "sub-01_T1w.nii.gz")
    words = ["enhance", tmp_path / "sub-01_T1w.nii.gz", tmp_path / "out", "--policy", terms.policy]
    words += ["--ledger", terms.ledger, "--override", terms.override, "--quiet"]
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    assert code == (3 if state == "blocked" else 0), said.err
    assert ("rule '" in said.err) == (state == "blocked")
    assert ("policy" in said.out) == (state in ("warned", "overridden"))
    holds(tmp_path / "out", terms, state)


def test_a_refusal_names_rule_finding_reason_and_who_may_override(tmp_path: Path) -> None:
    text = rule(may_override="joe", because="Patients must not be shown.")
    (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        Enhance()(image()).save(tmp_path / "out", terms=Terms(tmp_path / "policy.toml"))
    for said in (
        "rule 'memorization fail' on memorization (fail)", "Patients must not be shown.",
        "It is the head of a training patient.", "joe may override it", '--override "reason"',
        "you are jane",
    ):  # fmt: skip
        assert said in str(caught.value)


def test_the_environment_names_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.toml").write_text(rule(), encoding="utf-8")
    Enhance()(image()).save(tmp_path / "before")
    monkeypatch.setenv("VERIDICAL_POLICY", str(tmp_path / "policy.toml"))
    with pytest.raises(PolicyError):
        Enhance()(image()).save(tmp_path / "out")
    monkeypatch.setenv("VERIDICAL_POLICY", str(tmp_path / "none.toml"))
    with pytest.raises(Exception, match="nothing is written without it"):
        Enhance()(image()).save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_blocked_result_leaves_an_earlier_one_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(rule(), encoding="utf-8")
    result = Enhance()(image())
    result.save(tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(PolicyError):
        result.save(tmp_path / "out", overwrite=True, terms=Terms(tmp_path / "policy.toml"))
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_what_a_result_holds_besides_is_judged_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(rule(), encoding="utf-8")
    result = Enhance()(image())
    whole = replace(result, findings=(), also={"day 30": result})
    with pytest.raises(PolicyError):
        whole.save(tmp_path / "out", terms=Terms(tmp_path / "policy.toml"))
    assert not (tmp_path / "out").exists()


def test_a_ledger_that_cannot_be_written_leaves_no_result(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("no ledger")
    with pytest.raises(Exception, match="no ledger"):
        Enhance()(image()).save(tmp_path / "out", terms=Terms(ledger=tmp_path / "ledger.db"))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """A data set of two patients."""
    for name in ("sub-01", "sub-02"):
        write_nifti(image(), tmp_path / "data" / name / "anat" / f"{name}_T1w.nii.gz")
    return tmp_path / "data"


Folder = Callable[..., int]


@pytest.fixture
def folder(patients: Path, tmp_path: Path) -> Folder:
    """Run the task over the data set, with a policy and further words."""

    def run(text: str, *words: str) -> int:
        (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
        policy = ["--policy", str(tmp_path / "policy.toml")] if text else []
        return main(["enhance", str(patients), str(tmp_path / "out"), *policy, *words, "--quiet"])

    return run


def statuses(tmp_path: Path) -> list[str]:
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    return [case["status"] for case in summary["cases"]]


def test_a_folder_is_blocked_case_by_case(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder(rule()) == 3
    assert "2 of 2 cases are blocked" in capsys.readouterr().err
    assert statuses(tmp_path) == ["blocked", "blocked"]
    assert not list((tmp_path / "out").rglob("provenance.json"))


def test_results_of_a_folder_that_were_there_are_judged_by_the_policy_of_today(
    folder: Folder, tmp_path: Path
) -> None:
    assert folder("") == 0
    assert folder(rule("consistency")) == 0
    assert statuses(tmp_path) == ["kept", "kept"]
    assert folder(rule(may_override="jane")) == 3
    assert statuses(tmp_path) == ["blocked", "blocked"]
    assert folder(rule(may_override="jane"), "--override", REASON) == 0
    assert statuses(tmp_path) == ["done", "done"]
    assert folder(rule(may_override="jane")) == 0
    assert statuses(tmp_path) == ["kept", "kept"]


def test_an_audit_says_what_the_policy_decides_and_writes_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.toml").write_text(rule(), encoding="utf-8")
    Enhance()(image()).save(tmp_path / "made", "sub-01")
    terms = ["--policy", tmp_path / "policy.toml", "--ledger", tmp_path / "ledger.db", "--quiet"]
    words = ["audit", tmp_path / "made", "--checks", "consistency", "--out", tmp_path / "audit"]
    assert main([str(word) for word in [*words, *terms]]) == 3
    assert "rule 'memorization fail'" in capsys.readouterr().err
    report = json.loads((tmp_path / "audit" / "report.json").read_text(encoding="utf-8"))
    assert report["policy"]["verdict"] == "blocked"
    assert "blocks this" in (tmp_path / "audit" / "report.html").read_text(encoding="utf-8")
    (line,) = Ledger(tmp_path / "ledger.db").lines()
    assert (line.kind, line.says["report"]) == ("audit", report["signature"][-1]["head"])
    found = Audit(checks=("consistency",))(tmp_path / "made", terms=Terms(tmp_path / "policy.toml"))
    assert found.decision is not None
    assert found.decision.verdict == "blocked"


def test_images_of_other_generators_are_judged_as_such(tmp_path: Path) -> None:
    text = rule("consistency", "missing", task="other") + rule("*", "fail", task="enhance")
    (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
    terms = Terms(tmp_path / "policy.toml")
    found = Audit(checks=("memorization",))(image(), terms=terms)
    assert found.decision is not None
    assert [one.rule for one in found.decision.of("blocked")] == ["consistency missing"]


def test_a_release_needs_a_line_whole_files_a_reason_and_the_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, book = tmp_path / "made", tmp_path / "ledger.db"
    (tmp_path / "policy.toml").write_text(rule(may_override="jane"), encoding="utf-8")
    written = Enhance()(image()).save(made, "sub-01")
    Ledger(book)

    def ledger(*words: object) -> tuple[int, str]:
        code = main(["ledger", *map(str, words), "--ledger", str(book)])
        return code, "".join(capsys.readouterr())

    assert ledger("release", made, "--reason", "study 7")[0] == 2
    assert "Add it first" in ledger("release", made, "--reason", "study 7")[1]
    assert ledger("add", made)[0] == 0
    assert "line 1 of the ledger already" in ledger("add", made)[1]
    assert "needs a reason" in ledger("release", made, "--reason", " ")[1]
    policy = ("--policy", tmp_path / "policy.toml")
    assert ledger("release", made, "--reason", "study 7", *policy)[0] == 3
    allowed = ledger("release", made, "--reason", "study 7", *policy, "--override", REASON)
    assert allowed[0] == 0
    assert "release" in allowed[1]
    line = list(Ledger(book).lines())[-1]
    assert (line.kind, line.says["line"], line.says["by"]) == ("release", 1, "jane")
    assert line.says["policy"]["override"] == REASON
    assert "study 7" in ledger("list")[1]
    assert '"kind": "release"' in ledger("show", made)[1]
    written["estimate"].write_bytes(b"something else")
    assert "was changed" in ledger("release", made, "--reason", "study 7")[1]


def test_a_ledger_holds_no_name_of_a_patient_or_of_a_place(tmp_path: Path) -> None:
    """Names of cases, patients and files, and reasons of findings, which may hold such."""
    name = "Smith1965"
    write_nifti(image(), tmp_path / name / f"{name}_T1w.nii.gz")
    from veridical import read

    result = Enhance()(read(tmp_path / name / f"{name}_T1w.nii.gz", contrast="T1w"))
    named = Finding("sampling", "warn", f"{name} is far from all others.", {"nearest": name})
    step = replace(result.steps[0], settings={**result.steps[0].settings, "weights": f"/{name}"})
    whole = replace(result, findings=(named,), steps=(step,))
    terms = Terms(ledger=tmp_path / "ledger.db")
    whole.save(tmp_path / "out", name, terms=terms)
    Audit(checks=("consistency",))(tmp_path / "out", tmp_path / "audit", terms=terms)
    content = (tmp_path / "ledger.db").read_bytes()
    assert name.encode() not in content
    assert str(tmp_path).encode() not in content
    shutil.rmtree(tmp_path / "out")


def test_a_policy_may_be_applied_to_findings_alone(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(rule("*", "fail") + rule("*", "warn", "warn"), "utf-8")
    decision = judged(load(tmp_path / "policy.toml"), FINDINGS, "complete")
    assert [(one.check, one.state) for one in decision.rulings] == [
        ("memorization", "blocked"),
        ("sampling", "warned"),
    ]


def test_the_policy_command_writes_and_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.toml"
    assert main(["policy", str(file)]) == 0
    assert main(["policy", str(file)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["policy", str(file), "--check"]) == 0
    assert "memorization (fail): block; nobody may override it" in capsys.readouterr().out
    file.write_text(file.read_text("utf-8").replace('"memorization"', '"memorisation"'), "utf-8")
    assert main(["policy", str(file), "--check"]) == 2
    assert "Did you mean 'memorization'?" in capsys.readouterr().err
