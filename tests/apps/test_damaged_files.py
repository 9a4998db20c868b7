"""Every reader through the command line: a damaged file is one clear message, exit code 2, and
nothing written.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from veridical.apps.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "io"))
import rawfiles

FULL = rawfiles.kspace((1, 2, 12, 10))
POISONED = FULL.copy()
POISONED[0, 0, 3, 4] = np.nan


def cut(path: Path, share: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def mrd(path: Path, full: np.ndarray) -> Path:
    header = rawfiles.xml((10, 12, 1), (10, 12, 1), (200.0, 200.0, 5.0))
    return rawfiles.write_mrd(path, rawfiles.cartesian_rows(full, list(range(12))), header)


def nifti(path: Path, value: float = 1.0) -> Path:
    import nibabel

    nibabel.Nifti1Image(np.full((6, 7, 5), value, np.float32), np.eye(4)).to_filename(path)
    return path


def text(path: Path) -> Path:
    path.write_text("not what the name says\n" * 50, encoding="utf-8")
    return path


def bart_cut(base: Path, data: np.ndarray) -> Path:
    cut(rawfiles.write_bart(base, data).with_suffix(".cfl"))
    return base.with_suffix(".cfl")


def bart_whole(base: Path, data: np.ndarray) -> Path:
    return rawfiles.write_bart(base, data).with_suffix(".cfl")


def series(folder: Path, positions: list[tuple[float, float, float]]) -> Path:
    rawfiles.write_series(folder, positions)
    return folder


def saved_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


Make = Callable[[Path], Path]
CASES: dict[str, tuple[str, Make, tuple[str, ...]]] = {
    "fastmri truncated": (
        "reconstruct",
        lambda p: cut(rawfiles.write_fastmri(p / "a.h5", FULL)),
        (),
    ),
    "fastmri wrong shape": (
        "reconstruct",
        lambda p: rawfiles.write_fastmri(p / "a.h5", FULL[0, 0]),
        (),
    ),
    "fastmri NaN": ("reconstruct", lambda p: rawfiles.write_fastmri(p / "a.h5", POISONED), ()),
    "ismrmrd truncated": ("reconstruct", lambda p: cut(mrd(p / "a.mrd", FULL)), ()),
    "ismrmrd wrong shape": ("reconstruct", lambda p: mrd(p / "a.mrd", FULL[..., :6]), ()),
    "ismrmrd NaN": ("reconstruct", lambda p: mrd(p / "a.mrd", POISONED), ()),
    "bart truncated": (
        "reconstruct",
        lambda p: bart_cut(p / "a", FULL[0].transpose(1, 2, 0)[:, :, None]),
        (),
    ),
    "bart wrong axis": (
        "reconstruct",
        lambda p: bart_whole(p / "a", FULL[0]),
        ("--axes", "coil,y,q"),
    ),
    "bart NaN": (
        "reconstruct",
        lambda p: bart_whole(p / "a", POISONED[0].transpose(1, 2, 0)[:, :, None]),
        (),
    ),
    "npy truncated": (
        "reconstruct",
        lambda p: cut(saved(p / "a.npy", FULL[0])),
        ("--axes", "coil,y,x"),
    ),
    "npy wrong shape": (
        "reconstruct",
        lambda p: saved(p / "a.npy", FULL[0, 0]),
        ("--axes", "coil,y,x"),
    ),
    "npy wrong axis": (
        "reconstruct",
        lambda p: saved(p / "a.npy", FULL[0]),
        ("--axes", "coil,row,x"),
    ),
    "npy no axes": ("reconstruct", lambda p: saved(p / "a.npy", FULL[0]), ()),
    "npy NaN": ("reconstruct", lambda p: saved(p / "a.npy", POISONED[0]), ("--axes", "coil,y,x")),
    "nifti truncated": ("enhance", lambda p: cut(nifti(p / "a.nii")), ()),
    "nifti.gz truncated": ("enhance", lambda p: cut(nifti(p / "a.nii.gz")), ()),
    "nifti NaN": ("enhance", lambda p: nifti(p / "a.nii", float("nan")), ()),
    "nifti empty": ("enhance", lambda p: saved_bytes(p / "a.nii.gz", gzip.compress(b"")), ()),
    "dicom gap": (
        "enhance",
        lambda p: series(p / "s", [(0, 0, 0), (0, 0, 3), (0, 0, 9), (0, 0, 12)]),
        (),
    ),
    "dicom twice": ("enhance", lambda p: series(p / "s", [(0, 0, 0), (0, 0, 3), (0, 0, 3)]), ()),
    "text as h5": ("reconstruct", lambda p: text(p / "a.h5"), ()),
    "text as npy": ("reconstruct", lambda p: text(p / "a.npy"), ("--axes", "coil,y,x")),
    "nothing there": ("reconstruct", lambda p: p / "missing.h5", ()),
}


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_file_is_one_message_exit_code_2_and_nothing_written(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, make, flags = CASES[case]
    (tmp_path / "in").mkdir()
    file = make(tmp_path / "in")
    before = sorted(tmp_path.rglob("*"))
    code = main([task, str(file), str(tmp_path / "out"), "--model", "wavelet", "--quiet", *flags])
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert len(said.err.strip()) > 40
    assert "Traceback" not in said.err
    assert sorted(tmp_path.rglob("*")) == before
