"""A task that derives from another keeps its settings on the command line, though their types are
words of another module.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

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


@pytest.mark.parametrize(
    "name", [n for n in registry.entries("task") if registry.get("task", n).takes != "nothing"]
)
def test_every_task_is_run_with_its_flags(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A word that is not known where the class was derived would be an error of ours, which is exit
    code 1.
    """
    kind = registry.get("task", name)
    words = []
    for setting in dataclasses.fields(kind):
        if (
            isinstance(setting.default, str | int | float)
            and not isinstance(setting.default, bool)
            and setting.default
        ):
            words += [f"--{setting.name.replace('_', '-')}", str(setting.default)]
    files = [str(tmp_path / "gone_T1w.nii.gz")]
    files += [str(tmp_path / "gone.npz")] if kind.takes == "sequence" else []
    assert main([name, *files, str(tmp_path / "out"), *words]) == 2
    assert "gone_T1w.nii.gz" in capsys.readouterr().err
