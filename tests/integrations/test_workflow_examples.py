"""The examples for workflow systems: the shell one is run, of the Prefect one all but Prefect, and
the Nextflow one is checked against the command line. Nextflow and Prefect themselves were not run.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2] / "examples" / "workflows"
BIN = Path(sys.executable).parent
PATH = f"{BIN}{os.pathsep}{os.environ['PATH']}"


def scan(path: Path, *, damaged: bool = False) -> Path:
    image = np.random.default_rng(0).uniform(1, 2, (24, 24))
    data = np.fft.fftshift(np.fft.fft2(image))[None] * np.ones((4, 1, 1))
    if damaged:
        data[0, 0, 0] = np.nan
    np.save(path, data.astype(np.complex64))
    return path


def test_the_shell_example_tells_of_each_scan_what_became_of_it(tmp_path: Path) -> None:
    scans = [scan(tmp_path / "good.npy"), scan(tmp_path / "bad.npy", damaged=True)]
    line = [str(ROOT / "reconstruct.sh"), str(tmp_path / "out"), *map(str, scans)]
    environment = {**os.environ, "PATH": PATH, "MODEL": "zero-filled"}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    head, good, bad = (row.split("\t") for row in done.stdout.splitlines())
    assert head == ["scan", "status", "worst finding", "estimate"]
    assert good[:2] == ["good", "done"]
    assert good[2] in ("pass", "warn", "fail", "not_run")
    assert Path(good[3]).is_file()
    assert bad == ["bad", "refused", "-", "-"]
    assert (tmp_path / "out" / "table.tsv").read_text() == done.stdout
    assert "NaN" in (tmp_path / "out" / "bad.log").read_text()


def prefect() -> Any:
    spec = importlib.util.spec_from_file_location("prefect_flow", ROOT / "prefect_flow.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'veridical: No.' >&2; exit 2", {"status": "refused", "reason": "veridical: No."}),
        ("echo 'veridical: P.' >&2; exit 3", {"status": "blocked", "reason": "veridical: P."}),
        (
            'echo \'{"estimate": "e.nii", "findings": [{"check": "a", "verdict": "warn"}]}\'',
            {"status": "done", "estimate": "e.nii", "findings": {"a": "warn"}},
        ),
    ],
)
def test_the_prefect_task_tells_refusals_from_errors(
    script: str, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    command = tmp_path / "veridical"
    command.write_text(f"#!{shutil.which('sh')}\n{script}\n", encoding="utf-8")
    command.chmod(0o755)
    found = prefect().reconstruct(Path("a.npy"), tmp_path)
    assert found == {"scan": "a.npy", **expected}


def test_an_error_of_its_own_makes_the_prefect_task_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    command = tmp_path / "veridical"
    command.write_text(f"#!{shutil.which('sh')}\nexit 1\n", encoding="utf-8")
    command.chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError):
        prefect().reconstruct(Path("a.npy"), tmp_path)


def test_the_nextflow_example_uses_flags_and_exit_codes_that_there_are() -> None:
    from dataclasses import fields

    from veridical import registry
    from veridical.apps import cli, run

    text = (ROOT / "veridical.nf").read_text(encoding="utf-8")
    script = re.search(r"veridical reconstruct .*?> ", text, re.DOTALL)
    assert script is not None
    settings = {field.name for field in fields(registry.get("task", "reconstruct"))}
    known = settings | {f.name for kind in (run.Reading, run.Running) for f in fields(kind)}
    assert set(re.findall(r"--(\w+)", script[0])) <= known
    assert f"[2, {cli.BLOCKED}]" in text
    assert text.count("{") == text.count("}")
    assert text.count('"""') % 2 == 0
