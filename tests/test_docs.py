"""Every block of README, CONTRIBUTING and docs is run, and what it prints is compared with what the
page says it prints.

`python` blocks of one page share their names; `bash` blocks run in the same folder. A block with a
title is a file that is written into a copy of the package. `console` blocks are make targets, which
must exist, or `pip install` of the repository with extras that it has. A `text` block is the output
of what came before it, with `...` for what may differ. README is run by `make test`, all other
pages by `make pages`.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from veridical import testing

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
MARK = "--- block {} ---"


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Language, title and content of every fenced block."""
    return [(m[1], m[2] or "", m[3]) for m in FENCE.finditer(page.read_text(encoding="utf-8"))]


def script(page: Path) -> str:
    """One Python program that runs all blocks of a page in order."""
    lines = ["import subprocess, sys", "names = {'__name__': '__main__'}"]
    for number, (language, title, content) in enumerate(blocks(page)):
        lines.append(f"print({MARK.format(number)!r}, flush=True)")
        if language == "python" and not title:
            lines.append(
                f"exec(compile({content!r}, 'block {number} of {page.name}', 'exec'), names); "
                "sys.stdout.flush()"
            )
        elif language == "bash":
            lines.append(
                f"subprocess.run(['bash', '-euo', 'pipefail', '-c', {content!r}], check=True)"
            )
    return "\n".join(lines)


def write_files(page: Path, folder: Path) -> list[str]:
    """Write the blocks that have a title into a copy of the package, and return their titles."""
    files = {title: content for _, title, content in blocks(page) if title}
    if files:
        shutil.copytree(ROOT / "src", folder / "src")
    for title, content in files.items():
        (folder / title).write_text(content, encoding="utf-8")
    return list(files)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_is_of_a_kind_that_is_run_or_checked(page: Path) -> None:
    for language, title, content in blocks(page):
        assert language in {"python", "bash", "console", "text", "toml"}, (
            f"nobody runs {language!r}: {content[:60]!r}"
        )
        assert not title or (ROOT / title).parent.is_dir()
        if language == "console":
            for line in content.splitlines():
                command = line.split("#")[0].split()
                if command[:2] == ["pip", "install"]:
                    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
                        "optional-dependencies"
                    ]
                    assert command[2] in (".", *(f"'.[{extra}]'" for extra in extras)), line
                    continue
                assert command[0] == "make"
                subprocess.run(
                    ["make", "-n", *command[1:]], cwd=ROOT, check=True, capture_output=True
                )
        if language == "toml":
            tomllib.loads(content)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, id=p.stem, marks=() if p.stem == "README" else pytest.mark.pages)
        for p in PAGES
        if {"python", "bash"} & {b[0] for b in blocks(p)}
    ],
)
def test_every_block_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    if write_files(page, tmp_path):
        environment["PYTHONPATH"] = str(tmp_path / "src")
    done = subprocess.run(
        [sys.executable, "-c", script(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = re.split(r"^--- block \d+ ---\n", done.stdout, flags=re.MULTILINE)[1:]
    since = ""
    for (language, title, content), output in zip(blocks(page), printed, strict=True):
        if language == "text":
            same = doctest.OutputChecker().check_output(content, since, doctest.ELLIPSIS)
            assert same, f"the page says\n{content}\nit printed\n{since}"
        elif not title:
            since = output


def test_the_examples_of_contributing_keep_the_style(tmp_path: Path) -> None:
    files = write_files(ROOT / "CONTRIBUTING.md", tmp_path)
    for check in (["check"], ["format", "--check"]):
        words = [sys.executable, "-m", "ruff", *check, "--config", ROOT / "pyproject.toml", *files]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_contributing_runs_every_public_check_on_an_example() -> None:
    run = "".join(
        content
        for language, title, content in blocks(ROOT / "CONTRIBUTING.md")
        if language == "python" and not title
    )
    assert not [name for name in testing.__all__ if f"testing.{name}(" not in run]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        made = (page.parent / target).resolve() == ROOT / "docs" / "reference.md"
        assert made or (page.parent / target).exists(), (
            f"{page.name} links to {target}, which is not there"
        )


def test_readme_shows_a_few_lines_of_python_and_of_shell() -> None:
    counts = {
        language: len(content.splitlines()) for language, _, content in blocks(ROOT / "README.md")
    }
    assert counts["python"] <= 10
    assert counts["bash"] <= 5
