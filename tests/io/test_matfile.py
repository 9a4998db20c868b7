"""MATLAB 5 files: the numbers are those of scipy, and nothing malformed passes or hangs."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from veridical.errors import BudgetError, FormatError, InputError
from veridical.io.matfile import arrays_in

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KINDS = [
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
]


def content(packed: bool = False) -> bytes:
    stream = io.BytesIO()
    arrays = {kind: (np.random.default_rng(0).random((3, 4)) * 100).astype(kind) for kind in KINDS}
    savemat(
        stream,
        arrays | {"deep": np.arange(24.0).reshape(2, 3, 4), "x": np.array([[7]])},
        do_compression=packed,
    )
    return stream.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_every_type_is_read_as_scipy_reads_it(tmp_path: Path, packed: bool) -> None:
    file = tmp_path / "x.mat"
    file.write_bytes(content(packed))
    found, known = arrays_in(file), loadmat(file)
    assert set(found) == {name for name in known if not name.startswith("__")}
    for name, values in found.items():
        np.testing.assert_array_equal(values, known[name])
        assert values.dtype == known[name].dtype


def test_what_is_not_plain_numbers_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "x.mat"
    savemat(
        file,
        {
            "a": np.eye(2),
            "word": "text",
            "cell": np.array([1, "b"], object),
            "s": {"f": 1},
            "z": np.eye(2) * 1j,
        },
    )
    assert set(arrays_in(file)) == {"a"}


@QUICK
@given(
    packed=st.booleans(),
    cut=st.integers(0, 900),
    where=st.integers(0, 3000),
    value=st.integers(0, 255),
)
def test_a_cut_or_changed_file_is_refused_or_read_and_never_hangs(
    tmp_path: Path, packed: bool, cut: int, where: int, value: int
) -> None:
    damaged = bytearray(content(packed))
    damaged[where % len(damaged)] = value
    file = tmp_path / "x.mat"
    file.write_bytes(bytes(damaged[: max(1, len(damaged) - cut)]))
    with contextlib.suppress(InputError):
        assert all(values.size < 10_000 for values in arrays_in(file).values())


def test_other_files_and_files_that_unfold_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.mat"
    file.write_bytes(b"MATLAB 7.3 MAT-file" + bytes(300))
    with pytest.raises(FormatError, match=r"MATLAB 7\.3 file, which is HDF5.*-v7"):
        arrays_in(file)
    file.write_bytes(b"MATLAB 4" + bytes(300))
    with pytest.raises(FormatError, match="no MATLAB 5 file"):
        arrays_in(file)
    savemat(file, {"a": np.zeros((500, 500))}, do_compression=True)
    assert file.stat().st_size < 10_000
    with pytest.raises((FormatError, BudgetError)):
        arrays_in(file, budget=100_000)
