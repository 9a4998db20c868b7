"""Where the public sets lie that recipes name, and that each has its licence."""

from __future__ import annotations

from pathlib import Path

import pytest

from veridical.errors import InputError
from veridical.layouts import pool


def test_the_folder_of_real_data_is_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIDICAL_DATA", str(tmp_path))
    assert pool.data_root() == tmp_path
    monkeypatch.delenv("VERIDICAL_DATA")
    assert pool.data_root() == Path("../shared/data")


def test_a_set_lies_in_every_place_that_is_there_also_in_the_training_data_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIDICAL_DATA", str(tmp_path / "data"))
    there = [tmp_path / "data/openms", tmp_path / "training_data/openms_longitudinal_raw"]
    for folder in there:
        folder.mkdir(parents=True)
    assert pool.folders("openms") == there
    assert pool.folders("/my/folder") == [Path("/my/folder")]
    with pytest.raises(InputError, match=r"holds nothing of 'ixi'. Set VERIDICAL_DATA"):
        pool.folders("ixi")


def test_every_set_has_its_licence_and_a_non_commercial_one_may_not_ship() -> None:
    assert all(len(known.licence) > 2 and known.places for known in pool.SETS.values())
    assert [name for name, known in pool.SETS.items() if not known.may_ship] == ["lgg"]
