"""A task runs once for the PACS however often its worker dies, and findings stop what they must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from veridical import registry
from veridical.apps.node import worker as module
from veridical.apps.node.gathering import jobs_of
from veridical.apps.node.job_store import Instance, JobStore
from veridical.apps.node.landing import Land
from veridical.apps.node.phantom_series import phantom_series
from veridical.apps.node.sender import Sender
from veridical.apps.node.settings import NodeSettings
from veridical.apps.node.worker import Worker
from veridical.errors import InputError
from veridical.task import Progress, Task
from veridical.types import Finding, Result, Study

PEERS = '[peer.pacs]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
MADE: list[str] = []


@dataclass(frozen=True)
class Twice(Task):
    """Twice the image."""

    verdict: str = "pass"
    """Of its finding."""
    trouble: str = ""
    """Error that it raises."""

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        MADE.append(study.id)
        if self.trouble:
            raise {"input": InputError("no such series"), "memory": MemoryError()}.get(
                self.trouble, RuntimeError("Secret^Name")
            )
        image = study.image()
        absent = dict.fromkeys(("draws", "interval", "evidence"), "It has none.")
        finding = Finding("scope", self.verdict, "made up")  # type: ignore[arg-type]
        doubled = replace(image, data=image.data * 2)
        return Result(doubled, "point estimate", findings=(finding,), absent=absent)

    def model_and_weights(self) -> tuple[str, str]:
        return "none", "none"


@pytest.fixture(autouse=True)
def twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the task, and let no audit slow it down."""
    known = registry.entries
    small = registry.Registered("task", "twice", "Twice the image.", f"{__name__}:Twice")

    def entries(kind: str) -> Any:
        return {} if kind == "audit" else known(kind) | ({"twice": small} if kind == "task" else {})

    monkeypatch.setattr(registry, "entries", entries)
    MADE.clear()


@pytest.fixture
def node(
    said: Callable[..., NodeSettings], store: JobStore, land: Land, tmp_path: Path
) -> Callable[..., Worker]:
    """A worker with one job to do."""

    def made(route: str = "", peers: str = PEERS) -> Worker:
        text = f'{peers}[[route]]\nname = "r"\ntask = "twice"\nsend = ["pacs"]\n{route}\n'
        settings = said(text)
        members = []
        for number, file in enumerate(phantom_series(tmp_path / "in", shape=(16, 16, 4))):
            place = land.objects / "00" / file.name
            place.write_bytes(file.read_bytes())
            members.append(Instance(number, f"1.{number}", "", land.relative(place), "1", "2", {}))
        store.add(jobs_of(settings.routes[0], "2", members))
        return Worker(settings, store, land, "w")

    return made


def states(store: JobStore) -> dict[str, str]:
    return {job.kind: job.state for job in store.jobs()}


