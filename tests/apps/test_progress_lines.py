"""Progress for programs: lines of JSON on standard error, where the environment asks for them."""

from __future__ import annotations

import json

import pytest

from veridical.apps import show


def test_progress_is_written_as_lines_of_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(show.PROGRESS, "lines")
    with show.progress(quiet=False) as progress:
        progress("solving", 1, 3)
        progress("solving", 2, 3)
        progress("solving", 3, 3)
    said = capsys.readouterr()
    steps = [json.loads(line) for line in said.err.splitlines()]
    assert said.out == ""
    assert steps[0] == {"progress": "solving", "done": 1, "total": 3}
    assert steps[-1] == {"progress": "solving", "done": 3, "total": 3}


def test_quiet_and_without_the_variable_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, quiet in (("lines", True), ("", False)):
        monkeypatch.setenv(show.PROGRESS, variable)
        with show.progress(quiet) as progress:
            progress("solving", 3, 3)
    assert capsys.readouterr().err == ""
