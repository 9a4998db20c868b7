"""Where the real training data lie, and that every set that trains has a licence."""

from __future__ import annotations

from pathlib import Path

import pytest

from veridical.layouts import pool
from veridical.training.slabs import LOADERS, MAY_SHIP


def test_the_folder_of_real_data_is_that_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIDICAL_DATA", str(tmp_path))
    assert pool.data_root() == tmp_path
    monkeypatch.delenv("VERIDICAL_DATA")
    assert pool.data_root() == Path("../shared/data")


def test_every_set_that_trains_has_a_licence() -> None:
    assert {"cohort", *LOADERS, *MAY_SHIP} <= set(pool.LICENCES)