def test_a_job_ends_with_whole_files_and_the_job_to_send_them(
    node: Callable[..., Worker], store: JobStore, land: Land
) -> None:
    import pydicom

    assert node().step()
    assert states(store) == {"run": "done", "send": "ready"}
    sent = store.jobs(lane="peer:pacs")[0].payload["files"]
    held = sorted(land.relative(p) for p in land.results.rglob("*.dcm"))
    assert sorted(sent) == held
    images = [pydicom.dcmread(land.folder / name) for name in sent]
    assert {one.Modality for one in images} == {"MR", "SR"}
    assert list(land.work.iterdir()) == []
    details = store.happened(1)[0].details
    assert details["verdicts"]["scope"] == "pass"
    assert not Worker(node().settings, store, land, "w").step(), "and there is nothing more to do"


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs."""


@pytest.mark.parametrize("point", ["lay_out", "produce", "settle_folder", "after", "_finish"])
def test_wherever_a_worker_dies_the_result_is_made_and_sent_once(
    node: Callable[..., Worker],
    store: JobStore,
    land: Land,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    def dies(*_: Any) -> None:
        raise Killed

    one = node()
    settle = module.settle_folder
    with monkeypatch.context() as patch:
        if point == "_finish":
            patch.setattr(Worker, point, dies)
        elif point == "after":
            patch.setattr(module, "settle_folder", lambda *a: (settle(*a), dies()))
        else:
            patch.setattr(module, point, dies)
        with pytest.raises(Killed):
            one.step()
    assert store.jobs(lane="peer:pacs") == []
    times = len(MADE)
    (job,) = store.abandoned("w")
    store.give_back(job)
    assert Worker(one.settings, store, land, "v").step()
    assert states(store) == {"run": "done", "send": "ready"}
    assert len(list(land.results.iterdir())) == 1
    if point in ("after", "_finish"):
        assert len(MADE) == times, "a result that is there is not made again"


def test_two_workers_at_one_job_leave_one_result(
    node: Callable[..., Worker], store: JobStore, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = node()
    slow = module.settle_folder

    def overtaken(made: Path, final: Path) -> bool:
        monkeypatch.setattr(module, "settle_folder", slow)
        (job,) = store.abandoned("w")
        store.give_back(job)
        assert Worker(first.settings, store, land, "v").step()
        return slow(made, final)

    monkeypatch.setattr(module, "settle_folder", overtaken)
    assert first.step()
    assert len(list(land.results.iterdir())) == 1
    assert states(store) == {"run": "done", "send": "ready"}
    assert len(store.jobs()) == 2


HOLD = 'settings = {verdict = "fail"}\nrefuse_when = {"other:scope" = "warn"}\n'


def test_a_finding_holds_a_result_until_a_person_sends_it(
    node: Callable[..., Worker], store: JobStore
) -> None:
    node(HOLD).step()
    assert states(store) == {"run": "held"}
    (held,) = store.jobs(("held",))
    assert held.reason == "scope (fail): made up"
    assert store.happened(1)[0].what == "refused, held"
    assert store.release(held.id, "somebody")
    assert states(store) == {"run": "done", "send": "ready"}


def test_a_milder_finding_than_the_limit_stops_nothing(
    node: Callable[..., Worker], store: JobStore
) -> None:
    node('settings = {verdict = "warn"}\nrefuse_when = {"*" = "fail"}\n').step()
    assert states(store) == {"run": "done", "send": "ready"}


@pytest.mark.parametrize("why", ["finding", "policy", "error"])
def test_the_originals_go_on_in_place_of_what_is_refused_or_fails_for_good(
    node: Callable[..., Worker],
    store: JobStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
) -> None:
    text = 'on_refusal = "forward-original"\n'
    if why == "finding":
        text += HOLD
    elif why == "error":
        text += 'settings = {trouble = "input"}\n'
    else:
        policy = tmp_path / "policy.toml"
        rule = '[[rule]]\nname = "r"\ncheck = "other:scope"\nverdict = "pass"\nthen = "block"\n'
        policy.write_text(rule)
        monkeypatch.setenv("VERIDICAL_POLICY", str(policy))
    node(text).step()
    (job,) = store.jobs(lane="peer:pacs")
    assert job.payload["what"] == "original"
    assert len(job.payload["files"]) == 4
    assert states(store)["run"] == ("dead" if why == "error" else "done")


def test_what_a_policy_blocks_is_held_without_files(
    node: Callable[..., Worker],
    store: JobStore,
    land: Land,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule = '[[rule]]\nname = "r"\ncheck = "other:scope"\nverdict = "pass"\nthen = "block"\n'
    (tmp_path / "policy.toml").write_text(rule)
    monkeypatch.setenv("VERIDICAL_POLICY", str(tmp_path / "policy.toml"))
    node().step()
    assert states(store) == {"run": "held"}
    assert list(land.results.rglob("*.dcm")) == []


@pytest.mark.parametrize(
    ("trouble", "words", "state"),
    [
        ("input", "no such series", "dead"),
        ("memory", "more than the 8 GiB of a worker", "dead"),
        ("other", "unexpected RuntimeError in test_worker.py", "ready"),
    ],
)
def test_errors_of_the_input_are_final_and_unexpected_ones_are_tried_again_without_their_text(
    node: Callable[..., Worker], store: JobStore, trouble: str, words: str, state: str
) -> None:
    node(f'settings = {{trouble = "{trouble}"}}').step()
    (job,) = store.jobs()
    assert words in job.reason
    assert "Secret" not in job.reason
    assert job.state == state


def test_a_job_that_keeps_ending_its_worker_becomes_a_dead_letter(
    node: Callable[..., Worker], store: JobStore
) -> None:
    from veridical.apps.node.serving import Beside, died

    one = node()
    for _ in range(len(module.TRIES) + 1):
        with store.transaction() as query:  # type: ignore[attr-defined]
            query("UPDATE jobs SET due = 0")
        assert store.claim("run", "w", 60)
        died(Beside("work", "w"), -9, one.settings, store)
    (job,) = store.jobs()
    assert job.state == "dead"
    assert "exit code -9" in job.reason


def test_a_fhir_server_is_told_of_a_result(
    node: Callable[..., Worker], store: JobStore, land: Land
) -> None:
    import json
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    told: list[Any] = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answer = {
                "resourceType": "Bundle",
                "type": "transaction-response",
                "entry": [{"response": {"status": "201", "location": "x/1"}}]
                * len(told[0]["entry"]),
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.handle_request).start()
        url = f"http://127.0.0.1:{server.server_port}/fhir"
        peers = f'{PEERS}[peer.records]\nkind = "fhir"\nurl = "{url}"\nversion = "R4B"\n'
        one = node('tell = ["records"]\n', peers)
        assert one.step()
        assert Sender(one.settings, store, land, "s", "records").step()
    kinds = {entry["resource"]["resourceType"] for entry in told[0]["entry"]}
    assert {"ImagingStudy", "DiagnosticReport", "Provenance"} <= kinds
    assert {job.lane: job.state for job in store.jobs()}["peer:records"] == "done"
