"""Every claim of the pages on clinical integration and on the web app names a test, and the test is
there.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / name for name in ("clinical.md", "node.md", "web.md")]
CLAIM = re.compile(r"^\| (?P<claim>.+?) \| (?P<tests>`tests/.+`) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def claims() -> list[tuple[str, str, str]]:
    """Claim, file and function of every test that the tables name."""
    found = [m for page in PAGES for m in CLAIM.finditer(page.read_text(encoding="utf-8"))]
    return [(m["claim"], *pair) for m in found for pair in TEST.findall(m["tests"])]


@cache
def functions(file: str) -> set[str]:
    """The functions at the top of a file of tests."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_test_that_a_claim_names_is_there() -> None:
    assert claims()
    assert [one for one in claims() if one[2] not in functions(one[1])] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_row_of_the_tables_of_claims_names_a_test(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    tables = re.findall(r"^\| claim \| test \|\n\|---\|---\|\n((?:\|.*\|\n)+)", page, re.MULTILINE)
    assert tables
    rows = [row for table in tables for row in table.strip().splitlines()]
    assert [row for row in rows if not TEST.search(row)] == []
    assert len(rows) == len(CLAIM.findall(page))
