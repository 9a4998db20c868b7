"""Candidates are ranked on the same cases; what looks like a contradiction in a row is explained
below the table.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from veridical.errors import InputError
from veridical.types import Array
from veridical.workflow.compare import compare, table
from veridical.workflow.evaluate import Evaluate

FAST = Evaluate(levels=("pixel",), workers=1)


def truth(count: int) -> Array:
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(*[np.linspace(-1, 1, 24)] * 2, indexing="ij")
    each = [
        100 * (x**2 + y**2 < 0.6) * (1 + 0.3 * x) + rng.normal(0, 3, x.shape) for _ in range(count)
    ]
    return np.asarray(np.stack(each)[:, None], np.float32)


def noisy(images: Array, level: float) -> Array:
    return np.asarray(images + np.random.default_rng(1).normal(0, level, images.shape), np.float32)


def test_few_patients_who_agree_are_explained_and_many_need_no_explanation(tmp_path: Path) -> None:
    few = truth(4)
    said = table(compare({"good": noisy(few, 2), "poor": noisy(few, 9)}, few, tmp_path, FAST))
    row = next(line for line in said.splitlines() if "| good |" in line)
    assert "| 100% | poor (0.12) |" in row
    assert "With 4 patients and 1 pair p cannot be below 0.12; more patients are needed." in said
    assert json.loads((tmp_path / "ranking.json").read_text())[0]["n"] == 4
    many = truth(12)
    said = table(compare({"good": noisy(many, 2), "poor": noisy(many, 9)}, many, None, FAST))
    assert said.splitlines()[-1].startswith("|")
    assert "| 100% | none |" in said


def test_one_candidate_is_no_comparison() -> None:
    with pytest.raises(InputError, match="two or more"):
        compare({"only": truth(4)}, truth(4))
