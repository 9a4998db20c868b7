"""On the command line: coil maps and noise scans that stand in other files, and which scan of a
file is read.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import folders
from veridical.apps.cli import main
from veridical.io import bids

sys.path.insert(0, str(Path(__file__).parents[1] / "io"))
from mri_scans import error, file, header, lines, scanned, sensitivities

Capture = pytest.CaptureFixture[str]
TRUTH, FULL = scanned()
CG = ("--contrast", "T1w", "--model", "cg-sense", "--device", "cpu", "--quiet")


def call(*words: str | Path) -> int:
    return main([str(word) for word in words])


def image(folder: Path) -> np.ndarray:
    import nibabel

    found = nibabel.load(next(folder.glob("*desc-estimate*.nii.gz")))
    return np.asarray(found.dataobj).squeeze().T


def test_maps_that_the_error_asks_for_make_the_image_and_rerun_knows_them(
    tmp_path: Path, capsys: Capture
) -> None:
    scan = file(tmp_path / "a.mrd", lines(FULL, range(0, 64, 2)), header())
    np.save(tmp_path / "maps.npy", sensitivities(64, 64))
    np.save(
        tmp_path / "noise.npy",
        np.random.default_rng(0).normal(0, 1e-3, (2, 4, 500)).T.copy().view(complex)[..., 0].T,
    )
    assert call("reconstruct", scan, tmp_path / "none", *CG) == 2
    assert "--maps FILE" in capsys.readouterr().err
    given = ("--maps", tmp_path / "maps.npy", "--noise-scan", tmp_path / "noise.npy")
    assert call("reconstruct", scan, tmp_path / "out", *given, *CG) == 0
    assert error(image(tmp_path / "out"), TRUTH) < 0.02
    source = bids.load_provenance(tmp_path / "out").steps[0].source
    assert (source["maps"], source["noise_scan"]) == (
        str(tmp_path / "maps.npy"),
        str(tmp_path / "noise.npy"),
    )
    capsys.readouterr()
    assert call("rerun", tmp_path / "out") == 0
    np.save(tmp_path / "maps.npy", sensitivities(64, 64)[::-1])
    assert call("rerun", tmp_path / "out") == 2
    assert "coil maps" in capsys.readouterr().err


def test_a_repetition_is_chosen_and_what_was_read_is_said(tmp_path: Path, capsys: Capture) -> None:
    scan = file(tmp_path / "a.mrd", lines(3 * FULL) + lines(FULL, repetition=1), header())
    assert call("reconstruct", scan, tmp_path / "first", *CG) == 0
    assert "Of 2 repetitions, repetition 0 was read" in " ".join(capsys.readouterr().out.split())
    assert call("reconstruct", scan, tmp_path / "out", "--select", "repetition=1", *CG) == 0
    assert error(image(tmp_path / "out"), TRUTH) < 1e-3


def test_coils_of_a_folder_of_patients_are_refused_by_the_name_of_the_flag(
    tmp_path: Path, capsys: Capture
) -> None:
    root = folders.bids(tmp_path / "in", 1, ("T1w",))
    assert call("reconstruct", root, tmp_path / "out", "--noise-scan", tmp_path / "n.npy") == 2
    assert "--noise-scan is for one file" in " ".join(capsys.readouterr().err.split())
