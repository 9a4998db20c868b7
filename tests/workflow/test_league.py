"""Leagues: every entry on equal terms, finished work kept, an interruption without consequence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import leagues
from veridical.errors import InputError, SettingError
from veridical.io.nifti import nifti
from veridical.task import Progress
from veridical.training import curves
from veridical.workflow import league as running
from veridical.workflow import league_entries
from veridical.workflow.league import FILES, folds, league
from veridical.workflow.league_protocol import LeagueProtocol
from veridical.workflow.league_reading import read


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the curves of a training takes longer than these trainings."""
    monkeypatch.setattr(curves, "draw", lambda folder, name, steps: folder)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> LeagueProtocol:
    return read(leagues.ward(tmp_path_factory.mktemp("league")))


@pytest.fixture(scope="module")
def whole(plan: LeagueProtocol, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A league that was not interrupted: its folder."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(curves, "draw", lambda folder, name, steps: folder)
        league(plan, out)
    return out


def document(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "league.json").read_text(encoding="utf-8"))
    return found


def entries(out: Path) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in document(out)["entries"]}


def images(out: Path, name: str) -> list[np.ndarray[Any, Any]]:
    paths = sorted((out / "entries" / name / "seed-0" / "estimate").glob("*.nii.gz"))
    return [nifti(path).data for path in paths]


def test_it_writes_tables_and_a_page_and_judges_all_on_the_same_patients(whole: Path) -> None:
    assert all((whole / name).stat().st_size > 0 for name in FILES)
    found = entries(whole)
    assert {name: one["status"] for name, one in found.items()} == {
        "flow": "done",
        "constant": "done",
    }
    assert {one["scores"]["pixel/mae/foreground"]["n"] for one in found.values()} == {2}
    assert document(whole)["about"]["held_out"] == [["sub-01", "sub-02"]]
    assert len(images(whole, "flow")) == len(images(whole, "constant")) == 2


def test_costs_are_reported_and_only_networks_have_some(whole: Path) -> None:
    flow, constant = (entries(whole)[name]["cost"] for name in ("flow", "constant"))
    assert (flow["steps"], constant["steps"]) == (4, 0)
    assert flow["parameters"] > 1000 == 1000 + constant["parameters"]
    assert flow["processor_seconds"] > 0
    assert flow["seconds_per_slice"] > 0
    assert flow["making_memory"] is None or flow["making_memory"] >= 0


def test_nobody_is_learned_from_who_is_judged_on(whole: Path) -> None:
    card = json.loads((whole / "entries/flow/seed-0/training-0/flow.json").read_text())
    assert card["patients"] == {"ward": leagues.PATIENTS - 2}
    assert card["validation_patients"] == {"ward": 2}


