"""The work bench: jobs in processes of their own. The process here is a small one that speaks as
the real one does; the real one is in the test with a browser.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from veridical.apps.web import bench, work, worker
from veridical.apps.web.bench import Bench, WebWork
from veridical.errors import BudgetError, InputError

SMALL = """
import json, os, subprocess, sys, time
order = json.loads(sys.stdin.readline())
def say(**said): print(json.dumps(said), flush=True)
say(progress=["counting", 1, 2])
if order["do"] == "sleep":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open(order["pids"], "w").write(f"{os.getpid()} {child.pid}")
    time.sleep(60)
if order["do"] == "die":
    os._exit(9)
if order["do"] == "refuse":
    say(refused="It is too blue. Take a red one.", kind="InputError")
say(done={"folder": "/secret/place", "value": order.get("value")})
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    async def process(lane: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        words = [sys.executable, "-S", "-c", SMALL]
        return await asyncio.create_subprocess_exec(
            *words, stdin=pipe, stdout=pipe, start_new_session=True
        )

    monkeypatch.setattr(bench, "_process", process)


def during(root: Path, act: Callable[[Bench], Awaitable[Any]]) -> Any:
    """Run something while the lanes of a bench run."""

    async def whole() -> Any:
        made = Bench(root)
        for lane in made.lanes.values():
            lane.running = asyncio.create_task(lane.run())
        try:
            return await act(made)
        finally:
            await made.close()

    return asyncio.run(whole())


async def until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it took more than 30 s")


def begun(made: Bench, **order: Any) -> WebWork:
    found = made.add("job", "a job", order)
    made.start(found)
    return found


def test_a_job_says_how_far_it_is_and_what_came_of_it_and_is_kept(tmp_path: Path) -> None:
    async def act(made: Bench) -> list[dict[str, Any]]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        made.listeners.add(queue)
        job = begun(made, do="count", value=3)
        await until(lambda: job.state == "done")
        return [json.loads(queue.get_nowait())["work"] for _ in range(queue.qsize())]

    said = during(tmp_path, act)
    assert [one["state"] for one in said] == ["waiting", "running", "running", "done"]
    assert said[2]["progress"] == ["counting", 1, 2]
    assert said[3]["found"] == {"folder": True, "value": 3}
    (again,) = Bench(tmp_path).works.values()
    assert again.state == "done"
    assert again.found == {"folder": "/secret/place", "value": 3}


def test_a_refused_job_says_why_and_one_whose_process_dies_is_no_riddle(tmp_path: Path) -> None:
    async def act(made: Bench) -> tuple[WebWork, WebWork, WebWork]:
        jobs = begun(made, do="refuse"), begun(made, do="die"), begun(made, do="count")
        await until(lambda: jobs[2].state == "done")
        return jobs

    refused, died, _ = during(tmp_path, act)
    assert (refused.state, refused.error) == ("refused", "It is too blue. Take a red one.")
    assert died.state == "refused"
    assert "needed more memory" in died.error


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_cancel_ends_the_process_with_its_children_and_the_next_job_runs(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    async def act(made: Bench) -> tuple[WebWork, list[int]]:
        job, other = begun(made, do="sleep", pids=str(pids)), begun(made, do="count")
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        made.cancel(job)
        await until(lambda: other.state == "done")
        return job, [int(one) for one in pids.read_text().split()]

    job, found = during(tmp_path / "bench", act)
    assert (job.state, job.found) == ("cancelled", {})
    ends = time.monotonic() + 10
    while any(map(alive, found)) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not any(map(alive, found))


def test_a_job_that_waits_is_cancelled_before_it_begins(tmp_path: Path) -> None:
    async def act(made: Bench) -> WebWork:
        first, second = begun(made, do="count"), begun(made, do="count")
        made.cancel(second)
        third = begun(made, do="count")
        await until(lambda: first.state == third.state == "done")
        return second

    assert during(tmp_path, act).state == "cancelled"


def test_quick_orders_do_not_wait_behind_long_ones(tmp_path: Path) -> None:
    async def act(made: Bench) -> str:
        job = begun(made, do="sleep", pids=str(tmp_path / "pids"))
        quick = begun(made, do="view")
        await until(lambda: quick.state == "done")
        return job.state

    assert during(tmp_path / "bench", act) in ("waiting", "running")


def test_closing_a_case_deletes_what_lies_in_its_folders_and_those_of_its_jobs(
    tmp_path: Path,
) -> None:
    async def act(made: Bench) -> None:
        case = made.add("case", "a case", {"do": "inspect"})
        job = made.add("job", "a job", {"do": "count"}, case.id)
        other = made.add("case", "another", {"do": "inspect"})
        made.remove(case)
        assert list(made.works) == [other.id]
        assert not made.folder(case.id).exists()
        assert not made.folder(job.id).exists()

    during(tmp_path, act)


def test_after_a_restart_a_job_that_ran_is_said_to_have_been_stopped(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    job = first.add("job", "a job", {"do": "count"})
    first.changed(job)
    (tmp_path / "no-record").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "record.json").write_text("{")
    (again,) = Bench(tmp_path).works.values()
    assert (again.state, again.error) == ("cancelled", "The program was stopped meanwhile.")


def test_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    made = Bench(tmp_path / "new")
    case = made.add("case", "a case", {"do": "inspect"})
    for folder in (tmp_path / "new", made.folder(case.id)):
        assert not os.stat(folder).st_mode & 0o077


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Reload the page"):
        Bench(tmp_path).get("0" * 12)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (BudgetError("Too large. Take less."), "BudgetError", "Too large. Take less."),
        (MemoryError(), "BudgetError", "more memory than this machine has"),
        (OSError(28, "No space left on device", "/patients/Doe"), "OSError", "No space left"),
        (KeyError("Jane Doe"), "unexpected", "This is an error of Veridical, not yours"),
    ],
)
def test_an_error_becomes_a_sentence_without_paths_and_patients(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, said: str
) -> None:
    def failing(progress: Any) -> None:
        raise error

    monkeypatch.setattr(work, "inspect", failing)
    found = worker.attempted({"do": "inspect"}, lambda *_: None)
    assert found["kind"] == kind
    assert said in found["refused"]
    assert "Doe" not in found["refused"]
