"""`veridical datasets`: the catalog listed, searched and shown; a set on disk checked; exit
codes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from veridical.apps.cli import main
from veridical.layouts import catalog


def test_a_list_has_a_line_for_each_set_and_is_narrowed_by_flags(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["datasets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{len(catalog.load())} data sets"
    assert len(lines) == len(catalog.load()) + 1
    assert main(["datasets", "list", "--modality", "k-space", "--anatomy", "knee", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"fastMRI_knee", "SKM-TEA (Knee)"} <= {entry["name"] for entry in found}
    assert all("knee" in entry["anatomy"] for entry in found)


def test_show_says_terms_published_numbers_how_to_read_it_and_what_is_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["datasets", "show", "synthrad2025"]) == 0
    text = capsys.readouterr().out
    for word in (
        "MAE in HU 64.8",
        "https://arxiv.org/abs/2605.13555",
        "datasets check PATH",
        "layouts.discovery.studies(PATH)",
        "checked",
    ):
        assert word in text
    assert main(["datasets", "show", "CPIA"]) == 0
    assert "unknown     tasks, licence, access" in capsys.readouterr().out
    assert main(["datasets", "show", "IXI", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert (entry["licence"], entry["verified"]["licence"]) == (
        "CC-BY-SA-3.0",
        "package torchio 1.2.1",
    )
    assert "split" not in entry, "unknown is absent"


def test_a_search_prints_the_best_match_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", "search", "ADNI"]) == 0
    assert capsys.readouterr().out.startswith("ADNI ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "fastmir_knee"], "Did you mean 'fastMRI_knee'"),
        (["list", "--access", "opn"], "Did you mean 'open'"),
        (["search"], "Nothing to search for"),
        (["search", "xyzzy"], "No data set holds 'xyzzy'"),
        (["lst"], 'Did you mean "list"'),
        (["check", "nowhere"], "nowhere"),
    ],
)
def test_what_is_refused_says_the_way_out_with_exit_code_two(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["datasets", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def write_set(path: Path, **parts: int) -> None:
    """A made-up MedMNIST file with so many images a part."""
    arrays: dict[str, np.ndarray] = {}
    for part, count in parts.items():
        arrays[f"{part}_images"] = np.random.default_rng(count).integers(
            0, 256, (count, 28, 28), np.uint8
        )
        arrays[f"{part}_labels"] = np.zeros((count, 1), np.uint8)
    np.savez(path, **arrays)


def test_a_sound_set_passes_with_exit_code_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "toymnist.npz", train=6, val=2, test=3)
    assert main(["datasets", "check", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "layout medmnist" in text
    assert "veridical datasets show 'MedMNIST'" in text
    assert main(["datasets", "check", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["match"]["layout"] == "medmnist"


def test_a_set_with_an_error_prints_its_report_and_ends_with_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "toymnist.npz", train=6, val=2, test=3)
    (tmp_path / "othermnist.npz").write_bytes(b"not a zip")
    assert main(["datasets", "check", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "othermnist.npz" in captured.out
    assert "is not sound" in captured.err