def test_what_is_finished_is_not_done_again(
    whole: Path, plan: LeagueProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*args: object) -> None:
        raise AssertionError("was done again")

    before = {path: path.stat().st_mtime_ns for path in (whole / "entries").rglob("*.nii.gz")}
    monkeypatch.setattr(league_entries, "Run", again)
    monkeypatch.setattr(league_entries, "write_volume", again)
    monkeypatch.setattr("veridical.workflow.league_judging.Evaluate.__call__", again)
    league(plan, whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_further_entry_leaves_the_others_as_they_are(
    whole: Path, plan: LeagueProtocol, tmp_path: Path
) -> None:
    before = (whole / "entries/flow/seed-0/training-0/trained.json").read_bytes()
    more = replace(plan.entries[1], name="map", classical="intensity-map")
    found = league(replace(plan, entries=(*plan.entries, more)), whole)
    assert [one.status for one in found.entries] == ["done"] * 3
    assert (whole / "entries/flow/seed-0/training-0/trained.json").read_bytes() == before
    league(plan, whole)


class Killed(BaseException):
    """Stands for a power cut."""


def stop_at(what: str, step: int) -> Progress:
    def progress(said: str, done: int, total: int) -> None:
        if said.startswith(what) and done == step:
            raise Killed

    return progress


@pytest.mark.parametrize(
    ("what", "step"), [("training: flow", 2), ("training: flow", 4), ("making images: flow", 1)]
)
def test_an_interrupted_league_ends_in_the_same_images_and_scores(
    whole: Path, plan: LeagueProtocol, tmp_path: Path, what: str, step: int
) -> None:
    with pytest.raises(Killed):
        league(plan, tmp_path, progress=stop_at(what, step))
    assert not (tmp_path / "league.json").exists()
    league(plan, tmp_path)
    for mine, theirs in zip(images(tmp_path, "flow"), images(whole, "flow"), strict=True):
        assert np.array_equal(mine, theirs)
    place = "entries/flow/seed-0/training-0/flow.safetensors"
    mine, theirs = load_file(tmp_path / place), load_file(whole / place)
    assert all(bool((mine[key] == theirs[key]).all()) for key in theirs)
    assert entries(tmp_path)["flow"]["scores"] == entries(whole)["flow"]["scores"]


def test_other_settings_are_refused_unless_they_may_be_overwritten(
    whole: Path, plan: LeagueProtocol, tmp_path: Path
) -> None:
    only = ("constant",)
    league(plan, tmp_path, only)
    other = replace(plan, judging=replace(plan.judging, slices=3))
    with pytest.raises(InputError, match="made with other settings"):
        league(other, tmp_path, only)
    found = league(other, tmp_path, only, overwrite=True)
    assert nifti(next((tmp_path / "truth").glob("*.nii.gz"))).data.shape[-1] == 3
    assert [one.status for one in found.entries] == ["done", "not run"]


def test_one_entry_alone_is_run_and_the_table_says_that_the_others_are_not(
    plan: LeagueProtocol, tmp_path: Path
) -> None:
    found = league(plan, tmp_path, only=("constant",))
    assert {one.name: one.status for one in found.entries} == {
        "constant": "done",
        "flow": "not run",
    }
    with pytest.raises(SettingError, match="Did you mean 'constant'"):
        league(plan, tmp_path, only=("constnat",))


def test_an_entry_that_fails_does_not_stop_the_others(
    plan: LeagueProtocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(turn: league_entries.Turn, progress: Progress) -> dict[str, Any]:
        raise InputError("It made NaN.")

    real = running.make
    monkeypatch.setattr(
        running, "make", lambda t, p: breaks(t, p) if t.entry.name == "flow" else real(t, p)
    )
    quick = plan.with_budget("1 steps")
    found = {one.name: one for one in league(quick, tmp_path).entries}
    assert (found["flow"].status, found["flow"].reason) == ("failed", "It made NaN.")
    assert found["constant"].status == "done"


def test_a_wrong_setting_of_a_network_is_said_before_anything_is_trained(
    plan: LeagueProtocol, tmp_path: Path
) -> None:
    wrong = replace(plan.entries[0], net={"width": [8, 8]})
    with pytest.raises(SettingError, match="Did you mean 'widths'"):
        league(replace(plan, entries=(wrong,)), tmp_path)
    assert not (tmp_path / "entries").exists()


def test_folds_hold_every_patient_out_once_and_seeds_are_all_run(
    plan: LeagueProtocol, tmp_path: Path
) -> None:
    data = replace(plan.data, held_out=(), folds=3)
    mapped = replace(plan.entries[1], name="map", classical="intensity-map")
    split = replace(plan, data=data, entries=(mapped,), seeds=(0, 1))
    parts = folds(split)
    assert sorted(name for part in parts for name in part) == [
        f"sub-{n:02}" for n in range(1, leagues.PATIENTS + 1)
    ]
    found = league(split, tmp_path)
    score = found.entries[0].scores["pixel/mae/foreground"]
    assert (score.n, len(score.seeds)) == (leagues.PATIENTS, 2)
    assert score.interval is not None
    with pytest.raises(InputError, match="7 folds"):
        folds(replace(split, data=replace(data, folds=7)))
    with pytest.raises(InputError, match="sub-09"):
        folds(replace(plan, data=replace(plan.data, held_out=("sub-09",))))


def test_a_budget_in_seconds_is_measured_once_and_the_same_for_all(
    plan: LeagueProtocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(10_000))
    monkeypatch.setattr(league_entries, "clock", lambda device: next(ticks) / 8)  # exact
    flow = plan.entries[0]
    pair = replace(plan, entries=(flow, replace(flow, name="other", family="regression")))
    found = league(pair.with_budget("2.0"), tmp_path)
    steps = {one.name: one.cost.steps for one in found.entries if one.cost is not None}
    assert steps["flow"] == steps["other"] > 1
    begun = json.loads((tmp_path / "entries/flow/seed-0/training-0/begun.json").read_text())
    assert begun["steps"] <= 2.0 * begun["pace"]


def test_all_three_levels_are_judged_with_structures_of_one_rule(
    plan: LeagueProtocol, tmp_path: Path
) -> None:
    levels = replace(
        plan.judging, levels=("pixel", "feature", "task"), extractors=("wavelet-pyramid",)
    )
    maps = replace(plan.entries[1], name="map", classical="intensity-map")
    found = league(replace(plan, judging=levels, entries=(maps,)), tmp_path)
    scores = found.entries[0].scores
    assert {key.split("/")[0] for key in scores} == {"pixel", "feature", "task"}
    assert {"task/dice/bright", "task/dice/dark", "feature/kid/wavelet-pyramid"} <= set(scores)


def test_images_made_from_nothing_are_compared_as_sets(
    plan: LeagueProtocol, tmp_path: Path
) -> None:
    judging = replace(plan.judging, levels=("feature",), extractors=("wavelet-pyramid",), draws=1)
    made = replace(plan, job="synthesize", given=(), judging=judging, entries=plan.entries[:1])
    found = league(made.with_budget("1 steps"), tmp_path)
    assert found.entries[0].status == "done", found.entries[0].reason
    assert {key.split("/")[0] for key in found.entries[0].scores} == {"feature"}
    assert "no real counterpart" in found.notes[0]
