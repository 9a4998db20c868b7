"""Drives that refuse what POSIX allows lose no result: no permissions, no renaming, no removal."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veridical.io.bids import load_provenance, save
from veridical.io.guards import replacing, write_text
from veridical.types import Geometry, Image, Result

REFUSED = {
    "permissions": ("chmod",),
    "renaming": ("rename", "replace"),
    "renaming and permissions": ("chmod", "rename", "replace"),
}


def result(value: float) -> Result:
    data = np.full((1, 4, 3, 2), value, np.float32)
    return Result(Image(data, Geometry((4, 3, 2), np.eye(4)), "a.u.", ("T1w",)), "point estimate")


@pytest.fixture(params=REFUSED)
def drive(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse some calls, as SMB, S3 and FUSE mounts do."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    for name in REFUSED[request.param]:
        monkeypatch.setattr(os, name, refuse)
        monkeypatch.setattr(Path, name, refuse)


def test_a_result_is_saved_and_saved_over(drive: None, tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        files = save(result(value), tmp_path / "out", "sub-01", overwrite=True)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names >= {file.name for file in files.values()}
    assert not [name for name in names if name.endswith(".part")]
    assert not list(tmp_path.glob(".*"))
    assert load_provenance(tmp_path / "out").kind == "point estimate"


def test_a_file_takes_the_place_of_another(drive: None, tmp_path: Path) -> None:
    for text in ("one", "two, longer", "3"):
        write_text(tmp_path / "a.txt", text)
        assert (tmp_path / "a.txt").read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text(str(1 / 0))
    assert (tmp_path / "a.txt").read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
