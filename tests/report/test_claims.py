"""Claims: what evidence holds is filled in, from evidence that is as it was signed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from judgement_example import evaluation

import cards
import toys
from veridical.apps.cli import main
from veridical.errors import FormatError, InputError, SettingError
from veridical.evaluation import signature
from veridical.evaluation.results import Evaluation
from veridical.governance.ledger import Ledger
from veridical.report.claims_page import chosen, gather
from veridical.report.crosswalk import MUST, Answer, ClaimSources, claims, crosswalk
from veridical.report.evaluation_report import document_of
from veridical.testing.subjects import image
from veridical.workflow.audit import Audit

CARD = cards.complete({"model": "denoiser", "net": {"widths": [8, 8]}})
AUDIT = {
    "findings": [
        {"check": "robustness", "verdict": "pass", "reason": "It moves as the data do."},
        {"check": "fairness", "verdict": "not_run", "reason": "No table was given."},
    ]
}


def answers(evidence: ClaimSources) -> dict[tuple[str, str], Answer]:
    return {
        (checklist.name, answer.item): answer
        for checklist in claims(evidence)
        for answer in checklist.answers
    }


def test_without_evidence_nothing_is_answered() -> None:
    found = answers(ClaimSources())
    assert len(found) > 100
    assert {(one.state, one.said) for one in found.values()} == {("not answered", MUST)}


def test_what_a_card_holds_is_answered_in_part_and_the_rest_is_open() -> None:
    found = answers(ClaimSources(card=CARD))
    purpose = found["EU AI Act, Annex IV", "1(a)"]
    assert purpose.state == "partly"
    assert CARD["intended_use"] in purpose.said
    assert purpose.said.endswith("The rest you must state.")
    assert "psnr 30 dB (29 to 31, baseline 25 dB)" in found["EU AI Act, Annex IV", "2(g)"].said
    assert "toy (patients not counted; CC0)" in found["EU AI Act, Annex IV", "2(d)"].said
    assert found["EU AI Act, Annex IV", "8"].said == MUST
    assert CARD["known_failures"][0] in found["TRIPOD+AI 2024", "26"].said
    assert found["FDA PCCP 2024", "Modification Protocol: Update Procedures"].said == MUST
    assert found["CLAIM 2024", "37"].state == "not answered", "a card is no evaluation"


def test_an_audit_answers_with_the_checks_that_were_run() -> None:
    found = answers(ClaimSources(audit=AUDIT))
    assert "It moves as the data do." in found["CLAIM 2024", "30"].said
    assert found["FUTURE-AI 2025", "Fairness 3"].said == MUST
    assert "robustness pass" in found["EU AI Act, Annex IV", "2(g)"].said
    assert "fairness" not in found["EU AI Act, Annex IV", "2(g)"].said


def test_an_evaluation_answers_as_on_its_own_page() -> None:
    mine = evaluation()
    alone = {(one.name, a.item): a for one in crosswalk(mine) for a in one.answers}
    assert {name for name, _ in alone} == {
        "CLAIM 2024", "TRIPOD+AI 2024", "FUTURE-AI 2025", "METRICS (radiomics) 2024",
    }  # fmt: skip
    together = answers(ClaimSources(evaluation=mine))
    assert alone.items() <= together.items()


def test_an_evaluation_read_back_answers_the_same() -> None:
    document = json.loads(signature.canonical(document_of(evaluation())))
    again = Evaluation.from_dict(document)
    found, own = (answers(ClaimSources(evaluation=one)) for one in (again, evaluation()))
    assert [one.state for one in found.values()] == [one.state for one in own.values()]
    differing = {key for key in own if found[key].said != own[key].said}
    assert all("0.58 (0.5" in own[key].said for key in differing), "a report has 12 digits: 0.525"
    with pytest.raises(FormatError, match="Evaluate again"):
        Evaluation.from_dict({"title": "x"})


def test_items_of_the_annex_are_those_of_the_regulation() -> None:
    found = [item for name, item in answers(ClaimSources()) if name == "EU AI Act, Annex IV"]
    ones, twos = ([f"{n}({c})" for c in "abcdefgh"] for n in (1, 2))
    assert found == [*ones, *twos, *"3456789"]


def test_every_checklist_names_its_source() -> None:
    for checklist in claims(ClaimSources()):
        assert re.search(r"20\d\d", checklist.cites), checklist.name


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    Audit(checks=("input-notes", "consistency"))(image(), folder)
    return folder


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_command_writes_a_page_and_json(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Ledger(tmp_path / "ledger.db").append("result", {"findings": []})
    more = ["--audit", audited, "--ledger", tmp_path / "ledger.db", "--out", tmp_path / "c"]
    assert run("claims", toys.weights("denoiser"), *more) == 0
    assert "EU AI Act, Annex IV: 0 answered, " in capsys.readouterr().out
    said: dict[str, Any] = json.loads((tmp_path / "c" / "claims.json").read_text("utf-8"))
    assert said["rests_on"] == ["the model card", "a signed audit", "a ledger"]
    page = (tmp_path / "c" / "claims.html").read_text("utf-8")
    assert "no statement of conformity" in page
    assert "not for each voxel" in page
    assert "A ledger holds 1 of kind result" in page
    assert (
        run("claims", toys.weights("denoiser"), "--checklist", "fda", "--out", tmp_path / "f") == 0
    )
    lists = json.loads((tmp_path / "f" / "claims.json").read_text("utf-8"))["checklists"]
    assert {one["name"].split()[0] for one in lists} == {"FDA"}


def test_nothing_is_claimed_from_what_was_changed_or_is_something_else(
    audited: Path, tmp_path: Path
) -> None:
    for name in ("report.json", "report.html"):
        (tmp_path / name).write_bytes((audited / name).read_bytes())
    weights = str(toys.weights("denoiser"))
    assert gather(weights, tmp_path).audit is not None
    with pytest.raises(FormatError, match="Give the other one"):
        gather(weights, evaluation=tmp_path)
    text = (tmp_path / "report.json").read_text("utf-8")
    (tmp_path / "report.json").write_text(text.replace('"not_run"', '"pass"'), "utf-8")
    with pytest.raises(InputError, match="Nothing can be claimed from it"):
        gather(weights, tmp_path)
    with pytest.raises(SettingError, match="no checklist 'gdpr'"):
        chosen(claims(ClaimSources()), "gdpr")
