"""The command line: commands made from settings, one JSON object, one line for an error, and the
exit codes.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import veridical
from fakes import Jitter
from veridical import registry
from veridical.apps import cli, run
from veridical.apps.cli import main
from veridical.io.assemble import read_together
from veridical.io.files import read
from veridical.task import setting_docs
from veridical.types import Geometry, Image

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("jitter")
ROLES = {
    "estimate",
    "interval_lower",
    "interval_upper",
    "evidence",
    "measured",
    "unmeasured",
    "draws",
    "provenance",
    "report",
}


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).normal(size=(1, 6, 5, 4)).astype(np.float32)
    return veridical.write(
        Image(data, Geometry((6, 5, 4), np.eye(4)), "a.u.", ("T1w",)), tmp_path / "sub-1_T1w.nii.gz"
    )


def call(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_help_lists_the_tasks_with_the_summary_of_their_files(capsys: Capture) -> None:
    assert call("--help") == 0
    out = capsys.readouterr().out
    assert "jitter" in out
    assert "A small task." in out


def test_help_lists_every_command_in_its_group_with_the_first_sentence_of_its_documentation(
    capsys: Capture,
) -> None:
    assert call("--help") == 0
    helped = capsys.readouterr().out
    assert call() == 0
    assert capsys.readouterr().out == helped
    groups = [
        line.rstrip(":")
        for line in helped.splitlines()
        if line.endswith(":") and not line.startswith(" ")
    ]
    assert groups == ["Tasks", *cli.PLACES]
    flat = " ".join(helped.split())
    found = list(cli.commands())
    assert {"jitter", "evaluate", "list", "train-on", "phantom", "datasets"} <= {
        command.name for command in found
    }
    for command in found:
        assert command.summary
        assert f"{command.name} {' '.join(command.summary.split())}" in flat


@pytest.mark.parametrize(
    "command",
    [command for command in cli.commands() if command.group != "Tasks"],
    ids=lambda one: one.name,
)
def test_every_command_that_the_help_lists_explains_itself(
    command: cli.Command, capsys: Capture
) -> None:
    assert call(command.name, "--help") == 0
    assert f"Usage: veridical {command.name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        ([], ("numpy", "cyclopts", "rich")),
        (["evaluate", "--help"], ("torch", "scipy")),
        (["reconstruct", "--help"], ("torch", "scipy")),
    ],
    ids=lambda value: " ".join(value) or "help",
)
def test_help_loads_only_what_it_needs(words: list[str], absent: tuple[str, ...]) -> None:
    code = (
        f"import sys; from veridical.apps.cli import main; main({words}); print([m for m in "
        f"{absent} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("draws = 0; expected at least 1.", "--draws 0; expected at least 1."),
        ("spread = 0.5, keep = 'T1w,T2w'; no.", "--spread 0.5, --keep T1w,T2w; no."),
        ("Name it: keep='T1w,T2w'.", "Name it: --keep T1w,T2w."),
        ("keep = ''; expected a name.", "--keep ''; expected a name."),
        ("p = 0.02, --draws=3 and x=4 stay.", "p = 0.02, --draws=3 and x=4 stay."),
    ],
)
def test_settings_in_a_message_are_shown_as_flags(message: str, shown: str) -> None:
    assert cli.as_flags(message, ["jitter", "IN", "OUT"]) == shown
    assert cli.as_flags(message, ["list"]) == message


def test_the_page_beside_a_result_changes_nothing_for_rerun(
    scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert call("jitter", scan, tmp_path / "out") == 0
    page = tmp_path / "out" / "report.html"
    assert "Jitter: sub-1" in page.read_text()
    page.write_text("edited")
    capsys.readouterr()
    assert call("rerun", tmp_path / "out") == 0
    page.unlink()
    assert call("rerun", tmp_path / "out") == 0
    assert capsys.readouterr().out.count("same bytes") == 2


def test_a_task_has_its_settings_as_flags_with_their_docstrings_as_help(capsys: Capture) -> None:
    assert call("jitter", "--help") == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, text in setting_docs(Jitter).items():
        assert f"--{name}" in out
        assert " ".join(text.split()) in out


def test_the_reading_flags_are_the_options_of_read_of_read_together_and_of_every_reader() -> None:
    readers = [
        read,
        read_together,
        *(entry.load() for entry in registry.entries("reader").values()),
    ]
    options = [f for reader in readers for f in inspect.signature(reader).parameters.values()]
    assert {f.name for f in options if f.kind is f.KEYWORD_ONLY} | {"beside"} == set(
        setting_docs(run.Reading)
    )


def test_json_is_one_object_with_every_file_by_role_and_nothing_else(
    scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert call("jitter", scan, tmp_path / "out", "--draws", "3", "--seed", "7", "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert set(found) >= ROLES
    assert all(Path(found[role]).is_file() for role in ROLES)
    assert (found["task"], found["kind"], found["seed"]) == ("jitter", "posterior mean", 7)
    assert [(f["check"], f["verdict"]) for f in found["findings"]][:2] == [
        ("consistency", "pass"),
        ("scope", "not_run"),
    ]
    assert found["findings"][0]["evidence"] == {"chi2": 1.0, "nan": None}
    assert found["absent"] == {"memorization": "no training images"}
    assert found["units"] == {"T1w": "a.u."}
    assert (found["interval"]["level"], found["interval"]["patients"]) == (0.9, 20)
    estimate = veridical.read(found["estimate"])
    assert np.allclose(estimate.data, Jitter(draws=3)(veridical.read(scan), seed=7).image.data)


def test_what_a_library_prints_does_not_get_between_a_script_and_the_json(
    scan: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Jitter.apply
    monkeypatch.setattr(Jitter, "apply", lambda *what: (print("chatter"), apply(*what))[1])
    assert call("jitter", scan, tmp_path / "out", "--json") == 0
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert captured.err == "chatter\n"


def test_a_person_gets_verdicts_reasons_what_is_absent_and_the_files(
    scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert call("jitter", scan, tmp_path / "out") == 0
    out = capsys.readouterr().out
    said = (
        "posterior mean of T1w in a.u.",
        "pass",
        "residual equals the noise",
        "not run",
        "no training images",
        "provenance.json",
        "interval: 90%, calibrated on 20 patients; in the median voxel T1w ± 2 a.u.",
        "report.html",
    )
    for word in said:
        assert word in out


def test_settings_that_are_lists_are_given_by_repeating_the_flag(
    scan: Path, tmp_path: Path
) -> None:
    assert call("jitter", scan, tmp_path / "out", "--contrast", "FLAIR", "--keep", "FLAIR") == 0
    (step,) = json.loads((tmp_path / "out" / "provenance.json").read_text())["steps"]
    assert step["settings"]["keep"] == ["FLAIR"]
    assert step["source"]["contrast"] == "FLAIR"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["jitter", "IN", "OUT", "--drwas", "3"], "--draws"),
        (["jiter", "IN", "OUT"], '"jitter"'),
        (["jitter", "IN", "OUT", "--draws", "many"], "--draws"),
        (["jitter", "IN"], "OUTPUT"),
        (["jitter", "IN", "OUT", "more"], "more"),
        (["jitter", "no-such-file", "OUT"], "does not exist"),
        (["jitter", "IN", "OUT", "--keep", "T2w"], "It has: T1w"),
        (["jitter", "IN", "OUT", "--axes", "x,y,z"], "has no --axes"),
        (["jitter", "IN", "OUT", "--name", "a/b"], "cannot start a file name"),
        (["list", "tsk"], "'task'"),
        (["rerun", "IN"], "is not JSON"),
        (["train", "no-such-recipe.toml"], "no-such-recipe.toml"),
        (["calibrate", "no-such-weights"], "no weights at 'no-such-weights'"),
        (["bench", "IN"], "raw data"),
        (["phantom", "IN"], "a new .npy file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_message_exit_code_2_and_nothing_written(
    words: list[str],
    hint: str,
    scan: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert (
        call(*[{"IN": str(scan), "OUT": str(tmp_path / "out")}.get(word, word) for word in words])
        == 2
    )
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("veridical: ")
    assert hint in captured.err
    assert "Traceback" not in captured.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_result_is_replaced_only_when_asked(scan: Path, tmp_path: Path, capsys: Capture) -> None:
    assert call("jitter", scan, tmp_path / "out") == 0
    assert call("jitter", scan, tmp_path / "out", "--seed", "1") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert call("jitter", scan, tmp_path / "out", "--seed", "1", "--overwrite") == 0
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["steps"][0]["seed"] == 1


def test_rerun_says_same_bytes_or_what_differs(scan: Path, tmp_path: Path, capsys: Capture) -> None:
    assert call("jitter", scan, tmp_path / "out", "--keep", "T1w") == 0
    capsys.readouterr()
    assert call("rerun", tmp_path / "out" / "provenance.json") == 0
    assert capsys.readouterr().out.startswith("same bytes: estimate")
    scan.unlink()
    assert call("rerun", tmp_path / "out") == 2
    assert "cannot be read any more" in capsys.readouterr().err


def test_an_error_of_ours_says_where_and_how_to_report_it_but_not_what_it_was_about(
    scan: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("Jane Doe")

    monkeypatch.setattr(Jitter, "apply", fail)
    assert call("jitter", scan, tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert "unexpected KeyError in test_cli.py, line" in err
    assert "Jane" not in err
    assert call("jitter", scan, tmp_path / "out", "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_130_and_leaves_nothing(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Jitter, "apply", interrupt)
    assert call("jitter", scan, tmp_path / "out") == 130
    assert not (tmp_path / "out").exists()


def test_list_shows_every_kind_and_one_kind_and_json(capsys: Capture) -> None:
    assert call("list") == 0
    everything = capsys.readouterr().out
    for kind in registry.FOLDERS:
        assert f"{kind}: " in everything
    assert call("list", "operator", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"operator"}
    assert found["operator"]["cartesian-mri"].startswith("Cartesian multi-coil MRI")


def test_version_says_what_the_package_says(capsys: Capture) -> None:
    assert call("version") == call("--version") == 0
    assert capsys.readouterr().out == f"{veridical.__version__}\n" * 2


def test_a_reader_of_our_output_that_stops_early_is_no_error() -> None:
    words = f"{sys.executable} -m veridical.apps.cli list | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", words], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.real
def test_a_real_undersampled_scan_is_reconstructed_and_made_again(
    real_data: Path, tmp_path: Path, capsys: Capture
) -> None:
    scan = real_data / "kspace_sigpy_tutorial" / "data" / "cartesian_ksp.npy"
    words = ("--axes", "coil,y,x", "--contrast", "T1w", "--model", "wavelet", "--json")
    assert call("reconstruct", scan, tmp_path / "out", *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert veridical.read(found["estimate"]).data.shape == (1, 180, 230, 1)
    assert {f["check"]: f["verdict"] for f in found["findings"]}["consistency"] == "pass"
    assert call("rerun", found["provenance"]) == 0
