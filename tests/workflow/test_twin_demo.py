"""The demo of the twin: one page that loads nothing, with the outcome of the hidden patient."""

from __future__ import annotations

from pathlib import Path

import pytest

from veridical.apps.cli import main
from veridical.models.world import WorldModel
from veridical.phantoms.glioma import Glioma
from veridical.physics.treatment import equal_doses
from veridical.report.twin_page import render
from veridical.workflow import twin_demo


def test_a_game_is_played_and_told_on_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin_demo, "AFTER", (80.0,))
    options = equal_doses(twin_demo.START)[::4]
    told: list[str] = []
    game = twin_demo.played(
        Glioma(3, 1, 4.0), options, WorldModel(16, assimilations=1), (80.0,),
        lambda what, done, total: told.append(what),
    )  # fmt: skip
    assert set(game.came) == {one.name for one in options}
    assert game.patient.treatment.name == game.choice.name
    assert list(game.twins) == [0.0, 20.0, 80.0]
    assert told[-1] == "twin: scan of day 80"
    page = render(twin_demo._story(game, 16, 0))
    assert page == render(twin_demo._story(game, 16, 0))
    assert "in-silico twin testbed" in page
    assert page.count("<svg") == 3
    assert page.count("data:image/png") == 4
    assert "<script" not in page
    assert f"{game.came[game.choice.name]:.0f} days" in page


def test_the_command_refuses_what_it_cannot_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["twin", "demo", "--out", str(tmp_path), "--members", "3", "--quiet"]) == 2
    assert "16 members" in capsys.readouterr().err
    assert main(["twin", "demo", "--mismatch", "luck"]) == 2
    assert not list(tmp_path.iterdir())
