"""A task that derives from another keeps its settings on the command line, though their types are words of another module."""

from __future__ import annotations

import pytest

from veridical import registry
from veridical.apps.cli import main
from veridical.task import setting_docs


@pytest.mark.parametrize("name", list(registry.entries("task")))
def test_every_setting_of_a_task_is_a_flag(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    for setting in setting_docs(registry.get("task", name)):
        assert f"--{setting.replace('_', '-')} " in out
