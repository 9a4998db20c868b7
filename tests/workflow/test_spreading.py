"""Laws of spreading cases over processes: every case once, the same as in one process, and what
dies is run again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import folders
from fakes import Jitter
from veridical.errors import InputError, MissingExtra, SettingError
from veridical.workflow.folder import run_folder
from veridical.workflow.spreading import HERE, Spreading

TWO = Spreading(workers=2)


DOOMED = 12
"""The case that kills every process."""


def double(case: int) -> int:
    return 2 * case


def fragile(case: tuple[int, Path]) -> int:
    """Die the first time, as a process that runs out of memory does; one case always dies."""
    number, folder = case
    if number == DOOMED:
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 4:
        return number
    try:
        (folder / str(number)).mkdir()
    except FileExistsError:
        return number
    os.kill(os.getpid(), signal.SIGKILL)
    return -1


def never(case: object, reason: str) -> int:
    raise AssertionError(reason)


def test_in_this_process_cases_come_in_order_and_ray_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert list(HERE.over(double, range(5), never)) == [0, 2, 4, 6, 8]
    with pytest.raises(MissingExtra, match=r"veridical\[cluster\]"):
        list(TWO.over(double, range(5), never))


@pytest.fixture(scope="module")
def spread(ray: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[int | str], Path]:
    """What came of 13 cases, more than are handed out at once, of which some kill their process:
    one Ray for all, since it takes seconds to start.
    """
    folder = tmp_path_factory.mktemp("cases")
    cases = [(number, folder) for number in range(DOOMED + 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("veridical.workflow.spreading.AGAIN", 2)
        found = TWO.over(fragile, cases, lambda case, reason: f"{case[0]}: {reason}")  # type: ignore[arg-type,return-value]
        return list(found), folder


def test_every_case_comes_back_once_though_processes_are_killed(
    spread: tuple[list[int | str], Path],
) -> None:
    found, folder = spread
    assert sorted(one for one in found if isinstance(one, int)) == list(range(DOOMED))
    assert len(list(folder.iterdir())) == 3


def test_a_case_that_kills_every_process_is_given_up_and_said(
    spread: tuple[list[int | str], Path],
) -> None:
    (said,) = (one for one in spread[0] if isinstance(one, str))
    assert said == f"{DOOMED}: Its process died 3 times (WorkerCrashedError)."


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
    again = run_folder(Jitter(draws=2), root, tmp_path / "two")
    assert {outcome.status for outcome in again} == {"kept"}, "one process knows them as its own"


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


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """Ray, whose workers find the modules of the tests."""
    pytest.importorskip("ray")
    tests = str(Path(__file__).parents[1])
    here = str(Path(__file__).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([tests, here]))
        yield
