"""`veridical league`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import leagues
from veridical.apps.cli import main
from veridical.training import curves
from veridical.workflow.league_matrix import matrix

Capture = pytest.CaptureFixture[str]


def test_the_matrix_is_printed_without_running_anything(capsys: Capture) -> None:
    assert main(["league", "--matrix"]) == 0
    printed = capsys.readouterr().out
    assert all(f"| {name} |" in printed for name in matrix().groups)


def test_without_a_protocol_the_known_ones_are_named(capsys: Capture) -> None:
    assert main(["league"]) == 2
    assert "completion" in capsys.readouterr().err
    assert main(["league", "nowhere.toml"]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_league_runs_and_its_table_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(curves, "draw", lambda folder, name, steps: folder)
    words = ["league", str(leagues.ward(tmp_path)), "--out", str(tmp_path / "out")]
    assert main([*words, "--only", "constant"]) == 0
    assert "| flow | not run |" in capsys.readouterr().out
    assert main([*words, "--budget", "2 steps", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "Budget of each entry: 2 steps." in printed
    assert printed.rstrip().endswith(str(tmp_path / "out" / "league.html"))
    assert main([*words, "--budget", "3 steps"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--budget", "2 steps", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["status"] for one in found["entries"]] == ["done", "done"]
