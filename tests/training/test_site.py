"""What leaves a site, what stays there, and that asking twice costs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import federations
from veridical.errors import FormatError, InputError
from veridical.training.federated import initial
from veridical.training.federation import Federation
from veridical.training.site import LEDGER, SiteTrainer
from veridical.training.site_report import attack, received, site_report

PRIVATE = "[privacy]\nepsilon = 8.0\npatients = 2\ndelta = 0.01\nseeded = true"


def site(folder: Path, line: str = "", more: str = "") -> tuple[Federation, SiteTrainer]:
    plan = federations.federation(folder, line, more)
    return plan, SiteTrainer(plan, "north", folder / "north")


def length(update: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum((one**2).sum() for one in update.values())))


def test_an_answer_is_an_update_of_all_weights_and_a_few_numbers(tmp_path: Path) -> None:
    plan, north = site(tmp_path)
    shared = initial(plan)
    answer = north.train(1, shared, plan.fingerprint())
    assert {name: one.shape for name, one in answer.update.items()} == {
        name: one.shape for name, one in shared.items()
    }
    assert answer.patients == 4
    assert set(answer.facts) == {"before_db", "loss", "seconds"}


def test_asked_the_same_again_after_a_restart_a_site_answers_the_same_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, north = site(tmp_path)
    shared = initial(plan)
    first = north.train(1, shared, plan.fingerprint())
    again = SiteTrainer(plan, "north", tmp_path / "north")
    monkeypatch.setattr(again.run, "step_on", lambda: pytest.fail("it trains again"))
    second = again.train(1, shared, plan.fingerprint())
    assert all(np.array_equal(first.update[name], second.update[name]) for name in shared)
    assert second.facts == first.facts


def test_the_optimizer_goes_on_where_it_was(tmp_path: Path) -> None:
    """In one process or in one for each round, the second update is the same."""
    plan, north = site(tmp_path / "a")
    shared = initial(plan)
    north.train(1, shared, plan.fingerprint())
    here = north.train(2, shared, plan.fingerprint()).update
    _, other = site(tmp_path / "b")
    other.train(1, shared, plan.fingerprint())
    fresh = SiteTrainer(plan, "north", tmp_path / "b" / "north")
    there = fresh.train(2, shared, plan.fingerprint()).update
    assert all(np.array_equal(here[name], there[name]) for name in shared)


def test_fedprox_holds_a_site_near_the_shared_weights(tmp_path: Path) -> None:
    """The pull begins once weights have moved, so the steps after the first are shorter."""
    lengths = []
    for number, mu in enumerate((0.0, 1e4)):
        line = f'strategy = "fedprox"\nproximal = {mu}'
        plan, north = site(tmp_path / str(number), line)
        update = north.train(1, initial(plan), plan.fingerprint()).update
        lengths.append(length(dict(update)))
    assert lengths[1] < lengths[0]


def test_another_federation_of_the_server_is_refused(tmp_path: Path) -> None:
    plan, north = site(tmp_path)
    with pytest.raises(InputError, match="not that of site 'north'"):
        north.train(1, initial(plan), "other")


def test_a_site_without_held_out_patients_says_so(tmp_path: Path) -> None:
    path = federations.written(tmp_path)
    path.write_text(path.read_text().replace('"sub-north4", "north4"', '"nobody"'))
    with pytest.raises(InputError, match="no patient to judge"):
        SiteTrainer(Federation.read(path), "north", tmp_path)


def test_steps_are_written_down_before_they_are_taken_and_end_with_the_budget(
    tmp_path: Path,
) -> None:
    pytest.importorskip("opacus", reason="needs the extra federated")
    plan, north = site(tmp_path, more=PRIVATE)
    shared = initial(plan)
    first = north.train(1, shared, plan.fingerprint())
    assert "loss" not in first.facts
    assert 0 < first.facts["epsilon"] < 8
    north.train(1, shared, plan.fingerprint())  # the same question again
    assert json.loads((tmp_path / "north" / LEDGER).read_text())["taken"] == 2
    assert north.train(2, shared, plan.fingerprint()).facts["epsilon"] <= 8.001
    moved = {name: one + 1e-3 for name, one in shared.items()}
    with pytest.raises(InputError, match="the site allows 8"):
        north.train(2, moved, plan.fingerprint())
    (tmp_path / "north" / LEDGER).write_text("{")
    with pytest.raises(FormatError, match="what the patients have given"):
        north.train(2, moved, plan.fingerprint())


def test_under_privacy_the_verdict_on_membership_stays_at_the_site(tmp_path: Path) -> None:
    pytest.importorskip("opacus", reason="needs the extra federated")
    plan, north = site(tmp_path, more=PRIVATE)
    told = site_report(north, initial(plan))
    assert told["membership"]["reason"].startswith("Kept at the site")
    kept = json.loads((tmp_path / "north" / "report.json").read_text())
    assert "of each are needed" in kept["membership"]["reason"]


def test_the_attack_finds_patients_whose_loss_is_low(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, north = site(tmp_path)
    monkeypatch.setattr(
        "veridical.training.site_report.losses",
        lambda which, net: np.linspace(0, 1, 40) + (which is north.run.unseen),
    )
    assert attack(north.run, torch.nn.Identity()).verdict == "fail"


@pytest.mark.parametrize(
    "text", ["", "[]", "no json", '{"patients": 3}', '{"net_interval": [1, 2, 3]}']
)
def test_a_report_that_is_none_is_garbage_and_no_error_of_ours(text: str) -> None:
    assert str(received(text)).startswith("garbage: its report")


def test_a_report_arrives_as_it_was_sent_without_what_nobody_asked_for(tmp_path: Path) -> None:
    plan, north = site(tmp_path)
    sent = site_report(north, initial(plan))
    found = received(json.dumps({**sent, "extra": "x" * 1000}))
    assert isinstance(found, dict)
    assert found == {**sent, "membership": found["membership"]}
    assert set(found["membership"]) == {"verdict", "reason"}
