"""Compiled loops run wherever Veridical is installed, with or without a folder to keep what was
compiled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """
from veridical.compiled import njit

@njit()
def total(n):
    found = 0
    for i in range(n):
        found += i
    return found

print(total(5))
"""


def run(
    folder: Path, words: list[str] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
    }
    command = [*(words or []), sys.executable, str(folder / "kernel.py")]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "package"
    made.mkdir()
    (made / "kernel.py").write_text(KERNEL)
    return made


def test_a_read_only_package_without_a_home_compiles_in_memory(folder: Path) -> None:
    words = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip(
                "root may write everywhere, and setpriv, which takes that from it, is not installed"
            )
        words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    folder.chmod(0o555)
    try:
        done = run(folder, words, HOME="/dev/null")
    finally:
        folder.chmod(0o755)
    assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr


def test_a_user_without_home_and_password_entry_gets_no_folder_called_tilde(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text(
        "import posixpath\nposixpath.expanduser = lambda path: path\n"
    )
    done = run(folder, PYTHONPATH=str(folder))
    assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr
    assert not (folder / "~").exists()


def test_what_was_compiled_is_kept_in_the_folder_that_is_named(folder: Path) -> None:
    done = run(folder, NUMBA_CACHE_DIR=str(folder / "cache"))
    assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr
    assert list((folder / "cache").rglob("*.nbi"))
