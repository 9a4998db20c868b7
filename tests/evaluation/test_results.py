"""The order of verdicts is declared once: `types.SEVERITY` of findings, `results.DECIDING` of
endpoints.
"""

from __future__ import annotations

import ast
from pathlib import Path

import veridical
from veridical.evaluation.results import DECIDING
from veridical.types import SEVERITY

SOURCE = Path(veridical.__file__).parent
VERDICTS = {"pass", "warn", "fail", "not_run", "inconclusive"}
DECLARED = {("types.py", "SEVERITY"), ("evaluation/results.py", "DECIDING")}


def orders(path: Path) -> list[str]:
    """Where three or more verdicts stand in a row, and what they are assigned to; types (`Literal`)
    are no orders.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types = {id(node.slice) for node in ast.walk(tree) if isinstance(node, ast.Subscript)}
    named = {
        id(node.value): ast.unparse(
            node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
    }
    return [
        named.get(id(node), f"line {node.lineno}")
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple | ast.List)
        and id(node) not in types
        and sum(isinstance(item, ast.Constant) and item.value in VERDICTS for item in node.elts)
        >= 3
    ]


def test_no_other_order_of_verdicts_is_declared() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), name)
        for path in SOURCE.rglob("*.py")
        for name in orders(path)
    }
    assert found == DECLARED


def test_both_orders_agree_and_hold_every_verdict() -> None:
    assert [verdict for verdict in SEVERITY if verdict in DECIDING] == ["pass", "fail"]
    assert set(SEVERITY) | set(DECIDING) == VERDICTS
