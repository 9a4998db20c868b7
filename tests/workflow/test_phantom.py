"""The scan to try things on is raw data that the readers take, the same for the same patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from veridical.errors import InputError
from veridical.io.files import read
from veridical.types import Measurement
from veridical.workflow.phantom import phantom


def test_a_digital_patient_is_read_back_as_an_undersampled_scan_and_is_always_the_same(
    tmp_path: Path,
) -> None:
    first, again = (
        phantom(tmp_path / "a.npy", patient=2, coils=4),
        phantom(tmp_path / "b.npy", patient=2, coils=4),
    )
    assert first.read_bytes() == again.read_bytes()
    scan = read(first, axes="coil,y,x")
    assert isinstance(scan, Measurement)
    assert scan.data.shape[:2] == (1, 4)
    assert 0.25 < scan.operator.describe()["sampled"] < 0.45
    columns = np.abs(scan.data[0]).sum((0, 1)) > 0
    assert columns[len(columns) // 2 - 12 : len(columns) // 2 + 12].all()


def test_a_file_that_exists_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "scan.npy"
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists"):
        phantom(path)
    assert path.read_bytes() == b"mine"
