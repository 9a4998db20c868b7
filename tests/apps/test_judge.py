from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from veridical.apps.cli import main


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("judge")
    rng = np.random.default_rng(0)
    for i in range(6):
        real = 100 + 20 * ndimage.gaussian_filter(rng.normal(size=(24, 20)), 2) / 0.15
        for name, image in (
            ("real", real),
            ("good", real + rng.normal(0, 1, real.shape)),
            ("bad", real + rng.normal(0, 9, real.shape)),
        ):
            (root / name).mkdir(exist_ok=True)
            np.save(root / name / f"{i}.npy", image.astype(np.float32))
    return root


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def judge(folders: Path, candidate: str, out: Path, *more: str) -> int:
    return run(
        "evaluate",
        folders / candidate,
        "--reference",
        folders / "real",
        "--out",
        out,
        "--levels",
        "pixel",
        "--quiet",
        *more,
    )


def test_two_folders_give_a_report_and_a_second_one_does_not_replace_it(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(folders, "good", tmp_path / "r") == 0
    said = capsys.readouterr().out
    assert "6 of 6 cases analysed" in said
    assert "pixel fidelity" in said
    assert judge(folders, "good", tmp_path / "r") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert judge(folders, "good", tmp_path / "r", "--overwrite", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["levels"]) == {"pixel", "feature", "task", "trust"}
    assert run("verify", tmp_path / "r", "--head", found["head"]) == 0
    assert run("verify", tmp_path / "r", "--head", "0" * 64) == 2


def test_images_that_cannot_be_compared_give_exit_code_2_and_a_page_that_says_why(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(folders, "real", tmp_path / "r") == 2
    assert "No score was given" in capsys.readouterr().err
    assert "voxel for voxel" in (tmp_path / "r" / "report.html").read_text()
    assert judge(folders, "good", tmp_path / "r") == 0


def test_a_file_in_the_place_of_the_report_or_of_images_is_refused(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert judge(folders, "good", tmp_path / "notes.txt") == 2
    assert "is a file" in capsys.readouterr().err
    assert (
        run(
            "evaluate",
            tmp_path / "notes.txt",
            "--reference",
            folders / "real",
            "--out",
            tmp_path / "r",
        )
        == 2
    )
    assert "is no image" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_the_better_of_two_is_first_in_every_resample(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "compare",
        folders / "bad",
        folders / "good",
        "--reference",
        folders / "real",
        "--out",
        tmp_path / "c",
        "--levels",
        "pixel",
    ]
    assert run(*words, "--quiet") == 0
    lines = [
        line for line in capsys.readouterr().out.splitlines() if "pixel/mae/foreground" in line
    ]
    assert "| good |" in lines[0]
    assert "100%" in lines[0]
    assert (tmp_path / "c" / "ranking.json").exists()


def test_a_protocol_is_written_read_and_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.toml"
    assert run("protocol", path) == 0
    assert run("protocol", path) == 2
    capsys.readouterr()
    assert run("protocol", path, "--check") == 0
    assert "SHA-256" in capsys.readouterr().out
