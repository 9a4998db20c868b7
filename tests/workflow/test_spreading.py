"""Laws of spreading cases over processes: every case once, the same as in one process, and what
dies is run again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import folders
from fakes import Jitter
from veridical.errors import InputError, MissingExtra, SettingError
from veridical.workflow.folder import run_folder
from veridical.workflow.spreading import HERE, Spreading

TWO = Spreading(workers=2)


def double(case: int) -> int:
    return 2 * case


def fragile(case: tuple[int, Path]) -> int:
    """Die the first time, as a process that runs out of memory does."""
    number, folder = case
    if number % 4:
        return number
    try:
        (folder / str(number)).mkdir()
    except FileExistsError:
        return number
    os.kill(os.getpid(), signal.SIGKILL)
    return -1


def doomed(case: int) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def never(case: object, reason: str) -> int:
    raise AssertionError(reason)


def test_in_this_process_cases_come_in_order_and_ray_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert list(HERE.over(double, range(5), never)) == [0, 2, 4, 6, 8]
    with pytest.raises(MissingExtra, match=r"veridical\[cluster\]"):
        list(TWO.over(double, range(5), never))


def test_every_case_comes_back_once_though_processes_are_killed(ray: None, tmp_path: Path) -> None:
    """Twelve cases are more than are handed out at once; every fourth one dies at first."""
    cases = [(number, tmp_path) for number in range(12)]
    assert sorted(TWO.over(fragile, cases, never)) == list(range(12))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_case_that_kills_every_process_is_given_up_and_said(
    ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veridical.workflow.spreading.AGAIN", 1)
    (said,) = TWO.over(doomed, [1], lambda case, reason: f"{case}: {reason}")
    assert said == "1: Its process died 2 times (WorkerCrashedError)."


def test_two_workers_write_the_bytes_that_one_process_writes(ray: None, tmp_path: Path) -> None:
    root = folders.bids(tmp_path / "in", 3, ("T1w",))
    alone, spread = (
        run_folder(Jitter(draws=2), root, tmp_path / name, spreading=how)
        for name, how in (("one", HERE), ("two", TWO))
    )
    assert [outcome.status for outcome in spread] == ["done"] * 3
    assert [outcome.case for outcome in spread] == [outcome.case for outcome in alone]
    for file in sorted((tmp_path / "one").rglob("*.nii.gz")):
        other = tmp_path / "two" / file.relative_to(tmp_path / "one")
        assert other.read_bytes() == file.read_bytes()
    again = run_folder(Jitter(draws=2), root, tmp_path / "two", spreading=TWO)
    assert {outcome.status for outcome in again} == {"kept"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Spreading(workers=0), "workers = 0; expected 1 or more"),
        (lambda: Spreading(2, "auto"), "Give one of the two"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: Callable[[], Spreading], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        wrong()


def test_where_no_cluster_answers_it_is_said_with_what_to_do(ray: None) -> None:
    with pytest.raises(InputError, match=r"No Ray cluster answers at auto.*ray start --head"):
        list(Spreading(cluster="auto").over(double, [1], never))


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray, whose workers find the modules of the tests."""
    pytest.importorskip("ray")
    tests = str(Path(__file__).parents[1])
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, here]))
