from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib import resources

import pytest
from judgement_example import evaluation, refused

from veridical.errors import FormatError
from veridical.evaluation.results import Evaluation
from veridical.report import crosswalk as module
from veridical.report.crosswalk import MUST, Answer, crosswalk

EMPTY = Evaluation("a against b", {}, {}, {}, ())


def answers(of: Evaluation) -> dict[tuple[str, str], Answer]:
    return {
        (checklist.name.split()[0], answer.item): answer
        for checklist in crosswalk(of)
        for answer in checklist.answers
    }


def test_the_file_names_each_item_once_with_a_source_and_uses_every_fact() -> None:
    found = tomllib.loads(
        resources.files("veridical.report").joinpath("crosswalk.toml").read_text(encoding="utf-8")
    )["checklist"]
    names = ["CLAIM", "TRIPOD+AI", "FUTURE-AI", "METRICS", "EU", "FDA", "FDA"]
    assert [c["name"].split()[0] for c in found] == names
    used = set()
    for checklist in found:
        items = [item["id"] for item in checklist["items"]]
        assert len(items) == len(set(items))
        assert all(len(item["asks"]) < 80 for item in checklist["items"]), "a paraphrase is short"
        assert checklist["cites"].endswith(".")
        used |= {
            name for item in checklist["items"] for name in (*item["from"], *item.get("more", []))
        }
    assert used == set(module.ClaimSources().facts())


def test_what_the_data_hold_is_answered_from_them() -> None:
    found = answers(evaluation())
    assert found["CLAIM", "37"].state == "answered"
    assert "Dice, lesion: 0.58 (0.52 to 0.64)" in found["CLAIM", "37"].said
    assert "0.893 where 0.9 is ideal" in found["METRICS", "22"].said
    assert "CS and DU" in found["METRICS", "4"].said
    assert "96 training images" in found["CLAIM", "20"].said
    assert "sex: F 20, M 20" in found["TRIPOD+AI", "20b"].said
    assert "CS above DU" in found["TRIPOD+AI", "23b"].said


def test_what_no_evaluation_can_know_is_left_to_the_authors() -> None:
    found = answers(evaluation())
    for key in (
        ("CLAIM", "5"),
        ("CLAIM", "11"),
        ("TRIPOD+AI", "17"),
        ("FUTURE-AI", "Usability 1"),
        ("METRICS", "6"),
    ):
        assert (found[key].state, found[key].said) == ("not answered", MUST)


def test_a_part_is_never_called_the_whole() -> None:
    found = answers(evaluation())
    assert found["CLAIM", "8"].state == "partly"
    assert found["CLAIM", "8"].said.endswith("The rest you must state.")


@pytest.mark.parametrize("of", [EMPTY, refused()], ids=["empty", "refused"])
def test_an_evaluation_without_numbers_answers_no_question_about_numbers(of: Evaluation) -> None:
    found = answers(of)
    for key in (
        ("CLAIM", "28"),
        ("CLAIM", "29"),
        ("CLAIM", "37"),
        ("CLAIM", "38"),
        ("CLAIM", "39"),
        ("METRICS", "22"),
        ("TRIPOD+AI", "23a"),
    ):
        assert found[key].state == "not answered", key


def test_without_subgroups_fairness_is_not_answered() -> None:
    found = answers(replace(evaluation(), subgroups=()))
    assert found["FUTURE-AI", "Fairness 3"].state == "not answered"
    assert found["TRIPOD+AI", "23a"].state == "partly"


def test_leakage_that_was_not_looked_for_is_not_answered() -> None:
    whole = evaluation()
    found = answers(replace(whole, about={**whole.about, "training": 0}))
    assert found["CLAIM", "20"].state == "not answered"


def test_counts_add_up() -> None:
    for checklist in crosswalk(evaluation()):
        assert sum(checklist.counts.values()) == len(checklist.answers)


def test_an_item_that_rests_on_an_unknown_fact_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FACTS", {k: v for k, v in module.FACTS.items() if k != "leakage"})
    with pytest.raises(FormatError, match="rests on the fact 'leakage'"):
        crosswalk(evaluation())
