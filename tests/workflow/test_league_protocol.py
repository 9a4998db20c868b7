"""Protocols of leagues are read strictly, and give every entry the same budget and data."""

from __future__ import annotations

from pathlib import Path

import pytest

import leagues
from veridical import registry
from veridical.errors import FormatError, SettingError
from veridical.workflow import league_reading
from veridical.workflow.league_protocol import Entrant, LeagueBudget, LeagueProtocol
from veridical.workflow.league_reading import read

EVERY = leagues.WARD + "\n[every]\nnets = { unet = { widths = [8, 8] } }\n"


def test_a_protocol_says_job_patients_budget_and_entries(tmp_path: Path) -> None:
    plan = read(leagues.ward(tmp_path))
    assert (plan.job, plan.made, plan.given) == ("complete", "FLAIR", ("T1w",))
    assert plan.data.sources == {str((tmp_path / "ward").resolve()): 1.0}
    assert [entry.name for entry in plan.entries] == ["flow", "constant"]
    assert plan.budget.said() == "4 steps"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title =", "titel =", "Did you mean 'title'"),
        ("patch =", "pach =", "Did you mean 'patch'"),
        ("steps =", "step =", "Did you mean 'steps'"),
        ("draws =", "draw =", "Did you mean 'draws'"),
        ("[budget]", "[buget]", "Did you mean 'budget'"),
        ("family =", "familie =", "Did you mean 'family'"),
        ('"rectified-flow"', '"rectified-flaw"', "Did you mean 'rectified-flow'"),
        ('"constant"\n', '"constnat"\n', "Did you mean 'constant'"),
        ('"complete"', '"complet"', "Did you mean 'complete'"),
        ('["pixel"]', '["pixels"]', "Did you mean 'pixel'"),
        ("{ ward = 1.0 }", "{ wrad = 1.0 }", "Or give a folder"),
        ("patch = 32", "patch = 8", "at least 16"),
        ("steps = 4", "steps = -1", "steps = -1"),
        ("batch = 2", 'batch = "two"', "expected int"),
        ('given = ["T1w"]', 'given = "T1w"', "expected list"),
        ('given = ["T1w"]', 'given = ["FLAIR"]', "other than the one that is made"),
        ('held_out = ["sub-01", "sub-02"]', "", "held_out"),
        ("[entries.constant]", '[entries."../up"]', "letters, digits"),
        ('classical = "constant"', 'classical = "input"', "no method for the job"),
        ('classical = "constant"', 'classical = "constant"\nfamily = "vae"', "one of the two"),
    ],
)
def test_what_is_wrong_is_refused_and_the_nearest_named(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in leagues.WARD
    with pytest.raises(SettingError, match=said.replace("[", r"\[")):
        read(leagues.ward(tmp_path, leagues.WARD.replace(old, new, 1)))


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("job = ", encoding="utf-8")
    with pytest.raises(FormatError, match="cannot be read"):
        read(path)
    with pytest.raises(SettingError, match="completion"):
        read("completon")


def test_every_stands_for_each_installed_family_and_backbone(tmp_path: Path) -> None:
    plan = read(leagues.ward(tmp_path, EVERY))
    names = [entry.name for entry in plan.entries]
    assert set(registry.entries("family")) <= set(names)
    assert {f"regression-{b}" for b in registry.entries("backbone") if b != "unet"} <= set(names)
    assert plan.entry("regression").net == {"widths": [8, 8]}


def test_every_leaves_out_what_it_is_told_to_and_knows_no_other_names(tmp_path: Path) -> None:
    without = EVERY.replace("[every]", '[every]\nwithout = ["bridge"]')
    assert "bridge" not in [entry.name for entry in read(leagues.ward(tmp_path, without)).entries]
    with pytest.raises(SettingError, match="Did you mean 'bridge'"):
        read(leagues.ward(tmp_path, without.replace('"bridge"', '"brigde"')))


def test_all_entries_learn_from_the_same_and_may_spend_the_same(tmp_path: Path) -> None:
    plan = read(leagues.ward(tmp_path, EVERY))
    nets = [plan.net(entry) for entry in plan.entries if entry.family]
    assert len({str((net["contrasts"], net.get("degradations"))) for net in nets}) == 1
    assert plan.training_data(("sub-01",)).key() == plan.training_data(("sub-01",)).key()
    assert not {"budget", "data", "seeds"} & set(Entrant.__dataclass_fields__)


def test_another_budget_is_seconds_or_steps() -> None:
    plan = LeagueProtocol(made="FLAIR", given=("T1w",), entries=(Entrant("a", "regression"),))
    assert plan.with_budget("90").budget == LeagueBudget(90.0)
    assert plan.with_budget("500 steps").budget == LeagueBudget(steps=500)
    assert plan.with_budget("500 steps").with_budget("7.5").budget == LeagueBudget(7.5)
    with pytest.raises(SettingError, match="500 steps"):
        plan.with_budget("an hour")


@pytest.mark.parametrize("name", sorted(league_reading.shipped()))
def test_shipped_protocols_have_all_families_and_a_classical_rival_where_there_is_one(
    name: str,
) -> None:
    plan = read(name)
    families = {entry.family for entry in plan.entries if entry.family}
    deterministic = {"regression"} if plan.job == "synthesize" else set()
    assert families | deterministic >= set(registry.entries("family"))
    assert plan.budget.seconds <= 300
    if plan.job != "synthesize":
        assert {"constant", "intensity-map"} <= {entry.classical for entry in plan.entries}
